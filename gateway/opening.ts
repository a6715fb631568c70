/**
 * How far the gateway is open, and what that brings with it.
 *
 * `listen: lan` is one setting: HTTP (with TLS for all but this machine), MQTT over TLS, RTSP and
 * WebRTC listen on every address, and what nobody has configured is there all the same: a certificate
 * (security/certificates.ts), and a user each for devices and players. Their passwords are made of
 * the box's secret: the same at every start, nowhere stored, and gone once users are configured.
 */
import { createHmac } from 'node:crypto';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { isIP } from 'node:net';
import { isLoopback } from './config/listener-rules.ts';
import type { Config } from './config/schema.ts';
import {
  keptCertificate,
  ownCertificate,
  ownNames,
  readCertificate,
  type Certificate,
} from './security/certificates.ts';

/** A machine with containers has many; nobody reads them all. */
const addressesMax = 8;

/** Something that is to be listened on. */
export interface Listener {
  /** In words: `HTTP`, `MQTT over TLS`. */
  readonly name: string;
  readonly host: string;
  readonly port: number;
  /** The key that moves it elsewhere. */
  readonly key: string;
}

export interface Opening {
  /** null: TLS is not spoken. */
  readonly certificate: Certificate | null;
  readonly httpHost: string;
  readonly plaintextFor: 'everybody' | 'loopback';
  readonly rtspHost: string;
  readonly mqttTlsHost: string;
  readonly webRtcHost: string;
  /** Names by which browsers may call the gateway. */
  readonly hostNames: readonly string[];
  /** By which other machines reach it, the best one first; none where none can. */
  readonly lanAddresses: readonly string[];
}

/**
 * @param certificates `make` one where it is due; `look`, for who must not change anything
 * @throws Error for people, about a certificate that can't be used
 */
export async function openingOf(
  config: Config,
  nowMs: number,
  certificates: 'make' | 'look' = 'make',
): Promise<Opening> {
  const lan = config.listen === 'lan';
  const everywhere = (host: string): string => (lan && isLoopback(host) ? anyAddress() : host);
  const httpHost = everywhere(config.http.host);
  const { hostnames, allowPlaintext } = config.http;
  return {
    certificate: await certificateOf(config, nowMs, certificates),
    httpHost,
    plaintextFor: allowPlaintext || isLoopback(httpHost) ? 'everybody' : 'loopback',
    rtspHost: everywhere(config.rtsp.host),
    mqttTlsHost: everywhere(config.mqtt.host),
    webRtcHost: everywhere(config.webrtc.host),
    hostNames: lan ? [...hostnames, ...ownNames().filter((name) => isIP(name) === 0)] : hostnames,
    lanAddresses: lan ? outsideAddresses() : [],
  };
}

/** Every address that the gateway is to listen on. */
export function listenersOf(config: Config): readonly Listener[] {
  const { http, mqtt, rtsp, webrtc } = config;
  const on = (host: string): string =>
    config.listen === 'lan' && isLoopback(host) ? anyAddress() : host;
  const tls = config.listen === 'lan' || config.tls.certFile !== null;
  const listeners: Listener[] = [
    { name: 'HTTP', host: on(http.host), port: http.port, key: 'http.port' },
  ];
  if (mqtt.enabled && mqtt.external.url === null) {
    const { host, port, tlsPort } = mqtt;
    listeners.push({ name: 'MQTT', host, port, key: 'mqtt.port' });
    if (tls) {
      listeners.push({ name: 'MQTT over TLS', host: on(host), port: tlsPort, key: 'mqtt.tlsPort' });
    }
  }
  if (rtsp.enabled) {
    const host = on(rtsp.host);
    listeners.push({ name: 'RTSP', host, port: rtsp.port, key: 'rtsp.port' });
    if (tls)
      listeners.push({ name: 'RTSP over TLS', host, port: rtsp.tlsPort, key: 'rtsp.tlsPort' });
  }
  if (webrtc.enabled) {
    const { host, port } = webrtc;
    listeners.push({ name: 'WebRTC', host: on(host), port, key: 'webrtc.port' });
  }
  return listeners;
}

async function certificateOf(
  config: Config,
  nowMs: number,
  certificates: 'make' | 'look',
): Promise<Certificate | null> {
  const { certFile, keyFile } = config.tls;
  if (certFile !== null && keyFile !== null) return readCertificate(certFile, keyFile);
  if (config.listen !== 'lan') return null;
  const folder = join(config.dataDir, 'access');
  if (certificates === 'look') return keptCertificate(folder);
  return ownCertificate({ folder, names: [...ownNames(), ...config.http.hostnames], nowMs });
}

/** All of both families where there is IPv6. */
function anyAddress(): string {
  const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  return addresses.some(({ family }) => family === 'IPv6') ? '::' : '0.0.0.0';
}

/** Those of IPv4 first, which are the ones that people type. */
function outsideAddresses(): readonly string[] {
  return Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    .filter(({ internal, address }) => !internal && !/^fe80:/i.test(address))
    .sort((a, b) => a.family.localeCompare(b.family))
    .map(({ address }) => address)
    .slice(0, addressesMax);
}

// ---------------------------------------------------------------- credentials

export interface Login {
  readonly username: string;
  readonly password: string;
}

/** Whether `listen: lan` brings a user for devices and one for players: where nobody is configured. */
export function isMade({ listen, mqtt, rtsp }: Config): { mqtt: boolean; rtsp: boolean } {
  const lan = listen === 'lan';
  const served = mqtt.enabled && mqtt.external.url === null;
  const nobody = mqtt.users.length === 0 && mqtt.clientCaFile === null;
  return {
    mqtt: lan && served && nobody,
    rtsp: lan && rtsp.enabled && rtsp.readers.length === 0,
  };
}

/** The user that is made for devices, or for players. */
export function madeLogin(kind: 'mqtt' | 'rtsp', boxSecret: Buffer): Login {
  const username = { mqtt: 'device', rtsp: 'viewer' }[kind];
  const hmac = createHmac('sha256', boxSecret).update(`credentials ${username}`);
  // 120 bits; without the signs that shells and URLs would need quoted.
  const password = hmac.digest('base64url').replace(/[-_]/g, '').slice(0, 20);
  return { username, password };
}

/** The configuration with those users in it. */
export function withMadeUsers(config: Config, boxSecret: Buffer): Config {
  const made = isMade(config);
  const device = { ...madeLogin('mqtt', boxSecret), publish: ['#'], subscribe: ['#'] };
  const viewer = madeLogin('rtsp', boxSecret);
  return {
    ...config,
    mqtt: made.mqtt ? { ...config.mqtt, users: [device] } : config.mqtt,
    rtsp: made.rtsp ? { ...config.rtsp, readers: [viewer] } : config.rtsp,
  };
}
