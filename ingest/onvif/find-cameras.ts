/**
 * Finds cameras: asks the networks, or hosts by name, and each device that answers for its streams.
 *
 * A device is asked only at the address that its answer came from, and only where the guard allows
 * that one. Each has a time of its own, so one that hangs costs nothing but its own facts.
 */
import type { Clock } from '../../storage/ports.ts';
import type { RtspUser } from '../rtsp/authentication.ts';
import { allowedAddresses } from '../rtsp/client/dial.ts';
import type { AddressGuard } from '../rtsp/client/guard.ts';
import { SourceError, type SourceErrorCode } from '../source.ts';
import { readDevice, type DeviceFacts } from './device.ts';
import { discover, type Answer } from './discovery.ts';
import { SoapDevice } from './soap.ts';

export interface FoundCamera {
  /** The address that it answers at. */
  readonly host: string;
  readonly port: number | null;
  /** What it calls itself for good; empty for a host that was named. */
  readonly id: string;
  readonly name: string;
  readonly hardware: string;
  /** null: it did not tell, for the reason that `problem` gives. */
  readonly facts: DeviceFacts | null;
  readonly problem: { readonly code: SourceErrorCode; readonly message: string } | null;
}

export interface FindOptions {
  /** Hosts to ask, as `host` or `host:port`; none: the networks of `interfaces` are. */
  readonly hosts: readonly string[];
  readonly interfaces: readonly string[];
  /** How long answers from the networks are waited for. */
  readonly waitMs: number;
  /** Each device gets to hear of this user, its password as a digest alone. */
  readonly user: RtspUser | null;
  readonly guard: AddressGuard;
  readonly clock: Clock;
  /** Ends it, with what was found until then. */
  readonly signal: AbortSignal;
}

const deviceMsMax = 10_000;
const atOnceMax = 8;
const servicePath = '/onvif/device_service';

/**
 * In the order of their addresses.
 *
 * @throws SourceError `unreachable` when there is no network to ask in, `unsupported` for a host
 *   that is none
 */
export async function findCameras(options: FindOptions): Promise<readonly FoundCamera[]> {
  const inTurn = limiter(atOnceMax);
  const asked: Promise<FoundCamera>[] = [];
  if (options.hosts.length > 0) {
    const places = options.hosts.map(placeOf);
    asked.push(...places.map((place) => inTurn(() => askHost(place, options))));
  } else {
    const onAnswer = (answer: Answer): void => {
      asked.push(inTurn(() => askAnswer(answer, options)));
    };
    await discover({ ...options, onAnswer });
  }
  const found = await Promise.all(asked);
  return found.sort((a, b) => a.host.localeCompare(b.host, 'en', { numeric: true }));
}

async function askHost(
  { host, port }: { readonly host: string; readonly port: number },
  options: FindOptions,
): Promise<FoundCamera> {
  const answer = { id: '', host, service: { port, path: servicePath }, name: '', hardware: '' };
  return askAnswer(answer, options);
}

async function askAnswer(answer: Answer, options: FindOptions): Promise<FoundCamera> {
  const { service, ...said } = answer;
  const camera = { ...said, port: service?.port ?? null };
  try {
    if (service === null) {
      throw new SourceError('unsupported', 'it names no http:// address of its own to be asked at');
    }
    return { ...camera, facts: await ask(answer.host, service, options), problem: null };
  } catch (error) {
    if (!(error instanceof SourceError)) throw error;
    return { ...camera, facts: null, problem: { code: error.code, message: error.message } };
  }
}

async function ask(
  host: string,
  service: { readonly port: number; readonly path: string },
  { guard, user, clock, signal }: FindOptions,
): Promise<DeviceFacts> {
  const stop = new AbortController();
  const abort = (): void => {
    stop.abort(new SourceError('ended', 'the search was ended'));
  };
  if (signal.aborted) abort();
  signal.addEventListener('abort', abort, { once: true });
  const cancel = clock.setTimer(deviceMsMax, () => {
    const seconds = deviceMsMax / 1_000;
    stop.abort(new SourceError('stalled', `it did not tell its streams within ${seconds} s`));
  });
  try {
    const [address = host] = await allowedAddresses(host, guard, stop.signal);
    const place = { host: address, port: service.port };
    const device = new SoapDevice({ ...place, user, clock, signal: stop.signal });
    return await readDevice(device, service.path);
  } finally {
    cancel();
    signal.removeEventListener('abort', abort);
  }
}

function placeOf(text: string): { readonly host: string; readonly port: number } {
  const match = /^(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]{1,253}))(?::(\d{1,5}))?$/i.exec(text);
  const port = Number(match?.[3] ?? 80);
  if (match === null || port < 1 || port > 65_535) {
    throw new SourceError('unsupported', 'a camera to ask is written as host or host:port');
  }
  return { host: match[1] ?? match[2] ?? '', port };
}

/** Runs so many at once, the others after them. */
function limiter(most: number): <T>(work: () => Promise<T>) => Promise<T> {
  let running = 0;
  const waiting: (() => void)[] = [];
  return async (work) => {
    if (running >= most) await new Promise<void>((resolve) => waiting.push(resolve));
    else running += 1;
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next === undefined) running -= 1;
      else next();
    }
  };
}
