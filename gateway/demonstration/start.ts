import type { Clock } from '../../storage/ports.ts';
import type { Supervisor } from '../supervisor.ts';
import { demoCameraTask } from './camera.ts';
import { demoCamera, demoSensorUser, type DemoSecrets } from './configuration.ts';
import { demoSensorsTask } from './sensors.ts';

export interface DemonstrationOptions {
  readonly secrets: DemoSecrets;
  /** By which the camera and the sensors of others reach it. */
  readonly host: string;
  readonly rtspPort: number;
  readonly mqttPort: number;
  readonly ffmpegPath: string;
  readonly supervisor: Supervisor;
  readonly clock: Clock;
}

/** What a person can paste to join in. */
export interface Demonstration {
  readonly pushCommand: string;
  readonly publishCommand: string;
}

/** Starts the synthetic camera and the sensors, and says how to add a real one. */
export function startDemonstration(options: DemonstrationOptions): Demonstration {
  const { secrets, host, rtspPort, mqttPort, ffmpegPath, supervisor, clock } = options;
  const rtsp = (at: string, camera: string): string =>
    `rtsp://${demoCamera}:${secrets.cameraPassword}@${at}:${rtspPort}/${camera}`;
  supervisor.start(demoCameraTask({ ffmpegPath, url: rtsp('127.0.0.1', demoCamera) }));
  supervisor.start(
    demoSensorsTask({
      url: `mqtt://127.0.0.1:${mqttPort}`,
      username: demoSensorUser,
      password: secrets.sensorPassword,
      clock,
      random: Math.random,
    }),
  );
  return {
    pushCommand:
      'ffmpeg -re -f lavfi -i testsrc=size=640x360:rate=25 -c:v libx264 -g 50 -pix_fmt yuv420p' +
      ` -f rtsp -rtsp_transport tcp ${rtsp(host.includes(':') ? `[${host}]` : host, 'yours')}`,
    publishCommand:
      `mosquitto_pub -h 127.0.0.1 -p ${mqttPort} -u ${demoSensorUser}` +
      ` -P ${secrets.sensorPassword} -q 1 -t sensors/desk/reading -m '{"value": 21.5}'`,
  };
}
