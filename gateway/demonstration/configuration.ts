/**
 * The configuration that runs where there is no `headgate.yaml`: everything in it is real, only
 * the camera and the sensors (`camera.ts`, `sensors.ts`) are the gateway's own.
 */
import { createHmac } from 'node:crypto';
import { join } from 'node:path';

/** The camera's name, and the user it pushes as. */
export const demoCamera = 'demo';
export const demoSensorUser = 'sensors';

/** What `${DEMO_…}` stands for in the text below. */
export interface DemoSecrets {
  readonly cameraPassword: string;
  readonly sensorPassword: string;
}

/** Passwords of this box: the same at every start, so that a device once set up stays welcome. */
export function demoSecrets(boxSecret: Buffer): DemoSecrets {
  const derive = (purpose: string): string =>
    createHmac('sha256', boxSecret).update(`demonstration ${purpose}`).digest('hex').slice(0, 16);
  return { cameraPassword: derive('camera'), sensorPassword: derive('sensors') };
}

/**
 * The variables that the text needs, for the loader.
 * @param dataDir absolute
 */
export function demoVariables(
  secrets: DemoSecrets,
  dataDir: string,
): Readonly<Record<string, string>> {
  return {
    DEMO_BUCKET: demoBucket(dataDir),
    DEMO_DATA: dataDir,
    DEMO_CAMERA_PASSWORD: secrets.cameraPassword,
    DEMO_SENSOR_PASSWORD: secrets.sensorPassword,
  };
}

/** The folder that stands for a bucket. */
export function demoBucket(dataDir: string): string {
  return join(dataDir, 'bucket');
}

/** In the place of `headgate.yaml`, and loaded like it: the environment overrides it as usual. */
export const demoConfiguration = `
dataDir: '\${DEMO_DATA}'
mqtt:
  users:
    - { username: ${demoSensorUser}, password: '\${DEMO_SENSOR_PASSWORD}' }
  routes:
    - { topic: 'sensors/+/reading', stream: readings, partitionKey: '{topic[1]}' }
streams:
  readings: { shards: 2 }
  camera-events: {}
cameras:
  ${demoCamera}:
    source: { push: { username: ${demoCamera}, password: '\${DEMO_CAMERA_PASSWORD}' } }
    retentionHours: 24
    maxBytes: 2 GB
    events: camera-events
  yours:
    source: { push: { username: ${demoCamera}, password: '\${DEMO_CAMERA_PASSWORD}' } }
    retentionHours: 24
    maxBytes: 2 GB
    events: camera-events
deliveries:
  readings: { from: { stream: readings }, to: { folder: { path: '\${DEMO_BUCKET}' } } }
  camera-events: { from: { stream: camera-events }, to: { folder: { path: '\${DEMO_BUCKET}' } } }
  footage: { from: { camera: ${demoCamera} }, to: { folder: { path: '\${DEMO_BUCKET}' } } }
`;
