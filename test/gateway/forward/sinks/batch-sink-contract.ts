/** What every batch sink promises, asked of each of them by its own test file. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import {
  SinkError,
  type Batch,
  type BatchItem,
  type BatchSink,
  type Outcomes,
} from '../../../../gateway/forward/sink.ts';
import { uuidV5 } from '../../../../gateway/forward/uuid.ts';

/** A record as the destination has it. */
export interface TakenRecord {
  /** null: the destination keeps none. */
  readonly id: string | null;
  /** Its JSON. */
  readonly value: unknown;
}

/** A destination with a sink before it. The sink is closed by whoever made it. */
export interface BatchPlace {
  readonly sink: BatchSink;
  /** Keeps the order in which records were taken. */
  readonly isOrdered: boolean;
  /** Has a record once, however often it is sent under its id. */
  readonly deduplicates: boolean;
  /** What it has. */
  taken(): Promise<readonly TakenRecord[]>;
  /** It can't be reached any more. */
  down(): Promise<void>;
  /** As if nothing had been. */
  up(): Promise<void>;
  /** The next batch is taken, and nobody hears of it. Left out: that can't be arranged. */
  loseNextAnswer?(): void;
}

const namespace = '6ba7b810-9dad-11d1-80b4-00c04fd430c8';
const never = new AbortController().signal;

/** Records `from` to `from + count - 1`: JSON, each with a `device` of its own. */
export function itemsOf(from: number, count: number, filler = ''): readonly BatchItem[] {
  return Array.from({ length: count }, (_none, index) => {
    const n = from + index;
    const value = { device: `device-${n}`, n, text: `grüße "${n}"\n`, filler };
    return {
      id: uuidV5(namespace, `record ${n}`),
      partitionKey: `key-${n % 3}`,
      data: Buffer.from(JSON.stringify(value)),
      arrivalMs: Date.UTC(2026, 1, 25, 13, 0, n % 60),
    };
  });
}

export function batchOf(items: readonly BatchItem[]): Batch {
  return { id: uuidV5(namespace, items.map(({ id }) => id).join()), items };
}

/** The failure of a call; of one that took nothing and says it of each item, the first. */
export async function failureOf(delivering: Promise<Outcomes>): Promise<SinkError> {
  try {
    const [first] = (await delivering).filter((outcome) => outcome !== null);
    assert.ok(first, 'it was taken');
    return first;
  } catch (error) {
    assert.ok(error instanceof SinkError, String(error));
    return error;
  }
}

/** Asserts that just these were taken, each at most as often as said. */
async function assertTaken(
  place: BatchPlace,
  items: readonly BatchItem[],
  timesMax = 1,
): Promise<void> {
  const times = new Map(items.map(({ data }) => [comparable(JSON.parse(data.toString())), 0]));
  for (const { id, value } of await place.taken()) {
    const text = comparable(value);
    const count = times.get(text);
    assert.ok(count !== undefined, `nobody sent ${text.slice(0, 200)}`);
    times.set(text, count + 1);
    if (id !== null)
      assert.ok(
        items.some((item) => item.id === id),
        'the ids are ours',
      );
  }
  for (const [text, count] of times) {
    assert.ok(count >= 1 && count <= timesMax, `${text.slice(0, 200)}: ${count} times`);
  }
}

/** With its keys in order: some destinations give them back in another. */
function comparable(value: unknown): string {
  return JSON.stringify(
    Object.entries(value as object).sort(([one], [other]) => (one < other ? -1 : 1)),
  );
}

/**
 * Registers the tests.
 * @param makePlace opens a destination without records, and closes it, with its sink, at the end
 */
export function batchSinkContract(
  name: string,
  makePlace: (context: TestContext) => Promise<BatchPlace | null>,
): void {
  const contractTest = (
    promise: string,
    work: (place: BatchPlace, context: TestContext) => Promise<void>,
  ): void => {
    test(`${name}: ${promise}`, async (context) => {
      const place = await makePlace(context);
      // Skipped, with a reason.
      if (place !== null) await work(place, context);
    });
  };

  contractTest('a batch is taken whole, in order', async (place) => {
    const items = itemsOf(0, 60);
    assert.deepEqual(
      await place.sink.deliver(batchOf(items), never),
      items.map(() => null),
    );
    await assertTaken(place, items);
    if (!place.isOrdered) return;
    const order = (await place.taken()).map(({ value }) => (value as { n: number }).n);
    assert.deepEqual(
      order,
      items.map((_item, index) => index),
    );
  });

  contractTest('what is sent again can be told by its id', async (place) => {
    const items = itemsOf(0, 7);
    for (let time = 0; time < 2; time += 1) {
      await place.sink.deliver(batchOf(items), never);
    }
    await assertTaken(place, items, place.deduplicates ? 1 : 2);
  });

  contractTest('batches of several shards go at once', async (place) => {
    const batches = Array.from({ length: 8 }, (_none, index) => itemsOf(index * 100, 30));
    const outcomes = await Promise.all(
      batches.map((items) => place.sink.deliver(batchOf(items), never)),
    );
    assert.ok(outcomes.flat().every((outcome) => outcome === null));
    await assertTaken(place, batches.flat());
  });

  contractTest('a batch of as many records as it takes, and a large one', async (place) => {
    const { records, recordBytes } = place.sink.limits;
    const many = itemsOf(0, Math.min(records, 2_000));
    const large = itemsOf(1_000_000, 1, 'x'.repeat(Math.min(recordBytes, 300_000) - 200));
    for (const items of [many, large]) {
      const outcomes = await place.sink.deliver(batchOf(items), never);
      assert.deepEqual(
        outcomes.filter((outcome) => outcome !== null),
        [],
      );
      assert.equal(outcomes.length, items.length);
    }
    await assertTaken(place, [...many, ...large]);
  });

  contractTest('what is called off beforehand is not sent', async (place) => {
    const controller = new AbortController();
    controller.abort();
    const failure = await failureOf(place.sink.deliver(batchOf(itemsOf(0, 3)), controller.signal));
    assert.equal(failure.code, 'aborted');
    assert.deepEqual(await place.taken(), []);
  });

  contractTest('an outage is an error that time mends, and the sink outlives it', async (place) => {
    const [before, after] = [itemsOf(0, 5), itemsOf(5, 5)];
    await place.sink.deliver(batchOf(before), never);
    await place.down();
    const failure = await failureOf(place.sink.deliver(batchOf(after), never));
    assert.equal(failure.retryable, true, `${failure.code}: ${failure.message}`);
    await place.up();
    let outcomes: Outcomes = [failure];
    // A client that keeps a connection may need another attempt to see that it is gone.
    for (let attempt = 0; attempt < 20 && outcomes.some((one) => one !== null); attempt += 1) {
      outcomes = await place.sink.deliver(batchOf(after), never).catch((error: unknown) => {
        assert.ok(error instanceof SinkError && error.retryable, String(error));
        return [error];
      });
    }
    assert.deepEqual(
      outcomes,
      after.map(() => null),
    );
    await assertTaken(place, [...before, ...after], place.deduplicates ? 1 : 20);
  });

  contractTest('an answer that is lost costs no record', async (place, context) => {
    if (place.loseNextAnswer === undefined) {
      context.skip('no answer of it can be lost on purpose');
      return;
    }
    const items = itemsOf(0, 9);
    place.loseNextAnswer();
    const failure = await failureOf(place.sink.deliver(batchOf(items), never));
    assert.equal(failure.retryable, true, failure.message);
    assert.deepEqual(
      await place.sink.deliver(batchOf(items), never),
      items.map(() => null),
    );
    await assertTaken(place, items, place.deduplicates ? 1 : 2);
  });

  contractTest('it can be asked whether it is there, and closed twice', async (place) => {
    const said = await place.sink.check?.(never);
    assert.notEqual(said, '');
    assert.deepEqual(await place.taken(), [], 'asking sends nothing');
    await place.down();
    if (place.sink.check !== undefined) {
      await assert.rejects(place.sink.check(never), SinkError);
    }
    await place.sink.close();
    await place.sink.close();
  });
}
