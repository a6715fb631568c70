import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Slots, SpareSlots } from '../../../gateway/forward/slots.ts';

const never = new AbortController().signal;

function gate(): { open: () => void; passed: Promise<void> } {
  let open = (): void => undefined;
  const passed = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { open, passed };
}

test('no more than the slots run at once, in the order they asked, also after failures', async () => {
  const slots = new Slots(2, new SpareSlots(9));
  const order: number[] = [];
  const gates = [gate(), gate(), gate(), gate()];
  const runs = gates.map(({ passed }, index) =>
    slots
      .use(never, async () => {
        order.push(index);
        await passed;
        if (index === 0) throw new Error('failed');
      })
      .catch(() => undefined),
  );
  await Promise.resolve();
  assert.deepEqual(order, [0, 1]);
  gates[0]!.open();
  await runs[0];
  assert.deepEqual(order, [0, 1, 2]);
  for (const { open } of gates) open();
  await Promise.all(runs);
  assert.deepEqual(order, [0, 1, 2, 3]);
});

test('waiting for a slot is called off at once, and takes none', async () => {
  const slots = new Slots(1, new SpareSlots(9));
  const { open, passed } = gate();
  const first = slots.use(never, () => passed);
  const controller = new AbortController();
  const second = slots.use(controller.signal, () => assert.fail('called off'));
  controller.abort();
  await assert.rejects(second, { name: 'AbortError' });
  open();
  await first;
  assert.equal(await slots.use(never, () => Promise.resolve(3)), 3);
});

test('a spare slot goes to the highest priority that waits, whoever asked first', async () => {
  const spare = new SpareSlots(1);
  const order: string[] = [];
  const gates = new Map<string, () => void>();
  const uploads = ([name, priority]: readonly [string, number]): Promise<void>[] => {
    const slots = new Slots(3, spare, priority);
    return ['1', '2'].map((number) =>
      slots.use(never, async () => {
        const { open, passed } = gate();
        gates.set(`${name}${number}`, open);
        order.push(`${name}${number}`);
        await passed;
      }),
    );
  };
  const deliveries = [
    ['low', 1],
    ['middle', 5],
    ['high', 9],
    ['same', 5],
  ] as const;
  const runs = deliveries.map(uploads);
  await Promise.resolve();
  assert.deepEqual(order, ['low1', 'low2', 'middle1', 'high1', 'same1']);
  // The second of each takes the spare slot: it is given on when that has ended.
  for (const next of ['low2', 'high2', 'middle2', 'same2']) {
    const index = deliveries.findIndex(([name]) => next.startsWith(name));
    gates.get(next)!();
    await runs[index]![1];
  }
  assert.deepEqual(order.slice(5), ['high2', 'middle2', 'same2']);
  for (const open of gates.values()) open();
  await Promise.all(runs.flat());
});

test('spare slots are shared, and each delivery can always have one upload', async () => {
  const spare = new SpareSlots(3);
  const deliveries = Array.from({ length: 5 }, () => new Slots(4, spare));
  let running = 0;
  let most = 0;
  const gates: (() => void)[] = [];
  const begun = new Map<Slots, number>();
  const runs = deliveries.flatMap((slots) =>
    Array.from({ length: 4 }, () =>
      slots.use(never, async () => {
        running += 1;
        most = Math.max(most, running);
        begun.set(slots, (begun.get(slots) ?? 0) + 1);
        const { open, passed } = gate();
        gates.push(open);
        await passed;
        running -= 1;
      }),
    ),
  );
  await Promise.resolve();
  assert.equal(running, 8, 'one each, and three more');
  assert.deepEqual([...begun.values()], [4, 1, 1, 1, 1]);
  for (let opened = 0; opened < 20; opened += 1) {
    gates.shift()!();
    for (let turn = 0; turn < 10; turn += 1) await Promise.resolve();
  }
  await Promise.all(runs);
  assert.equal(most, 8);
});

test('a lane that drains a backlog leaves a slot for what is new, and waits for it', async () => {
  const slots = new Slots(3, new SpareSlots(9));
  const order: string[] = [];
  const gates: (() => void)[] = [];
  const use = (name: string, behind: boolean): Promise<void> =>
    slots.use(
      never,
      async () => {
        order.push(name);
        const { open, passed } = gate();
        gates.push(open);
        await passed;
      },
      { behind },
    );
  const runs = ['old 1', 'old 2', 'old 3', 'old 4'].map((name) => use(name, true));
  await Promise.resolve();
  assert.deepEqual(order, ['old 1', 'old 2']);
  runs.push(use('new 1', false), use('new 2', false));
  await Promise.resolve();
  assert.deepEqual(order, ['old 1', 'old 2', 'new 1']);
  while (order.length < 6 || gates.length > 0) {
    gates.shift()?.();
    for (let turn = 0; turn < 10; turn += 1) await Promise.resolve();
  }
  await Promise.all(runs);
  assert.deepEqual(order, ['old 1', 'old 2', 'new 1', 'new 2', 'old 3', 'old 4']);
});
