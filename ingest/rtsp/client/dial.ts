/**
 * Connects to a camera, over TCP or TLS, at an address that was checked: the name is resolved
 * here, every address it has must be allowed, and the connection goes to one of those.
 */
import { lookup } from 'node:dns/promises';
import { isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { SourceError } from '../../source.ts';
import { connectPaced } from '../../reading-pace.ts';
import type { CameraAddress } from './address.ts';
import type { AddressGuard } from './guard.ts';

export interface DialOptions {
  readonly address: CameraAddress;
  readonly guard: AddressGuard;
  /** Whether the certificate of an `rtsps` camera must be one that this machine trusts. */
  readonly verifyTls: boolean;
  /** Aborted when it takes too long, or nobody wants it any more. */
  readonly signal: AbortSignal;
}

/**
 * @throws SourceError `unreachable` (refused, no such host, no route), `forbidden` for an address
 *   that is not allowed, `unsupported` for a certificate that is not trusted or no TLS at all; the
 *   signal's reason when it was aborted
 */
export async function dial(options: DialOptions): Promise<Socket> {
  const { address, guard, signal } = options;
  const found = await allowedAddresses(address.host, guard, signal);
  let failure: unknown = null;
  for (const one of found) {
    try {
      return await connected(one, options);
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      failure = error;
    }
  }
  throw explained(failure, address);
}

/**
 * The IP addresses of a host.
 *
 * @throws SourceError `forbidden` when one of them is not allowed, `unreachable` when there are none
 */
export async function allowedAddresses(
  host: string,
  guard: AddressGuard,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const found = await resolve(host, signal);
  for (const one of found) {
    const reason = guard(one);
    if (reason === null) continue;
    const shown = one === host ? one : `${host} (${one})`;
    throw new SourceError('forbidden', `${shown} ${reason}: the gateway does not connect there`);
  }
  return found;
}

async function resolve(host: string, signal: AbortSignal): Promise<readonly string[]> {
  signal.throwIfAborted();
  if (isIP(host) !== 0) return [host];
  let stop = (): void => undefined;
  const aborted = new Promise<never>((_, reject) => {
    stop = () => {
      reject(signal.reason as Error);
    };
    signal.addEventListener('abort', stop, { once: true });
  });
  try {
    // A resolver that does not answer can't be stopped, only left alone.
    const found = await Promise.race([lookup(host, { all: true, verbatim: true }), aborted]);
    return found.map(({ address }) => address);
  } catch (error) {
    if (signal.aborted) throw error;
    const message = `there is no host named ${host}, or no name server that knows it`;
    throw new SourceError('unreachable', message, { cause: error });
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

function connected(ip: string, { address, verifyTls, signal }: DialOptions): Promise<Socket> {
  return new Promise((settle, fail) => {
    const place = { host: ip, port: address.port };
    const serverName = isIP(address.host) === 0 ? { servername: address.host } : {};
    const socket = address.tls
      ? connectTls({ ...place, ...serverName, rejectUnauthorized: verifyTls })
      : connectPaced(place);
    const ready = address.tls ? 'secureConnect' : 'connect';
    const release = (): void => {
      socket.off('error', give);
      socket.off(ready, take);
      signal.removeEventListener('abort', abort);
    };
    const give = (error: unknown): void => {
      release();
      socket.on('error', () => undefined);
      socket.destroy();
      fail(error instanceof Error ? error : new Error(String(error)));
    };
    const abort = (): void => {
      give(signal.reason);
    };
    const take = (): void => {
      release();
      settle(socket);
    };
    signal.addEventListener('abort', abort, { once: true });
    socket.once('error', give);
    socket.once(ready, take);
  });
}

/** What the system's codes mean for somebody who sets up a camera. */
function explained(error: unknown, address: CameraAddress): SourceError {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const because = { cause: error };
  switch (code) {
    case 'ECONNREFUSED':
      return new SourceError(
        'unreachable',
        `connection refused (is RTSP switched on in the camera, and on port ${address.port}?)`,
        because,
      );
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
    case 'ETIMEDOUT':
      return new SourceError('unreachable', `nobody answers (${code})`, because);
  }
  if (address.tls && (code.startsWith('ERR_SSL') || code === 'EPROTO' || code === 'ECONNRESET')) {
    return new SourceError('unsupported', `no TLS is spoken there (${code})`, because);
  }
  if (address.tls && !/^E[A-Z]+$/.test(code)) {
    const advice = 'verifyTls: false accepts any certificate';
    return new SourceError(
      'unsupported',
      `its certificate is not trusted (${code || String(error)}); ${advice}`,
      because,
    );
  }
  return new SourceError('unreachable', `no connection: ${code || String(error)}`, because);
}
