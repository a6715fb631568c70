import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test, type TestContext } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { startHooks } from '../../../gateway/hooks.ts';
import { Hook } from '../../../gateway/hooks/hook.ts';
import type { Ask, HookInput } from '../../../gateway/hooks/target.ts';
import { Images } from '../../../gateway/media/images.ts';
import { systemClock } from '../../../storage/clock.ts';
import type { Fragment } from '../../../storage/model.ts';
import type { Store } from '../../../storage/store.ts';
import { boxesIn } from '../../../storage/video/boxes.ts';
import { openTestStore, streamOptions } from '../../storage/support/open.ts';
import { cameraOptions } from '../../storage/video/footage.ts';
import type { ManualClock } from '../../support/manual-clock.ts';
import { MemoryLogger } from '../../support/memory-logger.ts';
import { MemoryMetrics } from '../../support/memory-metrics.ts';
import { ffmpegPath } from '../../support/tools.ts';
import { makeFootage, record } from '../api/hls/footage.ts';
import { configOf } from '../config/support.ts';

const killGroup = (): void => undefined;
const startUs = Date.UTC(2026, 0, 1) * 1_000;

interface Rig {
  readonly store: Store;
  readonly clock: ManualClock;
  readonly metrics: MemoryMetrics;
  readonly logger: MemoryLogger;
  /** Records that many fragments of about 2 s; none of them waits for a hook. */
  readonly record: (
    fragments: number,
    after?: (at: number) => Promise<void>,
  ) => Promise<readonly Fragment[]>;
  readonly records: () => Promise<readonly string[]>;
}

async function rig(t: TestContext): Promise<Rig> {
  const { store, clock } = await openTestStore(t, { video: { minFreeBytes: 0 } });
  await store.video.ensureCamera(cameraOptions('front'));
  await store.log.ensureStream(streamOptions({ name: 'seen' }));
  let atUs = startUs;
  return {
    ...{ store, clock, metrics: new MemoryMetrics(), logger: new MemoryLogger() },
    record: async (count, after = () => Promise.resolve()) => {
      let at = 0;
      const fragment = (): Promise<void> => after(at++);
      const footage = await makeFootage(count * 2);
      const { fragments } = await record(store.video, 'front', [footage], atUs, { fragment });
      atUs += (count * 2 + 30) * 1_000_000;
      return fragments;
    },
    records: async () => {
      const [shard] = store.log.stream('seen').shards;
      const place = { shardId: shard!.id, fromSequence: 0 };
      const { records } = await store.log.read({ ...place, maxRecords: 100, maxBytes: 1e6 });
      return records.map(({ data }) => data.toString());
    },
  };
}

const front = "cameras: { front: { source: { rtsp: 'rtsp://10.0.0.1/a' } } }";

function configured(options: string) {
  const text = `${front}\nstreams: { seen: {} }\nhooks: { people: { camera: front, ${options} } }`;
  return configOf(text).hooks;
}

function hookOf(t: TestContext, { store, ...ports }: Rig, options: string, ask: Ask): Hook {
  const config = configured(`to: { command: { program: x } }, ${options}`)['people']!;
  const images = { imageOf: () => Promise.reject(new Error('ffmpeg is gone')) };
  const { video, log } = store;
  const hook = new Hook({ ...ports, name: 'people', config, ask, video, log, images });
  t.after(() => hook.close());
  return hook;
}

/** Resolves once that many are asked; they wait until they are called off or answered. */
function askedOf() {
  const asked: { readonly input: HookInput; readonly answer: (text: string) => void }[] = [];
  let told = (): void => undefined;
  const ask: Ask = (input, signal) =>
    new Promise((resolve, reject) => {
      const onAbort = (): void => {
        reject(signal.reason as Error);
      };
      signal.addEventListener('abort', onAbort, { once: true });
      asked.push({
        input,
        answer: (text) => {
          resolve(Buffer.from(text));
        },
      });
      told();
    });
  const until = async (count: number): Promise<void> => {
    while (asked.length < count) await new Promise<void>((resolve) => (told = resolve));
  };
  return { asked, ask, until };
}

const calls = 'headgate_hook_calls_total';
const counted = ({ metrics }: Rig, result: string): number =>
  metrics.values.get(`${calls}{hook="people",result="${result}"}`) ?? 0;

/** Until the hook, whose work is a few turns of the event loop and the disk, has counted it. */
async function untilCounted(rigged: Rig, result: string, count: number): Promise<void> {
  while (counted(rigged, result) < count) await setImmediate();
}

test('an image of a fragment goes to an endpoint; labels become its tag and a record', async (t) => {
  const rigged = await rig(t);
  const { store, metrics, logger, clock } = rigged;
  const posted: Buffer[] = [];
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      posted.push(Buffer.concat(parts));
      response.end('{"labels":[{"name":"person","confidence":0.97,"box":[1,2,3,4]}],"ms":5}');
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const { video, log } = store;
  const images = new Images({ video, ffmpegPath, cpuShare: 1, clock: systemClock, metrics });
  const hooks = await startHooks({
    hooks: configured(
      `to: { http: { url: 'http://127.0.0.1:${port}/' } }, perMinute: null, stream: seen`,
    ),
    ...{ video, images, log, env: {}, killGroup, fetch, clock, logger, metrics },
  });
  t.after(async () => {
    await hooks.close();
    images.close();
    server.closeAllConnections();
    server.close();
  });
  const [fragment] = await rigged.record(1);
  await untilCounted(rigged, 'ok', 1);
  assert.equal(posted[0]?.readUInt16BE(), 0xffd8);
  const { tags } = await store.video.fragment(fragment!.number);
  assert.deepEqual(tags, { people: 'person 0.97' });
  assert.deepEqual(
    (await rigged.records()).map((text) => JSON.parse(text) as unknown),
    [
      {
        ...{ type: 'hook', hook: 'people', camera: 'front' },
        ...{ fragment: fragment!.number, atUs: fragment!.startUs },
        answer: { labels: [{ name: 'person', confidence: 0.97, box: [1, 2, 3, 4] }], ms: 5 },
      },
    ],
  );
  await hooks.update({});
  await rigged.record(1);
  assert.equal(posted.length, 1);
});

test('a fragment is handed over as an MP4 of its own', async (t) => {
  const rigged = await rig(t);
  const { asked, ask, until } = askedOf();
  hookOf(t, rigged, 'send: fragment, perMinute: null', ask);
  await rigged.record(1);
  await until(1);
  const boxes = [...boxesIn(asked[0]!.input.bytes)].map(({ type }) => type);
  assert.deepEqual(boxes.slice(0, 4), ['ftyp', 'moov', 'moof', 'mdat']);
  asked[0]!.answer('');
  await untilCounted(rigged, 'ok', 1);
  assert.deepEqual(await rigged.records(), []);
});

test('a target that hangs holds up nobody: what waits is bounded, and time runs out', async (t) => {
  const rigged = await rig(t);
  const { asked, ask, until } = askedOf();
  hookOf(t, rigged, 'send: fragment, perMinute: null, concurrency: 2', ask);
  assert.equal((await rigged.record(20)).length, 20);
  await until(2);
  assert.equal(asked.length, 2);
  assert.equal(counted(rigged, 'skipped'), 2);
  rigged.clock.advance(10_000);
  await until(4);
  assert.equal(counted(rigged, 'timeout'), 2);
  const warned = rigged.logger.lines.filter(({ level }) => level === 'warn');
  assert.equal(warned.length, 1);
});

test('a rate is kept: the first at once, then one every so often', async (t) => {
  const rigged = await rig(t);
  const asked: number[] = [];
  const ask: Ask = ({ fragment }) => {
    asked.push(fragment);
    return Promise.resolve(Buffer.alloc(0));
  };
  hookOf(t, rigged, 'send: fragment, perMinute: 6', ask);
  const fragments = await rigged.record(20, () => {
    rigged.clock.advance(2_000);
    return Promise.resolve();
  });
  await untilCounted(rigged, 'ok', 4);
  const numbers = fragments.map(({ number }) => number);
  assert.deepEqual(asked, [numbers[0], numbers[5], numbers[10], numbers[15]]);
});

test('a reload begins only those hooks again that differ; what fails is known until it works', async (t) => {
  const rigged = await rig(t);
  const said: string[] = [];
  let status = 503;
  /** One that hangs until it is called off, and one that answers. */
  const fetcher: typeof fetch = (url, init) => {
    const path = (url as URL).pathname;
    said.push(path);
    if (path === '/answers') return Promise.resolve(new Response(null, { status }));
    return new Promise((_resolve, reject) => {
      init?.signal?.addEventListener('abort', () => {
        said.push('called off');
        reject(init.signal!.reason as Error);
      });
    });
  };
  const entries = (timeoutSeconds: number) => {
    const options = 'camera: front, send: fragment, perMinute: null';
    const to = (path: string): string => `to: { http: { url: 'http://127.0.0.1:1/${path}' } }`;
    return configOf(`${front}
hooks:
  hangs: { ${options}, ${to('hangs')} }
  people: { ${options}, timeoutSeconds: ${timeoutSeconds}, ${to('answers')} }`).hooks;
  };
  const { video, log } = rigged.store;
  const images = { imageOf: () => Promise.reject(new Error('none is wanted')) };
  const hooks = await startHooks({
    ...{ ...rigged, hooks: entries(10), video, log, images, env: {}, killGroup, fetch: fetcher },
  });
  t.after(() => hooks.close());
  assert.deepEqual(hooks.troubles(), []);
  await rigged.record(1);
  await untilCounted(rigged, 'failed', 1);
  const trouble = '127.0.0.1:1 answers with status 503';
  assert.deepEqual(hooks.troubles(), [{ name: 'people', trouble }]);
  status = 204;
  await hooks.update(entries(11));
  await rigged.record(1);
  await untilCounted(rigged, 'ok', 1);
  assert.deepEqual(hooks.troubles(), []);
  assert.deepEqual(said.sort(), ['/answers', '/answers', '/hangs']);
  await hooks.close();
  assert.deepEqual(said.at(-1), 'called off');
});

test('what is too large, unreadable, a lie or can not be stored is counted, and nothing else', async (t) => {
  const rigged = await rig(t);
  const { asked, ask, until } = askedOf();
  hookOf(t, rigged, 'send: fragment, perMinute: null, maxBytes: 1024', ask);
  hookOf(t, rigged, 'perMinute: null', ask);
  hookOf(t, rigged, 'send: fragment, perMinute: null, stream: seen', ask);
  const [fragment] = await rigged.record(1);
  await untilCounted(rigged, 'too-large', 1);
  await untilCounted(rigged, 'unreadable', 1);
  await until(1);
  asked[0]!.answer('{"labels":[{"name":7}]}');
  await untilCounted(rigged, 'bad-answer', 1);
  const full = Object.fromEntries(Array.from({ length: 10 }, (_, at) => [`t${at}`, 'x']));
  await rigged.record(1, async () => {
    const [latest] = await rigged.store.video.latestFragments('front', 1);
    await rigged.store.video.tagFragment(latest!.number, full);
  });
  await until(2);
  asked[1]!.answer('{"labels":[{"name":"car"}]}');
  await untilCounted(rigged, 'not-kept', 1);
  assert.equal((await rigged.records()).length, 1);
  assert.equal((await rigged.store.video.fragment(fragment!.number)).tags, null);
  assert.equal(counted(rigged, 'ok'), 0);
});
