/** What an operation of the Firehose API is, and what all of them work with. */
import type { Log } from '../../../storage/model.ts';
import type { Account } from '../aws/account.ts';
import { operationOf, type AnyOperationOf, type OperationOf } from '../aws/operation.ts';
import type { DeliveryStreams } from './delivery-streams.ts';

export interface FirehoseContext {
  readonly log: Log;
  readonly account: Account;
  readonly streams: DeliveryStreams;
}

export type AnyOperation = AnyOperationOf<FirehoseContext, readonly string[]>;

/** @param operation its resources are ARNs; instants of its answer are seconds since 1970 */
export function defineOperation<I>(
  operation: OperationOf<I, FirehoseContext, readonly string[]>,
): AnyOperation {
  return operationOf(operation);
}

/** The delivery stream that a request is about, for `resources`; it need not exist. */
export function ownStream(
  { DeliveryStreamName }: { readonly DeliveryStreamName: string },
  { streams }: FirehoseContext,
): readonly string[] {
  return [streams.arnOf(DeliveryStreamName)];
}
