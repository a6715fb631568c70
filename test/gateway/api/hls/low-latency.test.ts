import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { boxesIn } from '../../../../storage/video/boxes.ts';
import { cameraOptions } from '../../../storage/video/footage.ts';
import { startGateway, type TestGateway } from '../../http/gateway.ts';
import { clockFootage } from '../../media/clock-footage.ts';
import { record, type Footage } from './footage.ts';

/** What is recorded is of the moment that the gateway's clock shows. */
const startUs = Date.UTC(2026, 0, 1) * 1_000;

async function withCamera(context: TestContext): Promise<TestGateway> {
  const gateway = await startGateway(context);
  await gateway.video.ensureCamera(cameraOptions('gate'));
  return gateway;
}

interface Listed {
  readonly text: string;
  /** Of the segment that is complete last. */
  readonly segment: number;
  /** Of segments that are complete, by their file, and of the one that is not, under null. */
  readonly parts: ReadonlyMap<string | null, readonly string[]>;
}

function listed(text: string): Listed {
  const parts = new Map<string | null, string[]>();
  let waiting: string[] = [];
  let segments = 0;
  for (const line of text.split('\n')) {
    const part = /^#EXT-X-PART:.*URI="([^"]+)"/.exec(line)?.[1];
    if (part !== undefined) waiting.push(part);
    if (line === '' || line.startsWith('#')) continue;
    parts.set(line, waiting);
    waiting = [];
    segments += 1;
  }
  parts.set(null, waiting);
  const first = Number(/#EXT-X-MEDIA-SEQUENCE:(\d+)/.exec(text)?.[1]);
  return { text, segment: first + segments - 1, parts };
}

async function live(gateway: TestGateway, query = ''): Promise<Listed> {
  const response = await gateway.get(`/hls/gate/live.m3u8${query}`);
  assert.equal(response.status, 200, await response.clone().text());
  return listed(await response.text());
}

async function fetched(gateway: TestGateway, file: string): Promise<Buffer> {
  const response = await gateway.get(`/hls/gate/${file}`);
  assert.equal(response.status, 200, file);
  return Buffer.from(await response.arrayBuffer());
}

/** Records, while each playlist is looked at. */
async function following(
  gateway: TestGateway,
  parts: readonly Footage[],
  look: (playlist: Listed) => Promise<void>,
): Promise<void> {
  let fragments = 0;
  await record(gateway.video, 'gate', parts, startUs, {
    fragment: () => Promise.resolve(void (fragments += 1)),
    chunk: async () => {
      if (fragments > 0) await look(await live(gateway));
    },
  });
}

test('parts come while their segment is sent, and are the segment', async (t) => {
  const gateway = await withCamera(t);
  const footage = await clockFootage({ seconds: 9, bFrames: 2, sound: true });
  const early = new Map<string, Buffer>();
  let most = 0;
  await following(gateway, [footage], async ({ text, parts }) => {
    const open = parts.get(null) ?? [];
    most = Math.max(most, open.length);
    const hint = /#EXT-X-PRELOAD-HINT:TYPE=PART,URI="([^"]+)"/.exec(text)?.[1];
    if (open.length > 0) assert.match(hint ?? '', new RegExp(`\\.${open.length}\\.m4s$`));
    for (const file of open) early.set(file, await fetched(gateway, file));
    for (const [segment, files] of parts) {
      if (segment === null || files.length === 0) continue;
      const whole = await fetched(gateway, segment);
      const joined = Buffer.concat(files.map((file) => early.get(file) ?? Buffer.alloc(0)));
      assert.ok(joined.equals(whole), segment);
      const again = await Promise.all(files.map((file) => fetched(gateway, file)));
      assert.ok(Buffer.concat(again).equals(whole), 'from disk as from memory');
    }
  });
  assert.ok(most >= 9, `${most} parts of 200 ms in 2 s`);
});

test('a player is answered when what it asks for has come', async (t) => {
  const gateway = await withCamera(t);
  const footage = await clockFootage({ seconds: 9 });
  const answered: string[] = [];
  let waiting: Promise<void> | null = null;
  let asked: string | null = null;
  await following(gateway, [footage], async ({ segment, parts }) => {
    if (waiting !== null) {
      // What it waited for is there by now: it is not asked for anew, and does not hang.
      await waiting;
      assert.equal(answered.at(-1), asked);
    }
    const open = parts.get(null)?.length ?? 0;
    waiting = null;
    if (open === 0) return;
    const [msn, part] = [segment + 1, open];
    asked = `${msn} ${part}`;
    const wanted = asked;
    waiting = live(gateway, `?_HLS_msn=${msn}&_HLS_part=${part}`).then((after) => {
      const has = (after.parts.get(null)?.length ?? 0) > part && after.segment === segment;
      assert.ok(has || after.segment > segment, wanted);
      answered.push(wanted);
    });
    waiting.catch(() => undefined);
  });
  assert.ok(answered.length > 20);
});

test('who asks for too much, or for nonsense, is told', async (t) => {
  const gateway = await withCamera(t);
  const footage = await clockFootage({ seconds: 5 });
  let looks = 0;
  await following(gateway, [footage], async ({ segment }) => {
    looks += 1;
    if (looks !== 5) return;
    for (const query of [`_HLS_msn=${segment + 9}`, '_HLS_part=1', '_HLS_msn=x']) {
      assert.equal((await gateway.get(`/hls/gate/live.m3u8?${query}`)).status, 400, query);
    }
    let status = 0;
    const late = gateway
      .get(`/hls/gate/live.m3u8?_HLS_msn=${segment + 1}`)
      .then((response) => (status = response.status));
    while (status === 0) {
      gateway.clock.advance(1_000);
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.equal(await late, 503);
  });
  const missing = ['1-1.0.m4s', `${startUs}-1.1.m4s`, '1-1.99999.m4s'];
  for (const file of missing) {
    assert.equal((await gateway.get(`/hls/gate/${file}`)).status, 404, file);
  }
});

test('nothing is announced early of what is made up later: sound that stopped', async (t) => {
  const gateway = await withCamera(t);
  const footage = await clockFootage({ seconds: 9, sound: true });
  const silent = footage.chunks.map((chunk, index) =>
    index < 25 ? chunk : { ...chunk, bytes: withoutSound(chunk.bytes) },
  );
  const seen: number[] = [];
  await following(gateway, [{ ...footage, chunks: silent }], ({ parts }) => {
    seen.push(parts.get(null)?.length ?? 0);
    return Promise.resolve();
  });
  assert.ok(Math.max(...seen) > 5);
  assert.equal(Math.max(...seen.slice(-10)), 0);
});

function withoutSound(bytes: Buffer): Buffer {
  const changed = Buffer.from(bytes);
  const moof = [...boxesIn(changed)].find(({ type }) => type === 'moof');
  assert.ok(moof !== undefined);
  const tracks = [...boxesIn(changed, moof.bodyStart, moof.end)].filter(
    ({ type }) => type === 'traf',
  );
  for (const traf of tracks.slice(1)) changed.write('free', traf.start + 4, 'latin1');
  return changed;
}
