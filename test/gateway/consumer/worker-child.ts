/**
 * A worker as a process of its own. It emits to the test's sink, without regard to its signal; when
 * the sink refuses, it tries to checkpoint all the same, and reports what came of it.
 */
import { startConsumer, type Batch } from '../../../gateway/consumer/consumer.ts';
import { emissionOf } from './rig.ts';

const [gateway = '', sink = '', owner = '', leaseMs = '', application = 'billing', token = ''] =
  process.argv.slice(2);
const shards = `${gateway}/api/v1/applications/${application}/streams/readings/shards`;

function post(url: string, body: unknown): Promise<Response> {
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${token}` };
  return fetch(url, { method: 'POST', headers, body: JSON.stringify(body) });
}

async function emit(batch: Batch): Promise<void> {
  const answer = await post(`${sink}/emit`, emissionOf(owner, batch));
  if (answer.ok) return;
  const { shard, fence: counter } = batch;
  const checkpoint = (batch.records.at(-1)?.sequence ?? 0) + 1;
  const tried = await post(`${shards}/${shard}/checkpoint`, { owner, counter, checkpoint });
  await post(`${sink}/report/${owner}`, { status: tried.status, answer: await tried.json() });
  throw new Error('refused by the sink');
}

const consumer = await startConsumer({
  ...{ url: gateway, token, stream: 'readings', application, owner, emit },
  leaseMs: Number(leaseMs),
  batchRecords: 20,
});
process.once('SIGTERM', () => void consumer.close());
console.log('started');
await consumer.ended;
console.log('ended');
