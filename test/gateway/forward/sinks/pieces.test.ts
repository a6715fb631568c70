/** Batches in pieces, and one write to a key at a time. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SinkError, type Outcomes } from '../../../../gateway/forward/sink.ts';
import { cut, oneOfEachKey, Pieces } from '../../../../gateway/forward/sinks/pieces.ts';

interface Item {
  readonly n: number;
  readonly key: string;
}

const items = (count: number, keys = count): readonly Item[] =>
  Array.from({ length: count }, (_none, n) => ({ n, key: `k${n % keys}` }));
const taken = (some: readonly Item[]): Outcomes => some.map(() => null);
const oneByte = (): number => 1;

test('items are cut in order, by bytes and by number; one that is too long goes alone', () => {
  const bytes = [3, 3, 3, 9, 1, 1, 1, 1, 1];
  const lengths = (maxItems?: number): readonly number[] =>
    cut(bytes, (one) => one, 6, maxItems).map(({ length }) => length);
  assert.deepEqual(lengths(), [2, 1, 1, 5]);
  assert.deepEqual(lengths(2), [2, 1, 1, 2, 2, 1]);
  assert.deepEqual(cut([], oneByte, 1), []);
});

test('a smaller size that was learnt is given up again, when all goes well', async () => {
  const pieces = new Pieces(64, { isolating: false });
  let maxItems = 5;
  const sizes: number[] = [];
  const deliver = async (): Promise<void> => {
    sizes.length = 0;
    const outcomes = await pieces.send(items(64), oneByte, (piece) => {
      sizes.push(piece.length);
      return piece.length > maxItems
        ? Promise.reject(new SinkError('too-large', ''))
        : Promise.resolve(taken(piece));
    });
    assert.deepEqual(outcomes, taken(items(64)));
  };
  await deliver();
  assert.deepEqual(sizes.slice(0, 5), [64, 32, 16, 8, 4]);
  await deliver();
  assert.deepEqual(new Set(sizes), new Set([4]));
  maxItems = 64;
  for (let round = 0; round < 100 && sizes.length > 1; round += 1) await deliver();
  assert.deepEqual(sizes, [64]);
});

test('nothing taken is an error of all; something taken is told', async () => {
  const down = new SinkError('unreachable', 'down');
  const pieces = new Pieces(2, { isolating: true });
  let sent = 0;
  const until = (last: number) => (piece: readonly Item[]) => {
    sent += 1;
    return sent > last ? Promise.reject(down) : Promise.resolve(taken(piece));
  };
  await assert.rejects(pieces.send(items(6), oneByte, until(0)), down);
  sent = 0;
  assert.deepEqual(await pieces.send(items(6), oneByte, until(1)), [
    ...[null, null, down, down, down, down],
  ]);
  assert.equal(sent, 2, 'what is behind is not tried');
  const bug = new TypeError('a mistake');
  await assert.rejects(
    pieces.send(items(1), oneByte, () => Promise.reject(bug)),
    bug,
  );
});

test('the table of the last write of each key is that of all writes in order, whatever fails', async () => {
  let seed = 7;
  const chance = (): number => {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
    return seed / 2 ** 31;
  };
  for (const counts of ['first', 'last'] as const) {
    for (let round = 0; round < 200; round += 1) {
      const all = items(12, 1 + Math.floor(chance() * 5));
      const poison = new Set(all.filter(() => chance() < 0.2));
      const table = new Map<string, number>();
      const write = (some: readonly Item[]): Promise<Outcomes> => {
        assert.equal(new Set(some.map(({ key }) => key)).size, some.length, 'a key once a call');
        if (chance() < 0.2) return Promise.reject(new SinkError('unavailable', 'all'));
        return Promise.resolve(
          some.map((item) => {
            if (poison.has(item)) return new SinkError('rejected', 'poison');
            if (chance() < 0.2) return new SinkError('throttled', 'later');
            if (counts === 'last' || !table.has(item.key)) table.set(item.key, item.n);
            return null;
          }),
        );
      };
      let waiting = all;
      const rejected = new Set<Item>();
      while (waiting.length > 0) {
        const sent = waiting;
        const outcomes = await oneOfEachKey(sent, ({ key }) => key, counts, write).catch(
          (error: unknown) => {
            assert.ok(error instanceof SinkError);
            return sent.map(() => error);
          },
        );
        waiting = sent.filter((item, at) => {
          if (outcomes[at]?.code === 'rejected') rejected.add(item);
          return outcomes[at] !== null && outcomes[at]?.code !== 'rejected';
        });
      }
      const wanted = new Map<string, number>();
      for (const item of all) {
        if (poison.has(item) || (counts === 'first' && wanted.has(item.key))) continue;
        wanted.set(item.key, item.n);
      }
      assert.deepEqual(new Map([...table].sort()), new Map([...wanted].sort()));
      for (const item of rejected) assert.ok(poison.has(item), 'no other is refused');
    }
  }
});
