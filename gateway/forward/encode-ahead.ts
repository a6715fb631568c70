/**
 * An object that is encoded while its plan is gathered. What of a backlog goes into it is then read
 * once, instead of once to find where it ends and again to make it.
 *
 * Nothing depends on it: the plan is saved before the object leaves, and an attempt without it reads
 * the plan again, as after a crash. So it is let go of when gathering has to wait for records, when
 * the delivery is held back, and when the first attempt has ended; and there is none while others take
 * up what `AheadBudget` has.
 */
import type { LogRecord } from '../../storage/model.ts';
import type { Encoder, EncodedObject, Format } from './format/encoder.ts';
import { failureOf, type Failure } from './shape/failures.ts';
import { shapedBy, type Turns } from './shape/in-turns.ts';
import type { Shaping } from './shape/shaping.ts';
import { asTheyAre } from './shape/source.ts';

/** What all deliveries may encode ahead together, by the sizes of their buffers. */
export class AheadBudget {
  #leftBytes: number;

  constructor(totalBytes: number) {
    this.#leftBytes = totalBytes;
  }

  /** Whether there is as much; if so it is taken. */
  take(bytes: number): boolean {
    if (bytes > this.#leftBytes) return false;
    this.#leftBytes -= bytes;
    return true;
  }

  give(bytes: number): void {
    this.#leftBytes += bytes;
  }
}

/** What became of the records of one object. */
export interface Made {
  /** null: nothing of them is left to be sent. */
  readonly object: EncodedObject | null;
  readonly failures: readonly Failure[];
}

export interface ObjectAheadOptions {
  readonly budget: AheadBudget;
  /** Of the delivery's buffer. */
  readonly maxBytes: number;
  readonly shaping: Shaping;
  readonly format: Format;
  readonly turns: Turns;
}

export class ObjectAhead {
  readonly #options: ObjectAheadOptions;
  readonly #failures: Failure[] = [];
  /** null: there is nothing to be encoded yet. */
  #encoder: Encoder | null = null;
  /** Takes up its part of the budget: from the first record on, until it is closed. */
  #isOpen = false;
  #isClosed = false;

  constructor(options: ObjectAheadOptions) {
    this.#options = options;
  }

  /** It was let go of. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /**
   * Takes the next records of the shard; resolves when there is room for more. Closed at the first, if
   * too much is encoded ahead already.
   */
  async add(records: readonly LogRecord[]): Promise<void> {
    const { shaping, format, turns, budget, maxBytes } = this.#options;
    this.#isOpen ||= budget.take(maxBytes);
    if (!this.#isOpen) {
      this.close();
      return;
    }
    const before = await shapedBy(shaping, 'before', asTheyAre(records), turns);
    const after = await shapedBy(shaping, 'after', before.records, turns);
    this.#failures.push(...before.failures, ...after.failures);
    if (after.records.length === 0) return;
    this.#encoder ??= format.encoder();
    await this.#encoder.add(after.records);
  }

  /** Called once. */
  async end(): Promise<Made> {
    if (this.#encoder === null) return { object: null, failures: this.#failures };
    const { object, failed } = await this.#encoder.end();
    return { object, failures: [...this.#failures, ...failed.map(failureOf)] };
  }

  /** May be called again. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#encoder?.close();
    if (this.#isOpen) this.#options.budget.give(this.#options.maxBytes);
  }
}
