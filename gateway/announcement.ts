/**
 * What `headgate run` prints for a person once everything serves.
 *
 * Secrets are printed where a person reads them, on a terminal. Elsewhere, where the output is
 * likely kept in a file or a journal, only the login link is (good once, for 15 minutes), and for
 * the rest there is said which command tells. The demonstration's commands are shown anyway.
 */
import type { Config } from './config/schema.ts';
import type { Demonstration } from './demonstration/start.ts';
import type { Entrances, Logins } from './entrances.ts';

interface Address {
  readonly host: string;
  readonly port: number;
}

export interface Addresses {
  readonly version: string;
  readonly config: Config;
  /** Where this machine finds the page. */
  readonly url: string;
  /** Logs in once. */
  readonly loginCode: string;
  /** Made at the first start only. */
  readonly firstToken: string | null;
  readonly mqtt: Address | null;
  readonly rtsp: Address | null;
  /** How other machines get in; null: they don't. */
  readonly entrances: Entrances | null;
  readonly logins: Logins;
  /** A person reads this, and no file keeps it. */
  readonly showsSecrets: boolean;
  readonly demonstration: Demonstration | null;
}

/** @returns lines, without ends */
export function printAddresses(addresses: Addresses): readonly string[] {
  const { version, config, loginCode, firstToken, mqtt, rtsp, demonstration } = addresses;
  const { entrances } = addresses;
  const lan = entrances !== null;
  const pageUrl = `${addresses.url}/login?token=${loginCode}`;
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
    ...(lan ? [...introduceLan(entrances, shown(addresses), loginCode), ''] : []),
    ...(demonstration === null ? [] : introduce(demonstration, config)),
  ];
}

/**
 * How other machines get in, and what they need for it.
 * @param loginCode for a link per address; null: there is none at hand
 */
export function introduceLan(
  { addresses, httpPort, mqtt, rtsp, certificate }: Entrances,
  logins: Logins | 'hidden',
  loginCode: string | null,
): readonly string[] {
  const hosts = addresses.length === 0 ? ['localhost'] : addresses;
  const [host = ''] = hosts;
  const at = (port: number): string => printAddress({ host, port });
  const login = (user: keyof Logins, configured: string): string => {
    if (logins === 'hidden') return '"headgate credentials" tells as whom';
    const made = logins[user];
    return made === null
      ? `as ${configured} says`
      : `user ${made.username}, password ${made.password}`;
  };
  const path = loginCode === null ? '' : `/login?token=${loginCode}`;
  const pages = hosts.map((one, index) =>
    row(index === 0 ? 'Page' : '', `https://${printAddress({ host: one, port: httpPort })}${path}`),
  );
  return [
    'From other machines:',
    ...pages,
    row(
      '',
      loginCode === null
        ? '(to log in there: "headgate token" makes a token)'
        : '(any one of these links logs in once, within 15 minutes)',
    ),
    ...(mqtt === null
      ? []
      : [row('Sensors', `mqtts://${at(mqtt.tlsPort)}   (${login('mqtt', 'mqtt.users')})`)]),
    ...(rtsp === null
      ? []
      : [
          row(
            'Cameras',
            `rtsp://${at(rtsp.port)}/<camera>   (to watch: ${login('rtsp', 'rtsp.readers')})`,
          ),
          row('', `rtsps://${at(rtsp.tlsPort)}/<camera>`),
        ]),
    ...(certificate === null ? [] : introduceCertificate(certificate)),
  ];
}

function introduceCertificate({
  fingerprint,
  caFile,
  caFingerprint,
}: NonNullable<Entrances['certificate']>): readonly string[] {
  const own = row('Shows', `a certificate with the SHA-256 ${fingerprint}`);
  if (caFile === null || caFingerprint === null) return [own];
  return [
    row('Trust', `${caFile}   (give it to devices and browsers)`),
    row('', `SHA-256 ${caFingerprint}`),
    own,
  ];
}

function shown({ showsSecrets, logins }: Addresses): Logins | 'hidden' {
  return showsSecrets || (logins.mqtt === null && logins.rtsp === null) ? logins : 'hidden';
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
