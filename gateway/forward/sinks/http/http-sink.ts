/**
 * An HTTP endpoint that speaks Firehose's protocol, version 1.0: one POST of JSON per batch, the
 * records in Base64, answered with the same request id.
 *
 * The request id is the batch's, so that an endpoint can tell what comes again; that of a piece of
 * a batch is derived from it. The endpoint is not asked whether it is there: it has no request for
 * that which would carry nothing.
 *
 * Source: Firehose Developer Guide, "HTTP endpoint delivery request and response specifications".
 */
import { setImmediate } from 'node:timers/promises';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { z } from 'zod';
import { SinkError, type Batch, type BatchItem, type BatchSink } from '../../sink.ts';
import { uuidV5 } from '../../uuid.ts';
import { interception } from '../aws.ts';
import { HttpClient, jsonOf, type Connecting, type HttpAnswer } from '../http-client.ts';
import { Pieces } from '../pieces.ts';

export interface HttpSinkOptions extends Connecting {
  readonly url: string;
  /** Sent as `X-Amz-Firehose-Access-Key`; null: none. */
  readonly accessKey: string | null;
  /** The same for every request. */
  readonly commonAttributes: Readonly<Record<string, string>>;
  readonly compression: 'none' | 'gzip';
  /** Of the delivery, for `X-Amz-Firehose-Source-Arn`. */
  readonly sourceArn: string;
}

/** So that a body in Base64 is at most 64 MiB, which endpoints have to take. */
const dataBytesMax = 47 * 1024 ** 2;
const recordsMax = 10_000;
/** What is around a record in a body. */
const frameBytes = 12;
/** A body is made in pieces of about this size, so that others have their turn. */
const textBytes = 256 * 1024;
const defaultTimeoutMs = 180_000;

const answerShape = z.object({ requestId: z.string(), timestamp: z.number() });
const complaintShape = z.object({ errorMessage: z.string() });
const compress = promisify(gzip);

export function httpSink(options: HttpSinkOptions): BatchSink {
  const url = new URL(options.url);
  const secrets = [options.accessKey ?? ''];
  const client = new HttpClient({ ...options, service: 'http', secrets });
  const pieces = new Pieces(dataBytesMax + recordsMax * frameBytes, { isolating: false });
  return {
    kind: 'http',
    description: `${url.origin}${url.pathname}`,
    limits: { records: recordsMax, bytes: dataBytesMax, recordBytes: dataBytesMax },
    attemptMs: options.timeoutMs ?? defaultTimeoutMs,
    deliver: ({ id, items }, signal) =>
      pieces.send(
        items,
        ({ data }) => data.length + frameBytes,
        async (piece) => {
          const batch = { id: requestId(id, items, piece), items: piece };
          await post(client, url, options, batch, signal);
          return piece.map(() => null);
        },
      ),
    check: async (signal) => {
      await client.ask({ method: 'HEAD', url: new URL(url.origin), headers: {} }, signal);
      return `${url.host} answers`;
    },
    close: () => {
      client.close();
      return Promise.resolve();
    },
  };
}

/** The same whenever just these items are sent. */
function requestId(
  batchId: string,
  items: readonly BatchItem[],
  piece: readonly BatchItem[],
): string {
  if (piece.length === items.length) return batchId;
  return uuidV5(batchId, `${piece[0]?.id ?? ''}/${piece.at(-1)?.id ?? ''}`);
}

/** @throws SinkError */
async function post(
  client: HttpClient,
  url: URL,
  options: HttpSinkOptions,
  batch: Batch,
  signal: AbortSignal,
): Promise<void> {
  const { accessKey, commonAttributes, compression, sourceArn, clock } = options;
  const plain = await bodyOf(batch, clock.nowMs());
  const body = compression === 'gzip' ? [await compress(Buffer.concat(plain))] : plain;
  const headers = {
    'content-type': 'application/json',
    'x-amz-firehose-protocol-version': '1.0',
    'x-amz-firehose-request-id': batch.id,
    'x-amz-firehose-source-arn': sourceArn,
    ...(accessKey !== null && { 'x-amz-firehose-access-key': accessKey }),
    ...(Object.keys(commonAttributes).length > 0 && {
      'x-amz-firehose-common-attributes': inAscii(JSON.stringify({ commonAttributes })),
    }),
    ...(compression === 'gzip' && { 'content-encoding': 'gzip' }),
  };
  checkAnswer(client, await client.ask({ url, headers, body }, signal), batch.id);
}

async function bodyOf({ id, items }: Batch, nowMs: number): Promise<Buffer[]> {
  const pieces: Buffer[] = [];
  let text = `{"requestId":"${id}","timestamp":${nowMs},"records":[`;
  for (const [index, { data }] of items.entries()) {
    text += `${index === 0 ? '' : ','}{"data":"${data.toString('base64')}"}`;
    if (text.length < textBytes) continue;
    pieces.push(Buffer.from(text, 'latin1'));
    text = '';
    await setImmediate();
  }
  pieces.push(Buffer.from(`${text}]}`, 'latin1'));
  return pieces;
}

/** JSON that a header may hold. */
function inAscii(json: string): string {
  return json.replace(
    /[^ -~]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** Nothing but a 200 that repeats the request id says that the records were taken. @throws SinkError */
function checkAnswer(client: HttpClient, answer: HttpAnswer, id: string): void {
  const json = jsonOf(answer);
  if (answer.status !== 200) {
    const { data } = complaintShape.safeParse(json);
    throw client.refusal(answer, data === undefined ? {} : { message: data.errorMessage });
  }
  const { data } = answerShape.safeParse(json);
  if (data === undefined) {
    const message = 'an answer that is not of the protocol: it needs requestId and timestamp';
    throw new SinkError('unavailable', message, { advice: interception });
  }
  if (data.requestId !== id) {
    throw new SinkError('unavailable', 'an answer to another request', {
      advice: 'The endpoint has to repeat the requestId of the request that it answers.',
    });
  }
}
