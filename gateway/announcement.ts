/** What `headgate run` prints for a person once everything serves. */
import type { Config } from './config/schema.ts';
import type { Demonstration } from './demonstration/start.ts';

interface Address {
  readonly host: string;
  readonly port: number;
}

export interface Addresses {
  readonly version: string;
  readonly config: Config;
  /** Logs in once. */
  readonly pageUrl: string;
  /** Shown at the first start only. */
  readonly firstToken: string | null;
  readonly mqtt: Address | null;
  readonly rtsp: Address | null;
  readonly demonstration: Demonstration | null;
}

/** @returns lines, without ends */
export function printAddresses(addresses: Addresses): readonly string[] {
  const { version, config, pageUrl, firstToken, mqtt, rtsp, demonstration } = addresses;
  return [
    '',
    `Headgate ${version} serves.`,
    '',
    row('Page', `${pageUrl}   (this link logs in once, within 15 minutes)`),
    ...(firstToken === null
      ? []
      : [row('Token', `${firstToken}   (for later logins and the API; shown only now)`)]),
    ...(rtsp === null ? [] : [row('Cameras', `rtsp://${printAddress(rtsp)}/<camera>`)]),
    ...(mqtt === null ? [] : [row('Sensors', `mqtt://${printAddress(mqtt)}`)]),
    row('Data', config.dataDir),
    '',
    ...(demonstration === null ? [] : introduce(demonstration, config)),
  ];
}

function introduce(demonstration: Demonstration, config: Config): readonly string[] {
  const folders = Object.values(config.deliveries).map(({ to }) =>
    'folder' in to ? to.folder.path : null,
  );
  const folder = folders.find((path) => path !== null);
  return [
    'There is no headgate.yaml here, so this is the demonstration: a camera and three sensors of',
    'its own, recorded, indexed and sent on to a folder laid out as an S3 bucket would be. Try:',
    '',
    '  push a camera of yours',
    `    ${demonstration.pushCommand}`,
    '  publish a reading',
    `    ${demonstration.publishCommand}`,
    ...(folder === undefined ? [] : ['  see what was sent on', `    find ${folder}`]),
    '  write your own configuration',
    '    cp headgate.reference.yaml headgate.yaml',
    '',
  ];
}

const row = (name: string, value: string): string => `  ${name.padEnd(9)}${value}`;

export function printAddress({ host, port }: Address): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}
