/** When the disks of the gateway will be full: asked of the store at most once a minute. */
import { stat, statfs } from 'node:fs/promises';
import type { Clock, Metrics } from '../storage/ports.ts';
import type { Store } from '../storage/store.ts';
import type { Deliveries } from './forward/deliveries.ts';
import { fullAtMs, type Growth } from './observe/forecast.ts';

const askEveryMs = 60_000;
/** What is younger says nothing about a day. */
const ageMsMin = 600_000;

export interface ForecastOptions {
  readonly store: Pick<Store, 'log' | 'video'>;
  /** One that is paused and required keeps what it has not sent, however old that is. */
  readonly deliveries: Pick<Deliveries, 'status'>;
  readonly dataDir: string;
  readonly mediaFolder: string;
  /** What footage leaves free. */
  readonly minFreeBytes: number;
  readonly clock: Clock;
  readonly metrics: Metrics;
}

/** @returns asks for the instant at which the first of the disks is full; null: all that is kept fits */
export function forecast(options: ForecastOptions): () => Promise<number | null> {
  const { clock, metrics } = options;
  const gauge = metrics.gauge(
    'headgate_disk_full_timestamp_seconds',
    'When a disk will be full if all goes on as it went; 0: what is kept fits.',
  );
  let asked: { readonly atMs: number; readonly answer: Promise<number | null> } | null = null;
  return () => {
    const nowMs = clock.nowMs();
    if (asked === null || Math.abs(nowMs - asked.atMs) >= askEveryMs) {
      asked = { atMs: nowMs, answer: firstFullMs(options, nowMs) };
      void asked.answer.then(
        (fullMs) => {
          gauge.set((fullMs ?? 0) / 1000);
        },
        () => undefined,
      );
    }
    return asked.answer;
  };
}

async function firstFullMs(options: ForecastOptions, nowMs: number): Promise<number | null> {
  const { store, dataDir, mediaFolder, minFreeBytes } = options;
  const footage = await store.video.growth();
  const paused = (await options.deliveries.status()).filter(
    ({ held, required }) => held?.by === 'pause' && required,
  );
  const pinned = new Set(paused.map(({ from }) => (from.kind === 'stream' ? from.name : null)));
  const streams = store.log.streams().map((stream): Growth => {
    const { name, storedBytes, retentionMs, maxBytes, createdMs } = stream;
    const ageMs = Math.min(nowMs - createdMs, retentionMs);
    const bytesPerMs = ageMs < ageMsMin ? 0 : storedBytes / ageMs;
    return {
      storedBytes,
      retentionMs: pinned.has(name) ? null : retentionMs,
      maxBytes,
      bytesPerMs,
    };
  });
  const [data, media] = await Promise.all([diskOf(dataDir), diskOf(mediaFolder)]);
  if (data === null) return null;
  if (media === null || media.device === data.device) {
    const disk = { freeBytes: data.freeBytes, floorBytes: minFreeBytes };
    return fullAtMs(disk, [...streams, ...footage], nowMs);
  }
  const times = [
    fullAtMs({ freeBytes: data.freeBytes, floorBytes: 0 }, streams, nowMs),
    fullAtMs({ freeBytes: media.freeBytes, floorBytes: minFreeBytes }, footage, nowMs),
  ].filter((time) => time !== null);
  return times.length === 0 ? null : Math.min(...times);
}

async function diskOf(
  folder: string,
): Promise<{ readonly device: number; readonly freeBytes: number } | null> {
  try {
    const [{ dev }, { bavail, bsize }] = await Promise.all([stat(folder), statfs(folder)]);
    return { device: dev, freeBytes: bavail * bsize };
  } catch {
    return null;
  }
}
