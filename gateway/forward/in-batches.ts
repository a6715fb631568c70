/**
 * A sink of single records as a sink of batches, for what goes by plans.
 *
 * Such a sink may take any of a call's records and leave others. So a batch goes in several calls,
 * each with at most one record of a partition key, or of a group that is packed into one; behind a
 * record that was left, nothing of its key is sent. What was not sent has failed like it, and comes
 * again, in order: the order within a key holds, whatever fails.
 *
 * A call that fails as a whole ends the batch. What was taken before it stays taken, so however slow
 * the destination is, each attempt gets further than the one before.
 */
import { setImmediate } from 'node:timers/promises';
import { KeyQueues, type Entry } from './key-queues.ts';
import { QueueBudget } from './queue-budget.ts';
import {
  isOfRecords,
  recordBytes,
  SinkError,
  type BatchItem,
  type BatchSink,
  type Outcomes,
  type Packing,
  type RecordSink,
} from './sink.ts';

/** In one batch, where they are packed: calls are few, and the larger they are, the better. */
const packedMax = 20_000;
/** After which others have their turn: a group may have to be worked out for each. */
const turnRecords = 1_000;
/** No time passes: a queue that has failed is left alone until the batch is over. */
const nowMs = 0;

/** Closing it closes the record sink. */
export function inBatches(sink: RecordSink): BatchSink {
  const { kind, description, limits } = sink;
  const learn = sink.learnPacking?.bind(sink);
  let packing: Packing | null = null;
  return {
    ...{ kind, description },
    limits: { ...limits, records: learn === undefined ? limits.records : packedMax },
    deliver: async ({ items }, signal) => {
      if (learn !== undefined) packing ??= await learn(signal);
      const outcomes = await new Handover(sink, packing).run(items, signal);
      if (outcomes.some((outcome) => outcome?.code === 'moved')) packing = null;
      return outcomes;
    },
    close: () => sink.close(),
  };
}

/** One batch on its way. */
class Handover {
  readonly #sink: RecordSink;
  readonly #queues: KeyQueues;
  /** By the place in the batch; of what is not there, `#failure` is the reason. */
  readonly #outcomes = new Map<number, SinkError | null>();
  #failure: SinkError | null = null;
  /** Groups whose records go one by one, to find the one that is refused. */
  readonly #apart = new Set<string>();
  #isAnyTaken = false;

  constructor(sink: RecordSink, packing: Packing | null) {
    this.#sink = sink;
    this.#queues = new KeyQueues({
      limits: sink.limits,
      packing: packing && {
        groupOf: (record) => packing.groupOf(record),
        pack: (group, records, maxBytes) =>
          packing.pack(group, records, this.#apart.has(group) ? 0 : maxBytes),
      },
      // The batch is in memory anyway.
      ...{ budget: new QueueBudget(Infinity), random: () => 0 },
    });
  }

  /** @throws SinkError when nothing is known to have been taken */
  async run(items: readonly BatchItem[], signal: AbortSignal): Promise<Outcomes> {
    const { recordBytes: maxBytes } = this.#sink.limits;
    for (const [place, item] of items.entries()) {
      if (recordBytes(item) > maxBytes) this.#outcomes.set(place, tooLarge(item, maxBytes));
      else this.#queues.add({ ...item, sequence: place });
      if ((place + 1) % turnRecords === 0) await setImmediate();
    }
    for (let goesOn = true; goesOn;) goesOn = await this.#call(signal);
    return items.map((_item, place) => this.#outcomes.get(place) ?? this.#reasonOf(place));
  }

  #reasonOf(place: number): SinkError | null {
    return this.#outcomes.has(place) ? null : this.#failure;
  }

  /** Returns whether another call may follow. */
  async #call(signal: AbortSignal): Promise<boolean> {
    const call = this.#queues.nextCall(nowMs);
    if (call.length === 0) return false;
    const records = call.map(({ record }) => record);
    let outcomes: Outcomes;
    try {
      outcomes = await this.#sink.send(records, signal);
    } catch (error) {
      if (!(error instanceof SinkError) || !this.#isAnyTaken) throw error;
      this.#failure = isOfRecords(error) ? ofSomeRecord(error) : error;
      return false;
    }
    for (const [index, entry] of call.entries()) this.#settle(entry, outcomes[index] ?? null);
    return this.#failure?.code !== 'moved';
  }

  #settle(entry: Entry, outcome: SinkError | null): void {
    const isRefused = isOfRecords(outcome);
    if (outcome === null || (isRefused && entry.of.length === 1)) {
      this.#queues.taken(entry);
      this.#isAnyTaken ||= outcome === null;
      for (const { sequence } of entry.of) this.#outcomes.set(sequence, outcome);
    } else if (isRefused) {
      this.#apart.add(this.#queues.nameOf(entry));
    } else {
      this.#queues.left(entry, outcome, nowMs);
      this.#failure ??= outcome;
      for (const { sequence } of entry.of) this.#outcomes.set(sequence, outcome);
    }
  }
}

/** What is left comes again, and the record that is meant is found then. */
function ofSomeRecord(error: SinkError): SinkError {
  return new SinkError('unavailable', error.message, { cause: error, advice: error.advice });
}

function tooLarge(item: BatchItem, maxBytes: number): SinkError {
  return new SinkError(
    'too-large',
    `with its key it has ${recordBytes(item)} bytes, and the destination takes ${maxBytes}`,
  );
}
