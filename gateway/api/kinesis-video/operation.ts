/** What an operation of the Kinesis Video API is, and what all of them work with. */
import type { VideoStore } from '../../../storage/model.ts';
import type { Clock } from '../../../storage/ports.ts';
import type { Images } from '../../media/images.ts';
import type { Caller } from '../../security/aws-authenticator.ts';
import type { PageTokens } from '../kinesis/page-tokens.ts';
import { parseInput, type Shape } from '../kinesis/shapes.ts';
import type { Clips } from './clips.ts';
import type { MediaStreams } from './media.ts';
import type { SessionTokens } from './sessions/tokens.ts';
import type { Streams } from './streams.ts';

export interface KinesisVideoContext {
  readonly video: VideoStore;
  readonly clock: Clock;
  readonly streams: Streams;
  readonly media: MediaStreams;
  readonly images: Pick<Images, 'imageOf'>;
  readonly clips: Clips;
  readonly pageTokens: PageTokens;
  readonly sessions: SessionTokens;
}

export interface CallContext extends KinesisVideoContext {
  readonly caller: Caller;
  /** How the client reached the gateway, e.g. `http://gate.local:8080`. */
  readonly endpoint: string;
}

/** An answer that is media. */
export class MediaAnswer {
  readonly contentType: string;
  readonly body: AsyncGenerator<Buffer, void>;
  /** Is called when no more of it is wanted; twice is harmless. */
  readonly end: () => void;
  /** null: not known beforehand. */
  readonly sizeBytes: number | null;

  constructor(
    contentType: string,
    body: AsyncGenerator<Buffer, void>,
    end: () => void,
    sizeBytes: number | null = null,
  ) {
    this.contentType = contentType;
    this.body = body;
    this.end = end;
    this.sizeBytes = sizeBytes;
  }
}

export interface Operation<I> {
  /** As in the service models; PutMedia is in none of them. */
  readonly name: string;
  /** What is posted to. */
  readonly path: string;
  readonly input: Shape<I>;
  /** The ARN of what the caller needs permission for. */
  resource(input: I, context: KinesisVideoContext): Promise<string>;
  /** The answer: instants are Dates, what is `undefined` is left out. */
  run(input: I, context: CallContext): Promise<object>;
}

/** An operation whatever its input is. */
export interface AnyOperation {
  readonly name: string;
  readonly path: string;
  /** @throws KinesisError `SerializationException`, `ValidationException` */
  prepare(body: unknown): PreparedCall;
}

/** A call whose input was found to be right. */
export interface PreparedCall {
  resource(context: KinesisVideoContext): Promise<string>;
  run(context: CallContext): Promise<object>;
}

/**
 * @example
 * export const deleteStream = defineOperation({ name: 'DeleteStream', path: '/deleteStream', … });
 */
export function defineOperation<I>(operation: Operation<I>): AnyOperation {
  const { name, path } = operation;
  return {
    ...{ name, path },
    prepare(body) {
      const input = parseInput(operation.input, body);
      return {
        resource: (context) => operation.resource(input, context),
        run: (context) => operation.run(input, context),
      };
    },
  };
}
