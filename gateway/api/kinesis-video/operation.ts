/** What an operation of the Kinesis Video API is, and what all of them work with. */
import type { VideoStore } from '../../../storage/model.ts';
import type { Clock } from '../../../storage/ports.ts';
import type { Images } from '../../media/images.ts';
import type { Caller } from '../../security/aws-authenticator.ts';
import type { PageTokens } from '../kinesis/page-tokens.ts';
import { operationOf, type AnyOperationOf, type OperationOf } from '../aws/operation.ts';
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

/** What it needs permission for is one ARN. */
export interface Operation<I> extends OperationOf<
  I,
  KinesisVideoContext,
  Promise<string>,
  CallContext
> {
  /** What is posted to. */
  readonly path: string;
}

/** PutMedia is in none of the service models. */
export interface AnyOperation extends AnyOperationOf<
  KinesisVideoContext,
  Promise<string>,
  CallContext
> {
  readonly path: string;
}

/**
 * @example
 * export const deleteStream = defineOperation({ name: 'DeleteStream', path: '/deleteStream', … });
 */
export function defineOperation<I>(operation: Operation<I>): AnyOperation {
  return { ...operationOf(operation), path: operation.path };
}
