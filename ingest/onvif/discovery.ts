/**
 * Asks the network which cameras are there: WS-Discovery 1.0 over UDP multicast, as ONVIF's Core
 * Specification (chapter 7) has it. IPv4 only, and only what is in the same network segment.
 *
 * Anybody there can answer anything. What is believed of an answer is that there is a device at the
 * address that it came from: addresses of others that it names are dropped.
 */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { networkInterfaces } from 'node:os';
import { randomUUID } from 'node:crypto';
import type { Clock } from '../../storage/ports.ts';
import { SourceError } from '../source.ts';
import { find, parseXml, printable, textOf, type XmlElement } from './xml.ts';

/** A device that answered. */
export interface Answer {
  /** What it calls itself for good, mostly `urn:uuid:…`. */
  readonly id: string;
  /** The address that the answer came from. */
  readonly host: string;
  /** Where its device service is, at that address; null: it names none that can be asked. */
  readonly service: { readonly port: number; readonly path: string } | null;
  /** From its scopes; empty: it says nothing of it. */
  readonly name: string;
  readonly hardware: string;
}

export interface DiscoverOptions {
  /** Own IPv4 addresses of the networks to ask in. */
  readonly interfaces: readonly string[];
  /** How long answers are waited for. */
  readonly waitMs: number;
  readonly clock: Clock;
  /** Ends the wait. */
  readonly signal: AbortSignal;
  /** Called for each device, once. */
  readonly onAnswer: (answer: Answer) => void;
}

export const discoveryPort = 3702;
export const discoveryGroup = '239.255.255.250';
/** Datagrams get lost, so the question is asked once more. */
const repeatMs = 300;
/** What comes past these is not looked at. */
const datagramsMax = 2_000;
const datagramBytesMax = 16_384;
const devicesMax = 256;
const types = ['dn:NetworkVideoTransmitter', 'tds:Device'] as const;

/** The IPv4 addresses of this machine, without loopback. */
export function networksOfThisMachine(): readonly string[] {
  return Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    .filter(({ family, internal }) => family === 'IPv4' && !internal)
    .map(({ address }) => address);
}

/** @throws SourceError `unreachable` when the question can be sent into none of the networks */
export async function discover(options: DiscoverOptions): Promise<void> {
  const { interfaces, waitMs, clock, signal, onAnswer } = options;
  const messageIds = types.map(() => `urn:uuid:${randomUUID()}`);
  const probes = types.map((type, index) => probeMessage(type, messageIds[index] ?? ''));
  const seen = new Set<string>();
  let datagrams = 0;
  const take = (message: Buffer, { address }: RemoteInfo): void => {
    datagrams += 1;
    if (datagrams > datagramsMax || message.length > datagramBytesMax || signal.aborted) return;
    const answer = readAnswer(message, address, messageIds);
    if (answer === null) return;
    // One that answers under many names is one device all the same.
    const key = answer.service === null ? address : `${address}:${answer.service.port}`;
    if (seen.has(key) || seen.size >= devicesMax) return;
    seen.add(key);
    onAnswer(answer);
  };
  const opened = await Promise.allSettled(interfaces.map((address) => open(address, take)));
  const sockets = opened.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  try {
    const sent = await Promise.allSettled(sockets.map((socket) => sendAll(socket, probes)));
    const works = sent.some(({ status }) => status === 'fulfilled');
    if (!works) {
      const failed = [...opened, ...sent].find((one) => one.status === 'rejected');
      throw new SourceError('unreachable', 'there is no IPv4 network to ask for cameras in', {
        cause: failed?.reason,
      });
    }
    await waited({ waitMs, clock, signal }, () => {
      for (const socket of sockets) sendAll(socket, probes).catch(() => undefined);
    });
  } finally {
    for (const socket of sockets) socket.close();
  }
}

async function waited(
  { waitMs, clock, signal }: Pick<DiscoverOptions, 'waitMs' | 'clock' | 'signal'>,
  repeat: () => void,
): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    const cancelRepeat = clock.setTimer(repeatMs, repeat);
    const end = (): void => {
      cancelRepeat();
      cancel();
      signal.removeEventListener('abort', end);
      resolve();
    };
    const cancel = clock.setTimer(waitMs, end);
    signal.addEventListener('abort', end, { once: true });
  });
}

function open(address: string, take: (message: Buffer, from: RemoteInfo) => void): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createSocket('udp4');
    const fail = (error: Error): void => {
      socket.close();
      reject(error);
    };
    socket.once('error', fail);
    socket.bind(0, address, () => {
      try {
        socket.setMulticastInterface(address);
        socket.setMulticastTTL(1);
      } catch (error) {
        fail(error instanceof Error ? error : new Error(String(error)));
        return;
      }
      socket.off('error', fail);
      // A port that nobody listens on any more is no reason to stop.
      socket.on('error', () => undefined);
      socket.on('message', take);
      resolve(socket);
    });
  });
}

async function sendAll(socket: Socket, probes: readonly string[]): Promise<void> {
  for (const probe of probes) {
    await new Promise<void>((resolve, reject) => {
      socket.send(probe, discoveryPort, discoveryGroup, (error) => {
        if (error === null) resolve();
        else reject(error);
      });
    });
  }
}

function probeMessage(type: string, messageId: string): string {
  return `<?xml version="1.0" encoding="UTF-8"?>
<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing" xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery" xmlns:dn="http://www.onvif.org/ver10/network/wsdl" xmlns:tds="http://www.onvif.org/ver10/device/wsdl"><s:Header><a:Action s:mustUnderstand="1">http://schemas.xmlsoap.org/ws/2005/04/discovery/Probe</a:Action><a:MessageID>${messageId}</a:MessageID><a:ReplyTo><a:Address>http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous</a:Address></a:ReplyTo><a:To s:mustUnderstand="1">urn:schemas-xmlsoap-org:ws:2005:04:discovery</a:To></s:Header><s:Body><d:Probe><d:Types>${type}</d:Types></d:Probe></s:Body></s:Envelope>`;
}

/** null: it is no answer to what was asked. */
function readAnswer(message: Buffer, host: string, messageIds: readonly string[]): Answer | null {
  let envelope: XmlElement;
  try {
    envelope = parseXml(message.toString('utf8'));
  } catch {
    return null;
  }
  if (!messageIds.includes(textOf(envelope, 'RelatesTo'))) return null;
  const match = find(envelope, 'ProbeMatch');
  if (match === null) return null;
  const scopes = textOf(match, 'Scopes').split(/\s+/);
  return {
    id: printable(textOf(find(match, 'EndpointReference'), 'Address')),
    host,
    service: serviceAt(host, textOf(match, 'XAddrs').split(/\s+/)),
    name: scopeOf(scopes, 'name'),
    hardware: scopeOf(scopes, 'hardware'),
  };
}

function serviceAt(host: string, addresses: readonly string[]): Answer['service'] {
  for (const text of addresses) {
    const url = URL.canParse(text) ? new URL(text) : null;
    if (url?.protocol !== 'http:' || url.hostname !== host) continue;
    return { port: Number(url.port === '' ? 80 : url.port), path: url.pathname + url.search };
  }
  return null;
}

/** `onvif://www.onvif.org/name/Front%20gate` */
function scopeOf(scopes: readonly string[], kind: string): string {
  const start = `onvif://www.onvif.org/${kind}/`;
  const found = scopes.find((scope) => scope.toLowerCase().startsWith(start));
  const text = found?.slice(start.length) ?? '';
  try {
    return printable(decodeURIComponent(text));
  } catch {
    return printable(text);
  }
}
