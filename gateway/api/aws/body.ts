/**
 * Reads the body of a request: no further than its limit, and held against a budget that all
 * requests share. What a client says it will send counts for refusing it at once, never for
 * reserving: only bytes that came are counted.
 */
import { createHash, type Hash } from 'node:crypto';
import type { ByteBudget } from '../../http/byte-budget.ts';
import type { Bindings } from '../../http/server.ts';
import { sha256Hex } from '../../security/sigv4.ts';
import { RequestError } from './errors.ts';

/** 10 MiB of records in base64, and what is around them. */
export const bodyBytesMax = 15 * 2 ** 20;

export interface ReadBody {
  readonly bytes: Buffer;
  /** SHA-256, hexadecimal. */
  readonly hash: string;
  /** Gives the bytes back to the budget; twice is harmless. */
  readonly release: () => void;
}

/**
 * @throws RequestError `RequestEntityTooLargeException`, `SerializationException` when the client
 *   went away; HttpError `busy` when the budget is used up
 */
export async function readBody(
  request: Request,
  env: Partial<Bindings>,
  budget: ByteBudget,
): Promise<ReadBody> {
  if (Number(request.headers.get('content-length') ?? 0) > bodyBytesMax) throw tooLarge();
  const body = new GrowingBody(budget);
  try {
    // Where there is a socket its own stream is read: the web's costs several times as much.
    if (env.incoming !== undefined) await fromSocket(env.incoming, body);
    else await fromWeb(request, body);
  } catch (error) {
    body.release();
    throw error;
  }
  return { bytes: body.bytes(), hash: body.hash(), release: body.release };
}

function tooLarge(): RequestError {
  return new RequestError(
    'RequestEntityTooLargeException',
    `The body of a request has at most ${bodyBytesMax} bytes.`,
  );
}

class GrowingBody {
  readonly #budget: ByteBudget;
  readonly #chunks: Buffer[] = [];
  readonly #releases: (() => void)[] = [];
  /** Goes along from the second chunk on, so that ten megabytes are not hashed in one go. */
  #hash: Hash | null = null;
  #length = 0;

  constructor(budget: ByteBudget) {
    this.#budget = budget;
  }

  /** @throws RequestError, HttpError */
  add(chunk: Uint8Array): void {
    this.#length += chunk.length;
    if (this.#length > bodyBytesMax) throw tooLarge();
    this.#releases.push(this.#budget.take(chunk.length));
    const [first] = this.#chunks;
    if (first !== undefined) {
      this.#hash ??= createHash('sha256').update(first);
      this.#hash.update(chunk);
    }
    this.#chunks.push(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length));
  }

  bytes(): Buffer {
    const [only] = this.#chunks;
    return this.#chunks.length === 1 && only !== undefined
      ? only
      : Buffer.concat(this.#chunks, this.#length);
  }

  /** Once, when the body is whole. */
  hash(): string {
    return this.#hash?.digest('hex') ?? sha256Hex(this.bytes());
  }

  readonly release = (): void => {
    for (const release of this.#releases) release();
  };
}

function fromSocket(incoming: Bindings['incoming'], body: GrowingBody): Promise<void> {
  return new Promise((resolve, reject) => {
    const stream = incoming as NodeJS.EventEmitter & Pick<typeof incoming, 'pause'>;
    const finish = (settle: () => void): void => {
      stream.off('data', onData);
      stream.off('end', onEnd);
      stream.off('error', onGone);
      stream.off('close', onGone);
      settle();
    };
    const onData = (chunk: Buffer): void => {
      try {
        body.add(chunk);
      } catch (error) {
        stream.pause();
        finish(() => {
          reject(error instanceof Error ? error : new Error(String(error)));
        });
      }
    };
    const onEnd = (): void => {
      finish(resolve);
    };
    const onGone = (): void => {
      finish(() => {
        reject(new RequestError('SerializationException', 'The body was cut off.'));
      });
    };
    stream.on('data', onData);
    stream.on('end', onEnd);
    stream.on('error', onGone);
    stream.on('close', onGone);
  });
}

async function fromWeb(request: Request, body: GrowingBody): Promise<void> {
  if (request.body === null) return;
  const reader: ReadableStreamDefaultReader<Uint8Array> = request.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    try {
      body.add(value);
    } catch (error) {
      await reader.cancel();
      throw error;
    }
  }
}
