/** PutMedia under kill -9: what was acknowledged PERSISTED is there, whole, after the restart. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { Producer } from '../../gateway/api/kinesis-video/producer.ts';
import { type MkvStream, producerStream } from '../../ingest/mkv/footage.ts';
import { seededRandom } from '../../storage/support/open.ts';
import { fragmentedFormat, makeFootage, parseFootage } from '../../storage/video/footage.ts';
import { type Child, startChild } from '../../support/child.ts';
import { compiled } from '../../support/program.ts';
import type { Scope } from '../../support/scope.ts';

const boxScript = join(import.meta.dirname, 'put-media-box.ts');
const headers = { 'x-amzn-stream-name': 'gate', 'x-amzn-fragment-timecode-type': 'RELATIVE' };
/** More fragments than are sent before any kill. */
const seconds = 20;

/** Many short fragments. */
export async function makeStream(): Promise<MkvStream> {
  const options = { seconds, size: '96x64', framesPerSecond: 10, group: 3 };
  return producerStream(parseFootage(await makeFootage({ ...options, format: fragmentedFormat })));
}

/**
 * Sends to a box that is killed while it takes fragments, so many times, and asserts each time that
 * nothing acknowledged is missing.
 * @returns how many fragments were acknowledged in all
 */
export async function killWhilePutting(
  scope: Scope,
  {
    folder,
    stream,
    seed,
    kills,
  }: {
    readonly folder: string;
    readonly stream: MkvStream;
    readonly seed: number;
    readonly kills: number;
  },
): Promise<number> {
  const random = seededRandom(seed);
  const acknowledged = new Set<string>();
  for (let kill = 0; kill < kills; kill += 1) {
    const box = startBox(scope, folder);
    assertHeld(await heldBy(box), acknowledged);
    const [, port] = await box.line(/^LISTENS (\d+)$/);
    const producer = new Producer(`http://localhost:${port}`, headers);
    const wanted = Math.floor(random() * 20);
    const sending = sendUntilItFails(producer, stream, random);
    // At some moment of what follows the fragment: its own bytes, its fsync, its row.
    await producer.until(() => producer.count('PERSISTED') >= wanted);
    for (let turns = Math.floor(random() * 30); turns > 0; turns -= 1) {
      await new Promise((wake) => setImmediate(wake));
    }
    await box.stop('SIGKILL');
    await producer.ended();
    await sending;
    for (const { EventType, FragmentNumber } of producer.acks) {
      if (EventType === 'PERSISTED') acknowledged.add(FragmentNumber ?? '');
    }
  }
  const box = startBox(scope, folder);
  assertHeld(await heldBy(box), acknowledged);
  await box.stop('SIGKILL');
  return acknowledged.size;
}

function startBox(scope: Scope, folder: string): Child {
  return startChild(scope, process.execPath, [compiled(boxScript), folder]);
}

async function heldBy(box: Child): Promise<ReadonlySet<string>> {
  const [, text = ''] = await box.line(/^HELD ?(.*)$/);
  return new Set(text.split(' ').map((entry) => entry.split(':')[0] ?? ''));
}

function assertHeld(held: ReadonlySet<string>, acknowledged: ReadonlySet<string>): void {
  const missing = [...acknowledged].filter((number) => !held.has(number));
  assert.deepEqual(missing, [], 'acknowledged as PERSISTED, and not there');
}

/** In pieces of any size, so that kills come everywhere in a fragment. */
async function sendUntilItFails(
  producer: Producer,
  { head, clusters }: MkvStream,
  random: () => number,
): Promise<void> {
  const bytes = Buffer.concat([head, ...clusters]);
  for (let at = 0; at < bytes.length;) {
    const end = at + 1 + Math.floor(random() * 6_000);
    await producer.send(bytes.subarray(at, end));
    at = end;
    await new Promise((wake) => setImmediate(wake));
  }
}
