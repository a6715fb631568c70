/**
 * Has a function do a batch, in as many calls as it takes, until each record is done or given up.
 *
 * - What keeps the function from being run is not the records' fault (no connection, throttling, no
 *   right, a module that can't be loaded): it is waited out, and not counted.
 * - A call that the function failed is made again `retries` times; with `bisectOnError` it is halved
 *   instead, which is not counted, until one record is left.
 * - Of a batch with partial failures what comes before the first of them is done, and the rest goes
 *   again, uncounted, as it gets shorter each time.
 * - What is too large for a call is halved in any case.
 * - A record is done only after a call that succeeded, or once it is durable as a dead letter. Order
 *   is kept: a part begins when all before it is settled.
 */
import { randomUUID } from 'node:crypto';
import { StorageError } from '../../storage/errors.ts';
import type { LogRecord } from '../../storage/model.ts';
import type { Clock, Logger } from '../../storage/ports.ts';
import { BackOff } from '../forward/backoff.ts';
import { SinkError } from '../forward/sink.ts';
import { FunctionError, type RemoteFunction } from '../functions/function.ts';
import { adviceOn } from './advice.ts';
import { readAnswer } from './answer.ts';
import type { Condition, DeadLetters } from './dead-letters.ts';
import type { BatchEvents, WindowCall } from './event.ts';
import type { Metering } from './metering.ts';
import type { EventSourceOptions } from './options.ts';
import type { Pausing } from './pausing.ts';
import type { WorkerTroubles } from './troubles.ts';

/** A window that calls are made in. */
export interface OpenWindow {
  readonly startMs: number;
  readonly endMs: number;
  /** From when on its last call ages. */
  readonly agesFromMs: number;
  state: unknown;
}

export interface SettleOptions {
  readonly options: EventSourceOptions;
  readonly called: RemoteFunction;
  readonly events: BatchEvents;
  readonly deadLetters: DeadLetters | null;
  /** Nothing is begun that it does not let pass. */
  readonly gate: Pick<Pausing, 'pass' | 'untilNext'>;
  /** Of the stream, as it is now. */
  readonly retentionMs: () => number;
  readonly metering: Metering;
  readonly troubles: WorkerTroubles;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly random: () => number;
}

/** What is told of a batch, in order. */
export interface Told {
  /** Of each record once; the state is that after them. */
  readonly done: (records: readonly LogRecord[]) => Promise<void>;
  /** The window ended early: its state begins anew. */
  readonly begunAnew: () => Promise<void>;
}

/** Records that go together, as long as they do. */
interface Part {
  readonly records: readonly LogRecord[];
  /** Calls that the function failed. */
  readonly failures: number;
  readonly error: FunctionError | null;
}

type Outcome =
  | { readonly kind: 'done'; readonly isStateTooLarge: boolean }
  | { readonly kind: 'done-up-to'; readonly index: number }
  | { readonly kind: 'failed' | 'held'; readonly error: FunctionError };

const waitedOut: Readonly<Record<string, 'unreachable' | 'throttled' | 'denied'>> = {
  unreachable: 'unreachable',
  throttled: 'throttled',
  denied: 'denied',
};

/** The settling of one shard, or of one lane of it. */
export class Settler {
  readonly #with: SettleOptions;
  readonly #backOff: BackOff;

  constructor(options: SettleOptions) {
    this.#with = options;
    this.#backOff = new BackOff(options.random);
  }

  /** @throws the signal's reason */
  async settle(
    records: readonly LogRecord[],
    window: OpenWindow | null,
    told: Told,
    signal: AbortSignal,
  ): Promise<void> {
    const parts: Part[] = [{ records, failures: 0, error: null }];
    for (let part = parts.shift(); part !== undefined; part = parts.shift()) {
      parts.unshift(...(await this.#step(part, window, told, signal)));
    }
  }

  /** The last call of a window, without records. @throws the signal's reason */
  async end(window: OpenWindow, isEarly: boolean, signal: AbortSignal): Promise<void> {
    const { options, gate } = this.#with;
    const { retries } = options;
    for (let failures = 0; ;) {
      await gate.pass(signal);
      const outcome = await this.#call([], window, { isFinal: true, isEarly }, signal);
      if (outcome.kind === 'done' || outcome.kind === 'done-up-to') return;
      const { error } = outcome;
      if (outcome.kind === 'failed') failures += 1;
      const isOld = this.#isOld(window.agesFromMs, failures > 0);
      if (isOld || (retries !== null && failures > retries)) {
        const part = { records: [], failures, error };
        const condition = isOld ? 'RecordAgeExceeded' : 'RetryAttemptsExhausted';
        await this.#giveUp(part, condition, window, signal);
        return;
      }
      await this.#wait(error, signal);
    }
  }

  /** Goes one call further. @returns what is left of the part, in order */
  async #step(
    part: Part,
    window: OpenWindow | null,
    told: Told,
    signal: AbortSignal,
  ): Promise<readonly Part[]> {
    const { options, gate } = this.#with;
    await gate.pass(signal);
    const hasFailed = part.failures > 0;
    const old = part.records.filter(({ arrivalMs }) => this.#isOld(arrivalMs, hasFailed));
    if (old.length > 0) {
      await this.#giveUp({ ...part, records: old }, 'RecordAgeExceeded', window, signal);
      await told.done(old);
      const gone = new Set(old);
      const records = part.records.filter((record) => !gone.has(record));
      return records.length === 0 ? [] : [{ ...part, records }];
    }
    const { records } = part;
    const outcome = await this.#call(records, window, { isFinal: false, isEarly: false }, signal);
    if (outcome.kind === 'done') {
      await told.done(records);
      if (window !== null && outcome.isStateTooLarge) {
        await this.end(window, true, signal);
        window.state = {};
        await told.begunAnew();
      }
      return [];
    }
    if (outcome.kind === 'done-up-to') {
      const { index } = outcome;
      await told.done(records.slice(0, index));
      return [{ records: records.slice(index), failures: 0, error: null }];
    }
    const { error } = outcome;
    if (outcome.kind === 'held') {
      await this.#wait(error, signal);
      return [{ ...part, error }];
    }
    const isTooLarge = error.code === 'too-large';
    if (records.length > 1 && (options.bisectOnError || isTooLarge)) {
      const middle = Math.ceil(records.length / 2);
      return [records.slice(0, middle), records.slice(middle)].map((half) => ({
        ...{ records: half, failures: 0, error },
      }));
    }
    const failed = { records, failures: part.failures + 1, error };
    const { retries } = options;
    if (isTooLarge || (retries !== null && failed.failures > retries)) {
      const condition = isTooLarge ? 'PayloadTooLarge' : 'RetryAttemptsExhausted';
      await this.#giveUp(failed, condition, window, signal);
      await told.done(records);
      return [];
    }
    await this.#wait(error, signal);
    return [failed];
  }

  async #call(
    records: readonly LogRecord[],
    window: OpenWindow | null,
    flags: Pick<WindowCall, 'isFinal' | 'isEarly'>,
    signal: AbortSignal,
  ): Promise<Outcome> {
    const { called, events, metering, options } = this.#with;
    const payload = events.payload(records, window && { ...window, ...flags });
    try {
      if (payload.length > called.payloadBytesMax) {
        const most = called.payloadBytesMax;
        throw new FunctionError('too-large', `a call has at most ${most} bytes`);
      }
      const answer = await metering.called(called.call({ id: randomUUID(), payload }, signal));
      const ids = records.map((record) => events.sequenceNumber(record));
      const { failedAt, state, isStateTooLarge } = readAnswer(answer, ids, {
        reportsFailures: options.reportBatchItemFailures && !flags.isFinal,
        hasState: window !== null,
      });
      if (failedAt === 0) throw new FunctionError('failed', 'it could not do the first record');
      if (window !== null) window.state = state;
      this.#backOff.beginAnew();
      this.#with.troubles.works();
      if (failedAt !== null) {
        metering.failed();
        return { kind: 'done-up-to', index: failedAt };
      }
      return { kind: 'done', isStateTooLarge };
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof FunctionError)) throw error;
      return this.#failed(error, records.length);
    }
  }

  #failed(error: FunctionError, records: number): Outcome {
    const { metering, troubles, called, logger, options } = this.#with;
    const isHeld = waitedOut[error.code] !== undefined;
    if (isHeld) metering.throttled();
    else metering.failed();
    // What can't be loaded is named already.
    const isNamed = error.message.startsWith(called.description);
    const message = isNamed ? error.message : `${called.description}: ${error.message}`;
    troubles.fails({ message, advice: adviceOn(error.code, options) }, { error, records });
    logger.debug({ error, code: error.code, records }, 'a function failed');
    return { kind: isHeld ? 'held' : 'failed', error };
  }

  /** @param hasFailed then the stream's retention counts too */
  #isOld(arrivalMs: number, hasFailed: boolean): boolean {
    const { options, clock, retentionMs } = this.#with;
    const { maxRecordAgeSeconds } = options;
    const ageMs = clock.nowMs() - arrivalMs;
    if (maxRecordAgeSeconds !== null && ageMs > maxRecordAgeSeconds * 1000) return true;
    return hasFailed && ageMs > retentionMs();
  }

  async #wait(error: FunctionError, signal: AbortSignal): Promise<void> {
    const code = waitedOut[error.code] ?? 'unavailable';
    await this.#pause(new SinkError(code, error.message), signal);
  }

  async #pause(error: SinkError, signal: AbortSignal): Promise<void> {
    await this.#with.gate.untilNext(this.#backOff.failed(error), signal);
    signal.throwIfAborted();
  }

  /** Resolves once the records are kept, or there is no place for them. */
  async #giveUp(
    { records, failures, error }: Part,
    condition: Condition,
    window: OpenWindow | null,
    signal: AbortSignal,
  ): Promise<void> {
    const { deadLetters, events, metering, clock, troubles } = this.#with;
    const atMs = clock.nowMs();
    const batch = {
      ...{ records, condition, attempts: failures, atMs, requestId: randomUUID() },
      window: window && { ...window, isFinal: records.length === 0, isEarly: false },
      error: error && { code: error.code, message: error.message },
    };
    while (deadLetters !== null) {
      try {
        await deadLetters.put(batch, events, signal);
        break;
      } catch (failure) {
        signal.throwIfAborted();
        if (!(failure instanceof StorageError || failure instanceof SinkError)) throw failure;
        metering.deadLetterFailed();
        const { description } = deadLetters;
        const message = `what is given up can't be kept in ${description}: ${failure.message}`;
        const advice = `Nothing is lost meanwhile: the shard waits until ${description} takes it.`;
        troubles.fails({ message, advice }, { error: failure, records: records.length });
        await this.#pause(new SinkError('unavailable', failure.message), signal);
      }
    }
    this.#backOff.beginAnew();
    const kept = deadLetters?.description ?? null;
    metering.gaveUp(records.length, kept !== null);
    const { shardId } = events;
    troubles.gaveUp({ shardId, records: records.length, condition, error, kept, atMs });
  }
}
