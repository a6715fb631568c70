/** PutMedia of a whole gateway: a camera of the configuration, a key, and a real producer. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { clustersByKeyframe } from '../ingest/mkv/footage.ts';
import { makeFootage } from '../storage/video/footage.ts';
import { GatewayProcess } from '../support/gateway.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { needs } from '../support/tools.ts';

interface Cameras {
  readonly cameras: readonly {
    readonly name: string;
    readonly state: string;
    readonly source: string;
    readonly lastError: string | null;
  }[];
}

test('a camera of the configuration is recorded from what a signed PutMedia brings', async (t) => {
  if (!needs(t, 'curl')) return;
  const folder = await temporaryFolder(t);
  const gateway = await GatewayProcess.start(
    t,
    folder,
    `cameras: { gate: { source: { putMedia: {} } } }
auth:
  keys:
    - { name: gate, accessKeyId: AKIAGATE, secretAccessKey: secret-of-the-gate }`,
  );
  const before = await gateway.get<Cameras>('/cameras');
  assert.deepEqual(
    before.cameras.map(({ name, state, source }) => ({ name, state, source })),
    [{ name: 'gate', state: 'waiting', source: 'PutMedia' }],
  );
  const sent = await makeFootage({ seconds: 4, format: clustersByKeyframe });
  const curl = spawn('curl', [
    ...['-sS', '-N', '-X', 'POST', '-T', '-', '--aws-sigv4', 'aws:amz:us-east-1:kinesisvideo'],
    ...['--user', 'AKIAGATE:secret-of-the-gate', '-H', 'x-amzn-stream-name: gate'],
    ...['-H', 'x-amzn-fragment-timecode-type: RELATIVE', `${gateway.url}/putMedia`],
  ]);
  curl.stdin.end(sent.subarray(0, sent.length - 10));
  const parts: Buffer[] = [];
  curl.stdout.on('data', (part: Buffer) => parts.push(part));
  await once(curl, 'close');
  const acks = Buffer.concat(parts)
    .toString()
    .trim()
    .split('\r\n')
    .map((line) => JSON.parse(line) as { EventType: string; FragmentNumber: string });
  const kept = acks.filter(({ EventType }) => EventType === 'PERSISTED');
  assert.equal(kept.length, 3);
  assert.ok(kept.every(({ FragmentNumber }) => /^\d{47}$/.test(FragmentNumber)));
  const isOver = ({ cameras }: Cameras): boolean => cameras[0]?.state === 'waiting';
  const after = await gateway.until<Cameras>('/cameras', isOver);
  assert.match(after.cameras[0]?.lastError ?? '', /ends within an element/);
  const { fragments } = await gateway.get<{ fragments: readonly unknown[] }>(
    '/cameras/gate/fragments?from=2020-01-01T00:00:00Z&to=2100-01-01T00:00:00Z',
  );
  assert.equal(fragments.length, 3);
});
