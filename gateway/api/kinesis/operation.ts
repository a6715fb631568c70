/** What an operation of the Kinesis API is, and what all of them work with. */
import type { Encryption, Log } from '../../../storage/model.ts';
import type { Clock } from '../../../storage/ports.ts';
import type { Caller } from '../../security/aws-authenticator.ts';
import type { Account } from '../aws/account.ts';
import {
  operationOf,
  type AnyOperationOf,
  type OperationOf,
  type PreparedCallOf,
} from '../aws/operation.ts';
import type { ShardIterators } from './iterators.ts';
import type { Metering } from './metering.ts';
import type { PageTokens } from './page-tokens.ts';
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

/** One that answers a Subscription is answered with the stream of its events. */
export type AnyOperation = AnyOperationOf<KinesisContext, readonly Resource[], CallContext>;
export type PreparedCall = PreparedCallOf<KinesisContext, readonly Resource[], CallContext>;

/**
 * @example
 * export const deleteStream = defineOperation({ name: 'DeleteStream', input: structure({ … }), … });
 */
export function defineOperation<I>(
  operation: OperationOf<I, KinesisContext, readonly Resource[], CallContext>,
): AnyOperation {
  return operationOf(operation);
}
