/** What an operation of the Kinesis API is, and what all of them work with. */
import type { Encryption, Log } from '../../../storage/model.ts';
import type { Clock } from '../../../storage/ports.ts';
import type { Caller } from '../../security/aws-authenticator.ts';
import type { Account } from './arns.ts';
import type { ShardIterators } from './iterators.ts';
import type { Metering } from './metering.ts';
import type { PageTokens } from './page-tokens.ts';
import { parseInput, type Shape } from './shapes.ts';
import type { StreamAttributes } from './stream-attributes.ts';
import type { StreamStates } from './stream-states.ts';
import type { Subscriptions } from './subscriptions.ts';
import type { ShardLimits } from './throttling.ts';

/** What holds for streams that are made over the API. */
export interface NewStreams {
  readonly maxBytes: number | null;
  readonly whenFull: 'refuse' | 'drop-oldest';
  readonly encryption?: Encryption;
}

export interface KinesisContext {
  readonly log: Log;
  readonly clock: Clock;
  readonly account: Account;
  readonly states: StreamStates;
  readonly attributes: StreamAttributes;
  readonly iterators: ShardIterators;
  readonly pageTokens: PageTokens;
  /** null: the limits of provisioned streams are not enforced. */
  readonly limits: ShardLimits | null;
  readonly newStreams: NewStreams;
  readonly subscriptions: Subscriptions;
  readonly metering: Metering;
}

export interface CallContext extends KinesisContext {
  readonly caller: Caller;
}

/** Something that the caller needs permission for. */
export interface Resource {
  readonly arn: string;
  /** Policy documents that are attached to it, JSON. */
  readonly policies: readonly string[];
  /** What is done to it, such as `kms:Decrypt`; the operation itself when left out. */
  readonly action?: string;
  /** What policies may ask for besides, by key. */
  readonly facts?: Readonly<Record<string, string>>;
}

export interface Operation<I> {
  /** As in `X-Amz-Target`. */
  readonly name: string;
  readonly input: Shape<I>;
  /** What the caller needs permission for. Rejects what names nothing that could be permitted. */
  resources(input: I, context: KinesisContext): readonly Resource[];
  /**
   * The answer: blobs are Buffers, instants Dates, what is `undefined` is left out. A Subscription
   * is answered with the stream of its events.
   */
  run(input: I, context: CallContext): Promise<object>;
}

/** An operation whatever its input is. */
export interface AnyOperation {
  readonly name: string;
  /** @throws KinesisError `SerializationException`, `ValidationException` */
  prepare(body: unknown): PreparedCall;
}

/** A call whose input was found to be right. */
export interface PreparedCall {
  resources(context: KinesisContext): readonly Resource[];
  run(context: CallContext): Promise<object>;
}

/**
 * @example
 * export const deleteStream = defineOperation({ name: 'DeleteStream', input: structure({ … }), … });
 */
export function defineOperation<I>(operation: Operation<I>): AnyOperation {
  return {
    name: operation.name,
    prepare(body) {
      const input = parseInput(operation.input, body);
      return {
        resources: (context) => operation.resources(input, context),
        run: (context) => operation.run(input, context),
      };
    },
  };
}
