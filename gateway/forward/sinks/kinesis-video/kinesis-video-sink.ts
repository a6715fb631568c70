/**
 * A camera's fragments into a stream of Kinesis Video, or a server that speaks like it: PutMedia.
 *
 * GetDataEndpoint is asked before each connection, as every producer does: the address may change.
 * Times are absolute, so that a connection may begin anywhere, and the signature covers the head of
 * the request alone, as the producer SDKs have it.
 *
 * Sources: Kinesis Video Streams Developer Guide, PutMedia and GetDataEndpoint.
 */
import { KinesisClient } from '@aws-sdk/client-kinesis';
import type { ClientRequest, IncomingMessage } from 'node:http';
import { z } from 'zod';
import type { Clock } from '../../../../storage/ports.ts';
import { SinkError, type MediaAck, type MediaConnection, type MediaSink } from '../../sink.ts';
import { AwsClient, type AwsOptions } from '../aws.ts';
import { AckReader } from './acks.ts';
import { answerTo, bodyOf, refusalOf, signedPost, type Signer } from './signed-request.ts';

export interface KinesisVideoSinkOptions extends AwsOptions {
  /** Its name. */
  readonly stream: string;
  readonly clock: Clock;
}

export interface KinesisVideoSink extends MediaSink {
  /** Where the stream's media goes. @throws SinkError, as when there is no such stream */
  dataEndpoint(signal: AbortSignal): Promise<string>;
}

const endpointShape = z.object({ DataEndpoint: z.url({ protocol: /^https?$/ }) });
const noBody = Buffer.alloc(0);

export function kinesisVideoSink(options: KinesisVideoSinkOptions): KinesisVideoSink {
  // The SDK's client is asked for nothing but region and credentials.
  const client = new AwsClient('kinesis-video', options, (config) => new KinesisClient(config));
  const call = <T>(
    signal: AbortSignal,
    work: (signer: Signer, signal: AbortSignal) => Promise<T>,
  ): Promise<T> =>
    client.call(signal, async ({ config }, abortSignal) => {
      const region = await config.region();
      return work({ region, ...(await config.credentials()) }, abortSignal);
    });
  return {
    kind: 'kinesis-video',
    description: `kinesis-video:${options.stream}`,
    connect: (startMs, signal) =>
      call(signal, async (signer, abortSignal) => {
        const endpoint = await dataEndpoint(options, signer, abortSignal);
        return putMedia(options, { endpoint, signer, startMs }, abortSignal);
      }),
    dataEndpoint: (signal) =>
      call(signal, async (signer, abortSignal) =>
        String(await dataEndpoint(options, signer, abortSignal)),
      ),
    close: () => {
      client.close();
      return Promise.resolve();
    },
  };
}

async function dataEndpoint(
  { stream, endpoint, clock }: KinesisVideoSinkOptions,
  signer: Signer,
  signal: AbortSignal,
): Promise<URL> {
  const url = new URL('/getDataEndpoint', endpoint ?? serviceOf(signer.region));
  const signedBody = Buffer.from(JSON.stringify({ StreamName: stream, APIName: 'PUT_MEDIA' }));
  const headers = { 'content-type': 'application/json' };
  const request = signedPost({ url, headers, signedBody }, signer, { clock, signal });
  request.end(signedBody);
  const answer = await answerTo(request);
  if (answer.statusCode !== 200) throw await refusalOf(answer);
  const data = new URL(endpointIn(await bodyOf(answer)));
  if (url.protocol === 'https:' && data.protocol !== 'https:') {
    throw new SinkError('untrusted', 'the service names an address for media that is in plaintext');
  }
  return data;
}

function serviceOf(region: string): string {
  return `https://kinesisvideo.${region}.amazonaws.com${region.startsWith('cn-') ? '.cn' : ''}`;
}

/** @throws SinkError `unavailable` */
function endpointIn(body: string): string {
  try {
    return endpointShape.parse(JSON.parse(body)).DataEndpoint;
  } catch (error) {
    throw new SinkError('unavailable', 'GetDataEndpoint answered without an address', {
      cause: error,
    });
  }
}

async function putMedia(
  { stream, clock }: KinesisVideoSinkOptions,
  { endpoint, signer, startMs }: { endpoint: URL; signer: Signer; startMs: number },
  signal: AbortSignal,
): Promise<MediaConnection> {
  const headers = {
    'x-amzn-stream-name': stream,
    'x-amzn-fragment-timecode-type': 'ABSOLUTE',
    'x-amzn-producer-start-timestamp': (startMs / 1000).toFixed(3),
    'x-amzn-fragment-acknowledgment-required': '1',
  };
  const url = new URL('/putMedia', endpoint);
  const request = signedPost({ url, headers, signedBody: noBody }, signer, { clock });
  // Called off while it is opened; afterwards it is cut by whoever has it.
  const abort = (): void => {
    request.destroy();
  };
  signal.addEventListener('abort', abort);
  try {
    request.flushHeaders();
    const answer = await answerTo(request);
    if (answer.statusCode === 200) return new Connection(request, answer);
    const refusal = await refusalOf(answer);
    request.destroy();
    throw refusal;
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

class Connection implements MediaConnection {
  readonly #request: ClientRequest;
  readonly #answer: IncomingMessage;
  #reason: SinkError | null = null;

  constructor(request: ClientRequest, answer: IncomingMessage) {
    this.#request = request;
    this.#answer = answer;
    // Both tell of the same end, and whoever reads hears of it.
    request.on('error', () => undefined);
    answer.on('error', () => undefined);
  }

  async *acks(): AsyncGenerator<MediaAck, void> {
    const reader = new AckReader();
    try {
      for await (const piece of this.#answer as AsyncIterable<Buffer>) yield* reader.push(piece);
    } catch (error) {
      if (this.#reason !== null) throw this.#reason;
      if (error instanceof SinkError) throw error;
      const why = error instanceof Error ? error.message : String(error);
      throw new SinkError('unreachable', `the connection broke: ${why}`, { cause: error });
    } finally {
      this.#request.destroy();
    }
    if (this.#reason !== null) throw this.#reason;
  }

  async send(bytes: Buffer): Promise<void> {
    const request = this.#request;
    if (request.destroyed || request.write(bytes)) return;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        request.off('drain', done).off('close', done);
        resolve();
      };
      request.on('drain', done).on('close', done);
    });
  }

  end(): void {
    this.#request.end();
  }

  cut(reason: SinkError): void {
    this.#reason ??= reason;
    this.#answer.destroy();
    this.#request.destroy();
  }
}
