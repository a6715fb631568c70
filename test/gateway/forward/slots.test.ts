import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Slots } from '../../../gateway/forward/slots.ts';

const never = new AbortController().signal;

function gate(): { open: () => void; passed: Promise<void> } {
  let open = (): void => undefined;
  const passed = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { open, passed };
}

test('no more than the slots run at once, in the order they asked, also after failures', async () => {
  const slots = new Slots(2);
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
  const slots = new Slots(1);
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
