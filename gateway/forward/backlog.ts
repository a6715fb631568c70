/** How far behind a delivery is: what its lanes have not sent yet. */
import type { Lease, Log, VideoStore } from '../../storage/model.ts';
import type { Clock } from '../../storage/ports.ts';

export interface Backlog {
  /** Records, or media files. */
  readonly records: number;
  /** As stored. */
  readonly bytes: number;
  /** Age of the oldest thing not yet sent; 0 when there is none. */
  readonly seconds: number;
}

/** All of it, and apart: what the newest lanes have to send, and what those behind them. */
export interface Backlogs {
  readonly all: Backlog;
  readonly live: Backlog;
  readonly behind: Backlog;
  /** Some source has more than one lane. */
  readonly divided: boolean;
}

const filesAtOnce = 1000;

interface Stretch {
  readonly from: number;
  /** null: it is the newest. */
  readonly to: number | null;
}

interface Amount {
  readonly records: number;
  readonly bytes: number;
  readonly oldestMs: number | null;
}

/** Adds up what stretches hold. */
class Sum {
  #live: Amount = { records: 0, bytes: 0, oldestMs: null };
  #behind: Amount = this.#live;
  #divided = false;

  add({ to }: Stretch, amount: Amount): void {
    if (to === null) {
      this.#live = plus(this.#live, amount);
      return;
    }
    this.#divided = true;
    this.#behind = plus(this.#behind, amount);
  }

  total(clock: Clock): Backlogs {
    const shown = ({ records, bytes, oldestMs }: Amount): Backlog => ({
      records,
      bytes,
      seconds: oldestMs === null ? 0 : Math.max(0, (clock.nowMs() - oldestMs) / 1000),
    });
    return {
      all: shown(plus(this.#live, this.#behind)),
      live: shown(this.#live),
      behind: shown(this.#behind),
      divided: this.#divided,
    };
  }
}

function plus(a: Amount, b: Amount): Amount {
  const times = [a.oldestMs, b.oldestMs].filter((timeMs) => timeMs !== null);
  return {
    records: a.records + b.records,
    bytes: a.bytes + b.bytes,
    oldestMs: times.length === 0 ? null : Math.min(...times),
  };
}

/** What the lanes of a source have still to send, in its order. */
function stretchesOf(leases: readonly Lease[], sourceId: number, start: number): Stretch[] {
  const lanes = leases
    .filter(({ source }) => source.id === sourceId)
    .sort((a, b) => a.start - b.start);
  if (lanes.length === 0) return [{ from: start, to: null }];
  return lanes.map(({ checkpoint }, index) => ({
    from: checkpoint,
    to: lanes[index + 1]?.start ?? null,
  }));
}

/**
 * @param leases of the delivery's lanes; a shard without one counts from its beginning
 * @returns nothing behind when the stream is not there
 */
export async function shardsBacklog(
  log: Log,
  stream: string,
  leases: readonly Lease[],
  clock: Clock,
): Promise<Backlogs> {
  const description = log.streams().find(({ name }) => name === stream);
  const sum = new Sum();
  for (const shard of description?.shards ?? []) {
    for (const stretch of stretchesOf(leases, shard.id, shard.trimSequence)) {
      sum.add(stretch, await shardAmount(log, shard.id, stretch));
    }
  }
  return sum.total(clock);
}

/** What leases of any sources have still to send; of sources that are gone, nothing. */
export async function leasesBacklog(
  log: Log,
  video: VideoStore,
  leases: readonly Lease[],
  clock: Clock,
): Promise<Backlog> {
  const sum = new Sum();
  const shards = new Set(log.streams().flatMap((stream) => stream.shards.map(({ id }) => id)));
  for (const kind of ['shard', 'camera'] as const) {
    const own = leases.filter(({ source }) => source.kind === kind);
    for (const id of new Set(own.map(({ source }) => source.id))) {
      if (kind === 'shard' && !shards.has(id)) continue;
      for (const stretch of stretchesOf(own, id, 0)) {
        sum.add(
          stretch,
          await (kind === 'shard'
            ? shardAmount(log, id, stretch)
            : cameraAmount(video, id, stretch)),
        );
      }
    }
  }
  return sum.total(clock).all;
}

async function shardAmount(log: Log, shardId: number, { from, to }: Stretch): Promise<Amount> {
  const all = await log.backlog(shardId, from);
  const later = to === null ? { records: 0, bytes: 0 } : await log.backlog(shardId, to);
  const records = Math.max(0, all.records - later.records);
  return {
    records,
    bytes: Math.max(0, all.bytes - later.bytes),
    oldestMs: records === 0 ? null : all.oldestArrivalMs,
  };
}

/** @param leases of the delivery's lanes; their checkpoints are the next media file */
export async function cameraBacklog(
  video: VideoStore,
  camera: string,
  leases: readonly Lease[],
  clock: Clock,
): Promise<Backlogs> {
  const description = (await video.cameras()).find(({ name }) => name === camera);
  const sum = new Sum();
  if (description !== undefined) {
    for (const stretch of stretchesOf(leases, description.id, 0)) {
      sum.add(stretch, await cameraAmount(video, description.id, stretch));
    }
  }
  return sum.total(clock);
}

async function cameraAmount(
  video: VideoStore,
  cameraId: number,
  { from, to }: Stretch,
): Promise<Amount> {
  let records = 0;
  let bytes = 0;
  let oldestMs: number | null = null;
  for (let next = from; ;) {
    const files = await video.closedMediaFiles(cameraId, next, filesAtOnce);
    for (const file of files) {
      if (to !== null && file.id >= to) return { records, bytes, oldestMs };
      records += 1;
      bytes += file.bytes;
      oldestMs ??= Math.floor(file.endUs / 1000);
      next = file.id + 1;
    }
    if (files.length < filesAtOnce) return { records, bytes, oldestMs };
  }
}
