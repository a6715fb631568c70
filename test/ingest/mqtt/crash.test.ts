import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { it, type TestContext } from 'node:test';
import { systemClock } from '../../../storage/clock.ts';
import { openStore } from '../../../storage/store.ts';
import { startChild } from '../../support/child.ts';
import { MemoryLogger } from '../../support/memory-logger.ts';
import { MemoryMetrics } from '../../support/memory-metrics.ts';
import { compiled } from '../../support/program.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { publishPacket, RawClient, readAll } from './support.ts';

const KILLS = 5;
const DEVICES = 4;
const WINDOW = 50;

it('loses nothing acknowledged when it is killed under load', { timeout: 600_000 }, async (t) => {
  const folder = await temporaryFolder(t);
  /** Per device: how many it sent and how many were acknowledged, over all rounds. */
  const sent = new Array<number>(DEVICES).fill(0);
  const acknowledged: string[] = [];
  for (let round = 0; round < KILLS; round++) {
    const killAfter = 50 + round * 333;
    acknowledged.push(...(await publishUntilKilled(t, folder, killAfter, sent)));
  }
  assert.ok(acknowledged.length >= KILLS * 50);

  const parts = { clock: systemClock, logger: new MemoryLogger(), metrics: new MemoryMetrics() };
  const store = await openStore({ ...parts, folder });
  t.after(() => store.close());
  const stored = (await readAll(store.log, 'telemetry')).map(({ data }) => data.toString());
  const there = new Set(stored);
  const lost = acknowledged.filter((payload) => !there.has(payload));
  assert.deepEqual(lost, []);
  assert.equal(stored.length, there.size, 'nothing twice');
  for (let device = 0; device < DEVICES; device++) {
    const own = stored.filter((payload) => payload.startsWith(`${device}:`));
    const numbers = own.map((payload) => Number(payload.split(':')[1]));
    assert.deepEqual(
      numbers,
      [...numbers].sort((a, b) => a - b),
      'in order',
    );
  }
});

/** Publishes from several devices, and kills the broker in the midst of it; what was acknowledged. */
async function publishUntilKilled(
  t: TestContext,
  folder: string,
  killAfter: number,
  sent: number[],
): Promise<string[]> {
  const script = fileURLToPath(new URL('crash-child.ts', import.meta.url));
  const child = startChild(t, process.execPath, [compiled(script), folder]);
  const port = Number((await child.line(/port (\d+)$/))[1]);
  const acknowledged: string[] = [];
  const device = async (number: number): Promise<void> => {
    const client = await RawClient.login(t, port, `device-${number}`);
    const payloads = new Map<number, string>();
    let next = 0;
    const send = (): void => {
      const messageId = (next++ % 65_535) + 1;
      const payload = `${number}:${sent[number]!++}`;
      payloads.set(messageId, payload);
      client.send(publishPacket({ topic: `site/${number}/n`, payload, qos: 1, messageId }));
    };
    for (let n = 0; n < WINDOW; n++) send();
    while (!client.closed) {
      const answer = await client.packet().catch(() => null);
      if (answer === null) return;
      acknowledged.push(payloads.get(answer.body.readUInt16BE(0))!);
      if (acknowledged.length >= killAfter) child.process.kill('SIGKILL');
      send();
    }
  };
  await Promise.all(Array.from({ length: DEVICES }, (_, number) => device(number)));
  await child.exited;
  return acknowledged;
}
