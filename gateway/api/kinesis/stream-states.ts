/**
 * What a stream is going through, for clients that wait for it: CREATING, UPDATING, DELETING.
 *
 * The work itself is done, on disk, when the call that asked for it is answered; the state is shown
 * for a moment longer, because clients that never see it take the change for lost. It lives in
 * memory only: after a restart everything is ACTIVE, or gone. A deleted stream is remembered while
 * it is DELETING, so that its name is not free before clients have seen it go.
 */
import type { StreamDescription } from '../../../storage/model.ts';
import type { Clock } from '../../../storage/ports.ts';
import { PassingStates } from '../aws/passing-states.ts';
import type { RegisteredConsumer } from './stream-attributes.ts';

export type StreamStatus = 'CREATING' | 'ACTIVE' | 'UPDATING' | 'DELETING';

interface DeletedConsumer {
  readonly streamId: number;
  readonly consumer: RegisteredConsumer;
}

export interface StatesOptions {
  readonly clock: Clock;
  /** How long a state is shown, 200 ms. */
  readonly durationMs?: number;
}

export class StreamStates {
  readonly #streams: PassingStates<Exclude<StreamStatus, 'ACTIVE' | 'DELETING'>>;
  readonly #deleted: PassingStates<StreamDescription>;
  readonly #consumers: PassingStates<'CREATING'>;
  readonly #deletedConsumers: PassingStates<DeletedConsumer>;

  constructor({ clock, durationMs = 200 }: StatesOptions) {
    this.#streams = new PassingStates(clock, durationMs);
    this.#deleted = new PassingStates(clock, durationMs);
    this.#consumers = new PassingStates(clock, durationMs);
    this.#deletedConsumers = new PassingStates(clock, durationMs);
  }

  /** Of a stream that is there. */
  of(name: string): StreamStatus {
    return this.#streams.get(name) ?? 'ACTIVE';
  }

  begin(name: string, status: 'CREATING' | 'UPDATING'): void {
    // Nothing happens to a stream that is being made; it is still being made.
    if (this.#streams.get(name) !== 'CREATING') this.#streams.begin(name, status);
  }

  /** @param description as the stream was last */
  beginDeleting(description: StreamDescription): void {
    this.#deleted.begin(description.name, description);
  }

  /** A stream that is DELETING, as it was last; null: there is none of this name. */
  deleting(name: string): StreamDescription | null {
    return this.#deleted.get(name);
  }

  allDeleting(): readonly StreamDescription[] {
    return this.#deleted.entries().map(([, description]) => description);
  }

  /** A consumer has been registered. */
  beginConsumer(arn: string): void {
    this.#consumers.begin(arn, 'CREATING');
  }

  /** A consumer has been deregistered. @param streamId the log's own */
  beginDeletingConsumer(arn: string, streamId: number, consumer: RegisteredConsumer): void {
    this.#deletedConsumers.begin(arn, { streamId, consumer });
  }

  /** Those of a stream that are DELETING, as they were last. */
  deletingConsumers(streamId: number): readonly RegisteredConsumer[] {
    return this.#deletedConsumers
      .entries()
      .flatMap(([, deleted]) => (deleted.streamId === streamId ? [deleted.consumer] : []));
  }

  ofConsumer(arn: string): 'CREATING' | 'ACTIVE' | 'DELETING' {
    if (this.#deletedConsumers.get(arn) !== null) return 'DELETING';
    return this.#consumers.get(arn) ?? 'ACTIVE';
  }

  close(): void {
    this.#streams.close();
    this.#deleted.close();
    this.#consumers.close();
    this.#deletedConsumers.close();
  }
}
