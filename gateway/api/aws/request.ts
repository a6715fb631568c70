/** What every AWS API here asks of a request, whatever its protocol: `../kinesis`, `../dynamodb`, `../kinesis-video`. */
import { TLSSocket } from 'node:tls';
import type { Context } from 'hono';
import { remoteAddress, type AppEnv } from '../../http/authentication.ts';
import type { Bindings } from '../../http/server.ts';
import type { AwsRequest } from '../../security/aws-authenticator.ts';
import type { ReadBody } from './body.ts';

/** Whether it says who asks, truly or not. Of whom does not, nothing is read. */
export function claimsSomebody(c: Context<AppEnv>): boolean {
  return (
    c.req.header('authorization') !== undefined || c.req.query('X-Amz-Algorithm') !== undefined
  );
}

/** As its signature is checked. */
export function signedRequest(c: Context<AppEnv>, body: ReadBody): AwsRequest {
  return {
    method: c.req.method,
    url: new URL(c.req.url),
    headers: c.req.raw.headers,
    ...headerNames(c),
    body: body.bytes,
    bodyHash: body.hash,
    connection: { encrypted: isEncrypted(c), remoteAddress: remoteAddress(c.env) },
  };
}

/** What policies may ask for. */
export function requestFacts(c: Context<AppEnv>): Record<string, string> {
  return {
    'aws:SourceIp': remoteAddress(c.env).replace(/^::ffff:/i, ''),
    'aws:SecureTransport': String(isEncrypted(c)),
    'aws:UserAgent': c.req.header('user-agent') ?? '',
  };
}

/** What a page of another site needs to read an answer; nothing for anybody else. */
export function pageHeaders(c: Context<AppEnv>, exposedHeaders: string): Record<string, string> {
  if (c.req.header('origin') === undefined) return {};
  return {
    'access-control-allow-origin': '*',
    'access-control-expose-headers': exposedHeaders,
  };
}

/** Without a socket there are none, whatever their type says. */
export function bindingsOf({
  env,
}: {
  readonly env: Partial<Bindings> | undefined;
}): Partial<Bindings> {
  return env ?? {};
}

/** Where there is a socket. */
function headerNames(c: Context<AppEnv>): { headerNames?: readonly string[] } {
  const raw = bindingsOf(c).incoming?.rawHeaders;
  if (raw === undefined) return {};
  return { headerNames: raw.filter((_, at) => at % 2 === 0).map((name) => name.toLowerCase()) };
}

function isEncrypted(c: Context<AppEnv>): boolean {
  return bindingsOf(c).incoming?.socket instanceof TLSSocket;
}
