/**
 * What `headgate run` prints for a person once everything serves.
 *
 * Secrets are printed where a person reads them, on a terminal. Elsewhere, where the output is
 * likely kept in a file or a journal, only the login link is (good once, for 15 minutes), and for
 * the rest there is said which command tells. The demonstration's commands are shown anyway.
 */
import type { Config } from './config/schema.ts';
import type { Demonstration } from './demonstration/start.ts';
import type { MadeCredentials, Opening } from './opening.ts';

interface Address {
  readonly host: string;
  readonly port: number;
}

export interface Addresses {
  readonly version: string;
  readonly config: Config;
  /** Logs in once. */
  readonly pageUrl: string;
  /** Made at the first start only. */
  readonly firstToken: string | null;
  readonly mqtt: Address | null;
  readonly rtsp: Address | null;
  readonly opening: Opening;
  readonly made: MadeCredentials;
  /** A person reads this, and no file keeps it. */
  readonly showsSecrets: boolean;
  readonly demonstration: Demonstration | null;
}

/** @returns lines, without ends */
export function printAddresses(addresses: Addresses): readonly string[] {
  const { version, config, pageUrl, firstToken, mqtt, rtsp, demonstration } = addresses;
  const lan = config.listen === 'lan';
  return [
    '',
    `Headgate ${version} serves.`,
    '',
    row('Page', `${pageUrl}   (this link logs in once, within 15 minutes)`),
    firstToken === null
      ? row('Token', '"headgate token" makes one, for later logins and the API')
      : row('Token', `${firstToken}   (for later logins and the API; shown only now)`),
    ...(rtsp === null || lan ? [] : [row('Cameras', `rtsp://${printAddress(rtsp)}/<camera>`)]),
    ...(mqtt === null || lan ? [] : [row('Sensors', `mqtt://${printAddress(mqtt)}`)]),
    row('Data', config.dataDir),
    '',
    ...(lan ? [...introduceLan(config, addresses.opening, shown(addresses)), ''] : []),
    ...(demonstration === null ? [] : introduce(demonstration, config)),
  ];
}

/** How other machines get in, and what they need for it. */
export function introduceLan(
  config: Config,
  { certificate, lanAddress }: Opening,
  made: MadeCredentials | 'hidden',
): readonly string[] {
  const host = lanAddress ?? 'localhost';
  const at = (port: number): string => printAddress({ host, port });
  const login = (kind: keyof MadeCredentials, configured: string): string => {
    if (made === 'hidden') return '"headgate credentials" tells as whom';
    const user = made[kind];
    return user === null
      ? `as ${configured} says`
      : `user ${user.username}, password ${user.password}`;
  };
  return [
    'From other machines:',
    row('Page', `https://${at(config.http.port)}`),
    ...(config.mqtt.enabled && config.mqtt.external.url === null
      ? [row('Sensors', `mqtts://${at(config.mqtt.tlsPort)}   (${login('mqtt', 'mqtt.users')})`)]
      : []),
    ...(config.rtsp.enabled
      ? [
          row(
            'Cameras',
            `rtsp://${at(config.rtsp.port)}/<camera>   (to watch: ${login('rtsp', 'rtsp.readers')})`,
          ),
          row('', `rtsps://${at(config.rtsp.tlsPort)}/<camera>`),
        ]
      : []),
    ...(certificate === null
      ? []
      : [
          ...(certificate.caFile === null
            ? []
            : [row('Trust', `${certificate.caFile}   (give it to devices and browsers)`)]),
          row('SHA-256', certificate.fingerprint),
        ]),
  ];
}

function shown({ showsSecrets, made }: Addresses): MadeCredentials | 'hidden' {
  return showsSecrets || (made.mqtt === null && made.rtsp === null) ? made : 'hidden';
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
    '    npm start -- init',
    '',
  ];
}

const row = (name: string, value: string): string => `  ${name.padEnd(9)}${value}`;

export function printAddress({ host, port }: Address): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}
