/**
 * The same function behind each kind of target: as a module in a thread, behind an HTTP endpoint,
 * and behind Lambda's Invoke, which can't be had here, by a server that checks what Lambda checks.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { pathToFileURL } from 'node:url';
import { FunctionError, type FunctionErrorCode } from '../../../../gateway/functions/function.ts';
import type { FunctionTarget } from '../../../../gateway/functions/target.ts';
import { sha256Hex, signatureOf, signingKey } from '../../../../gateway/security/sigv4.ts';
import type { CancelTimer } from '../../../../storage/ports.ts';
import { ManualClock } from '../../../support/manual-clock.ts';
import { temporaryFolder } from '../../../support/temporary-folder.ts';

export const kinds = ['module', 'http', 'lambda'] as const;
export type Kind = (typeof kinds)[number];

export const keys = { accessKeyId: 'AKIAEXAMPLE', secretAccessKey: 'secret' };
const payloadBytesMax = 6 * 2 ** 20;

/** As a handler of Lambda; a text that begins with `RAW ` leaves a server as it is, without that. */
type Handler = (event: unknown, context: { awsRequestId: string }) => unknown;

/** Waits of less than a minute are over at once; the longer ones a test ends itself. */
export class ImpatientClock extends ManualClock {
  readonly #awaited = new Map<number, () => void>();

  /** Resolves once somebody begins to wait for so long. */
  begun(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.#awaited.set(delayMs, resolve));
  }

  override setTimer(delayMs: number, callback: () => void): CancelTimer {
    if (delayMs < 60_000) {
      const timer = setImmediate(callback);
      return () => {
        clearImmediate(timer);
      };
    }
    this.#awaited.get(delayMs)?.();
    return super.setTimer(delayMs, callback);
  }
}

export function functionError(code: FunctionErrorCode, message = /./) {
  return (error: unknown): boolean => {
    assert.ok(error instanceof FunctionError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  };
}

export type Answer = (request: IncomingMessage, body: Buffer, response: ServerResponse) => void;

export async function serve(t: TestContext, answer: Answer): Promise<string> {
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      answer(request, Buffer.concat(parts), response);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

export async function moduleFile(t: TestContext, source: string, name = 'f.mjs'): Promise<string> {
  const path = join(await temporaryFolder(t), name);
  await writeFile(path, source);
  return path;
}

/** @param source of an ES module that exports `handler` */
export async function functionOf(
  t: TestContext,
  kind: Kind,
  source: string,
): Promise<FunctionTarget> {
  const path = await moduleFile(t, source);
  if (kind === 'module') {
    return { module: { path, export: 'handler', memoryMaxMiB: 64, concurrency: 2 } };
  }
  const { handler } = (await import(pathToFileURL(path).href)) as { handler: Handler };
  if (kind === 'http') {
    const url = await serve(t, httpAnswer(handler));
    return { http: { url: `${url}/run`, authorization: 'Bearer x' } };
  }
  const endpoint = await serveLambda(t, 'shape:live', handler);
  return { lambda: { function: 'shape:live', region: 'eu-central-1', endpoint, ...keys } };
}

/** Lambda with one function, which may be asked for by this name. @returns its endpoint */
export function serveLambda(t: TestContext, name: string, handler: Handler): Promise<string> {
  return serve(t, lambdaAnswer(name, handler));
}

function httpAnswer(handler: Handler): Answer {
  return ({ method, url, headers }, body, response) => {
    const isSound =
      method === 'POST' &&
      url === '/run' &&
      headers.authorization === 'Bearer x' &&
      headers['content-type'] === 'application/json';
    if (!isSound) response.writeHead(400).end();
    else {
      const id = String(headers['x-headgate-call']);
      run(handler, body, id).then(
        (text) => response.end(text),
        (error: unknown) => response.writeHead(500).end(String(error)),
      );
    }
  };
}

function lambdaAnswer(name: string, handler: Handler): Answer {
  return (request, body, response) => {
    const { url, headers } = request;
    if (!isSigned(request, body)) {
      response.writeHead(403, { 'x-amzn-errortype': 'InvalidSignatureException' }).end();
    } else if (body.length > payloadBytesMax) {
      response.writeHead(413, { 'x-amzn-errortype': 'RequestTooLargeException' }).end();
    } else if (
      url !== `/2015-03-31/functions/${encodeURIComponent(name)}/invocations` ||
      headers['x-amz-invocation-type'] !== 'RequestResponse'
    ) {
      response.writeHead(404, { 'x-amzn-errortype': 'ResourceNotFoundException' }).end();
    } else {
      run(handler, body, 'of-lambda').then(
        (text) => response.end(text),
        (error: unknown) => {
          response.setHeader('x-amz-function-error', 'Unhandled');
          response.end(JSON.stringify({ errorMessage: String(error) }));
        },
      );
    }
  };
}

async function run(handler: Handler, body: Buffer, awsRequestId: string): Promise<string> {
  const answer = await handler(JSON.parse(body.toString()), { awsRequestId });
  if (typeof answer === 'string' && answer.startsWith('RAW ')) return answer.slice(4);
  return JSON.stringify(answer ?? null);
}

function isSigned({ method = '', url = '', headers }: IncomingMessage, body: Buffer): boolean {
  const [, credential = '', signed = '', signature] =
    /Credential=([^,]+), SignedHeaders=([^,]+), Signature=(\w+)$/.exec(
      headers.authorization ?? '',
    ) ?? [];
  const [accessKeyId, date = '', region = '', service = ''] = credential.split('/');
  const scope = { date, region, service };
  const expected = signatureOf(
    {
      ...{ method, url: new URL(`http://${headers.host ?? ''}${url}`) },
      payloadHash: sha256Hex(body),
      header: (name) => headers[name]?.toString(),
      signedHeaders: signed.split(';'),
    },
    String(headers['x-amz-date']),
    scope,
    signingKey(keys.secretAccessKey, scope),
  );
  return accessKeyId === keys.accessKeyId && service === 'lambda' && signature === expected;
}
