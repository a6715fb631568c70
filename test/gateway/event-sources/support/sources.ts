/** Event sources over a real store, and functions that note what they were called with. */
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import type { TestContext } from 'node:test';
import {
  EventSource,
  type EventSourceStatus,
} from '../../../../gateway/event-sources/event-source.ts';
import type { EventSourceOptions } from '../../../../gateway/event-sources/options.ts';
import type { FunctionTarget } from '../../../../gateway/functions/target.ts';
import type { LogRecord } from '../../../../storage/model.ts';
import type { Clock } from '../../../../storage/ports.ts';
import { openRig, streamOptions, type Rig } from '../../forward/support/rig.ts';
import { moduleFile } from '../../functions/support/functions.ts';
import { temporaryFolder } from '../../../support/temporary-folder.ts';

export const account = { accountId: '123456789012', region: 'eu-central-1' };

export interface Sources extends Rig {
  begin(options: Partial<EventSourceOptions> & Pick<EventSourceOptions, 'function'>): EventSource;
  /** All data of a stream's first shard. */
  texts(stream: string): Promise<readonly string[]>;
}

export async function openSources(
  t: TestContext,
  options: { readonly clock?: Clock; readonly folder?: string; readonly shards?: number } = {},
): Promise<Sources> {
  // Not one that goes before the store is closed: with an impatient clock leases are renewed all the time.
  const own = options.folder === undefined ? await mkdtemp(join(tmpdir(), 'headgate-test-')) : null;
  const folder = options.folder ?? own ?? '';
  const sources: EventSource[] = [];
  let close = (): Promise<void> => Promise.resolve();
  t.after(async () => {
    await close();
    if (own !== null) await rm(own, { recursive: true });
  });
  const rig = await openRig(t, { ...options, folder });
  await rig.store.log.ensureStream(streamOptions('readings', options.shards));
  await rig.store.log.ensureStream(streamOptions('letters'));
  close = async () => {
    await Promise.all(sources.map((source) => source.close()));
    await rig.close();
  };
  const { store, supervisor, clock, logger, metrics } = rig;
  return {
    ...rig,
    close: () => close(),
    begin: (given) => {
      const source = new EventSource(
        {
          ...{ name: 'f', from: { stream: 'readings' }, batchSize: 100, batchWindowSeconds: 0 },
          ...{ parallelization: 1, bisectOnError: false, retries: null, filter: [] },
          ...{ maxRecordAgeSeconds: null, reportBatchItemFailures: false },
          ...{ tumblingWindowSeconds: 0, startAt: { edge: 'earliest' }, deadLetter: null },
          ...{ timeoutSeconds: 60, required: true, paused: false },
          ...given,
        },
        {
          ...{
            log: store.log,
            video: store.video,
            owner: 'process-1',
            supervisor,
            account,
            clock,
            logger,
            metrics,
          },
          ...{ fetch, random: () => 0 },
        },
      );
      sources.push(source);
      return source;
    },
    texts: async (stream) =>
      (await recordsOf(rig, stream)).map(({ data }) => data.toString('utf8')),
  };
}

async function recordsOf({ store }: Rig, stream: string): Promise<readonly LogRecord[]> {
  const [shard] = store.log.stream(stream).shards;
  const all: LogRecord[] = [];
  for (let fromSequence = 0; ;) {
    const limits = { maxRecords: 10_000, maxBytes: 2 ** 24 };
    const read = await store.log.read({ shardId: shard!.id, fromSequence, ...limits });
    all.push(...read.records);
    fromSequence = read.nextSequence;
    if (read.recordsBehind === 0) return all;
  }
}

/** Resolves once a status is as wanted. */
export async function until(
  source: EventSource,
  wanted: (status: EventSourceStatus) => boolean,
): Promise<EventSourceStatus> {
  for (;;) {
    const status = await source.status();
    if (wanted(status)) return status;
    await setImmediate();
  }
}

export interface Noting {
  readonly target: FunctionTarget;
  /** The source of a handler that notes the same, for other kinds of targets. */
  readonly source: string;
  readonly file: string;
  /** What it noted, call by call. */
  readonly notes: () => readonly unknown[];
}

/**
 * A module whose handler may `note` something of a call on disk, has its records as `texts`, and can
 * tell one by its text.
 */
export async function noting(t: TestContext, body: string): Promise<Noting> {
  const file = join(await temporaryFolder(t), 'notes');
  const source = `
    import { appendFileSync } from 'node:fs';
    let calls = 0;
    const note = (what) => appendFileSync(${JSON.stringify(file)}, JSON.stringify(what) + '\\n');
    export async function handler(event, context) {
      calls += 1;
      const texts = event.Records.map(({ kinesis }) => Buffer.from(kinesis.data, 'base64').toString());
      ${body}
    }`;
  const path = await moduleFile(t, source);
  return {
    target: { module: { path, export: 'handler', memoryMaxMiB: 64, concurrency: 1 } },
    source,
    file,
    notes: () =>
      existsSync(file)
        ? readFileSync(file, 'utf8')
            .trim()
            .split('\n')
            .map((line) => JSON.parse(line) as unknown)
        : [],
  };
}
