/**
 * How far the gateway is open, and what that brings with it.
 *
 * `listen: lan` is one setting: HTTP (with TLS for all but this machine), MQTT over TLS and RTSP
 * listen on every address, and what nobody has configured is there all the same: a certificate
 * (security/certificates.ts), and a user each for devices and players. Their passwords are made of
 * the box's secret: the same at every start, nowhere stored, and gone once users are configured.
 */
import { createHmac } from 'node:crypto';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { isIP } from 'node:net';
import { isLoopback } from './config/rules.ts';
import type { Config } from './config/schema.ts';
import {
  keptCertificate,
  ownCertificate,
  ownNames,
  readCertificate,
  type Certificate,
} from './security/certificates.ts';

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
  /** Names by which browsers may call the gateway. */
  readonly hostNames: readonly string[];
  /** By which other machines reach it; null: none can. */
  readonly lanAddress: string | null;
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
    hostNames: lan ? [...hostnames, ...ownNames().filter((name) => isIP(name) === 0)] : hostnames,
    lanAddress: lan ? firstAddress() : null,
  };
}

/** Every address that the gateway is to listen on. */
export function listenersOf(config: Config): readonly Listener[] {
  const { http, mqtt, rtsp } = config;
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

function firstAddress(): string | null {
  const addresses = Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    .filter(({ internal, address }) => !internal && !/^fe80:/i.test(address));
  const best = addresses.find(({ family }) => family === 'IPv4') ?? addresses[0];
  return best?.address ?? null;
}

// ---------------------------------------------------------------- credentials

export interface Login {
  readonly username: string;
  readonly password: string;
}

export interface MadeCredentials {
  /** For devices; null: mqtt.users says who they are, or MQTT is off. */
  readonly mqtt: Login | null;
  /** For players; null: rtsp.readers says who they are, or RTSP is off. */
  readonly rtsp: Login | null;
}

/** What `listen: lan` brings, where nobody is configured; nothing otherwise. */
export function madeCredentials(config: Config, boxSecret: Buffer): MadeCredentials {
  const lan = config.listen === 'lan';
  const { mqtt, rtsp } = config;
  const served = mqtt.enabled && mqtt.external.url === null;
  const nobody = mqtt.users.length === 0 && mqtt.clientCaFile === null;
  const derive = (purpose: string): string =>
    createHmac('sha256', boxSecret).update(`credentials ${purpose}`).digest('base64url');
  const login = (username: string): Login => ({
    username,
    // 120 bits; without the signs that shells and URLs would need quoted.
    password: derive(username).replace(/[-_]/g, '').slice(0, 20),
  });
  return {
    mqtt: lan && served && nobody ? login('device') : null,
    rtsp: lan && rtsp.enabled && rtsp.readers.length === 0 ? login('viewer') : null,
  };
}

/** The configuration with those credentials in it. */
export function withMadeCredentials(config: Config, boxSecret: Buffer): Config {
  const { mqtt, rtsp } = madeCredentials(config, boxSecret);
  return {
    ...config,
    mqtt:
      mqtt === null
        ? config.mqtt
        : { ...config.mqtt, users: [{ ...mqtt, publish: ['#'], subscribe: ['#'] }] },
    rtsp: rtsp === null ? config.rtsp : { ...config.rtsp, readers: [{ ...rtsp }] },
  };
}
