/** A real store that RTSP sources record into, and what can be asked of it. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { Supervisor } from '../../../gateway/supervisor.ts';
import { recordSession } from '../../../ingest/camera/session.ts';
import type { RecordRun } from '../../../ingest/rtsp/recording.ts';
import { SourceError, type Source } from '../../../ingest/source.ts';
import { systemClock } from '../../../storage/clock.ts';
import type { Fragment, LiveEvent, Run } from '../../../storage/model.ts';
import { openStore, type Store } from '../../../storage/store.ts';
import { MemoryLogger } from '../../support/memory-logger.ts';
import { MemoryMetrics } from '../../support/memory-metrics.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { ffmpegPath } from '../../support/tools.ts';
import { framesOf } from './media.ts';

export interface Recording {
  readonly folder: string;
  readonly store: Store;
  readonly logger: MemoryLogger;
  readonly record: RecordRun;
  readonly supervisor: Supervisor;
  /** The next event of this type that has not been asked for, from the set-up on. */
  next<T extends LiveEvent['type']>(type: T): Promise<Extract<LiveEvent, { type: T }>>;
  /** Resolves when this many fragments of this run are stored. */
  fragments(run: Run, count: number): Promise<void>;
}

export async function setUp(context: TestContext): Promise<Recording> {
  const folder = await temporaryFolder(context);
  const logger = new MemoryLogger();
  const ports = { clock: systemClock, logger, metrics: new MemoryMetrics() };
  const store = await openStore({ folder: join(folder, 'data'), ...ports });
  context.after(() => store.close());
  const camera = { name: 'gate', retentionMs: null, maxBytes: null, events: null };
  await store.video.ensureCamera(camera);
  const supervisor = new Supervisor({
    ...ports,
    random: Math.random,
    backOff: { firstDelayMs: 100, maxDelayMs: 200 },
  });
  context.after(() => supervisor.close());
  const record: RecordRun = (request) =>
    recordSession({ camera: 'gate', video: store.video, ffmpegPath, ...ports, ...request });
  const next = eventsOf(store);
  const fragments = async (run: Run, count: number): Promise<void> => {
    for (let left = count; left > 0;) {
      const { fragment } = await next('fragment');
      if (fragment.runId === run.id) left -= 1;
    }
  };
  return { folder, store, logger, record, supervisor, next, fragments };
}

function eventsOf(store: Store): Recording['next'] {
  const events: LiveEvent[] = [];
  let wake = (): void => undefined;
  store.video.watch('gate', (event) => {
    if (event.type !== 'chunk') events.push(event);
    wake();
  });
  return async <T extends LiveEvent['type']>(type: T) => {
    for (;;) {
      const index = events.findIndex((event) => event.type === type);
      const [event] = index === -1 ? [] : events.splice(index, 1);
      if (event !== undefined) return event as Extract<LiveEvent, { type: T }>;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
}

/** Runs a source once; what it ended with. */
export async function runOnce(source: Source): Promise<string> {
  const abort = new AbortController();
  try {
    await source.run({ signal: abort.signal, ready: () => undefined });
    return 'ended';
  } catch (error) {
    assert.ok(error instanceof SourceError, String(error));
    assert.doesNotMatch(error.message, /secret|wrong/, 'no password in a message');
    return error.code;
  }
}

export async function fragmentsOf(store: Store, run: Run): Promise<readonly Fragment[]> {
  const all = await store.video.latestFragments('gate', 1000);
  return all.filter((fragment) => fragment.runId === run.id);
}

/** The decoded frames of a whole run, as it is stored. */
export async function storedFrames(recording: Recording, run: Run): Promise<readonly string[]> {
  const { folder, store } = recording;
  const fragments = await fragmentsOf(store, run);
  const first = fragments[0];
  assert.ok(first !== undefined, 'the run has no fragment');
  const init = await store.video.init(first.initId);
  const parts = await Promise.all(fragments.map((one) => store.video.readFragment(one)));
  const path = join(folder, `run-${run.id}.mp4`);
  await writeFile(path, Buffer.concat([init.bytes, ...parts]));
  return framesOf(['-i', path]);
}
