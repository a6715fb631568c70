/** Footage made by a real ffmpeg, and a real store to put it in. */
import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { promisify } from 'node:util';
import { ChunkReader, type MediaChunk } from '../../../ingest/camera/chunk-reader.ts';
import type { CameraOptions, RunRecording } from '../../../storage/model.ts';
import type { Clock } from '../../../storage/ports.ts';
import { openStore, type Store, type StoreOptions } from '../../../storage/store.ts';
import { localMasterKey } from '../../../storage/keys.ts';
import {
  boxesIn,
  describeTrack,
  type InitSegment,
  type InitTrack,
} from '../../../storage/video/boxes.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { MemoryLogger } from '../../support/memory-logger.ts';
import { MemoryMetrics } from '../../support/memory-metrics.ts';
import { ffmpegPath, findProgram } from '../../support/tools.ts';

const run = promisify(execFile);
export const ffprobePath = findProgram('ffprobe');
const outputMax = 64 * 1024 * 1024;

/** Runs ffmpeg and answers its stdout. */
export async function ffmpeg(...args: readonly string[]): Promise<Buffer> {
  const { stdout } = await run(ffmpegPath, ['-v', 'error', '-nostdin', ...args], {
    encoding: 'buffer',
    maxBuffer: outputMax,
  });
  return stdout;
}

export interface FootageOptions {
  readonly seconds?: number;
  readonly size?: string;
  readonly framesPerSecond?: number;
  /** Frames from keyframe to keyframe. */
  readonly group?: number;
  readonly video?: readonly string[];
  /** Encoder arguments for a sine tone; no audio when left out. */
  readonly audio?: readonly string[];
  /** `-f` and what belongs to it. */
  readonly format?: readonly string[];
}

/** Encodes a test picture; the format is Matroska unless said otherwise. */
export function makeFootage(options: FootageOptions = {}): Promise<Buffer> {
  const { seconds = 6, size = '192x108', framesPerSecond = 15, group = 15 } = options;
  const sound = options.audio ?? null;
  return ffmpeg(
    ...['-f', 'lavfi', '-i', `testsrc2=size=${size}:rate=${framesPerSecond}:duration=${seconds}`],
    ...(sound === null ? [] : ['-f', 'lavfi', '-i', `sine=frequency=440:duration=${seconds}`]),
    ...(options.video ?? ['-c:v', 'libx264', '-preset', 'ultrafast', '-bf', '0']),
    ...['-g', String(group), '-keyint_min', String(group), '-sc_threshold', '0'],
    ...(sound ?? []),
    ...(options.format ?? ['-f', 'matroska']),
    'pipe:1',
  );
}

/** As a camera session makes it: fragmented MP4 in chunks of 200 ms. */
export const fragmentedFormat: readonly string[] = [
  ...['-f', 'mp4', '-frag_duration', '200000', '-write_prft', 'wallclock', '-movflags'],
  '+frag_keyframe+empty_moov+default_base_moof+skip_trailer',
];

export interface ParsedFootage {
  readonly initBytes: Buffer;
  readonly init: InitSegment;
  readonly video: InitTrack;
  readonly chunks: readonly MediaChunk[];
}

export function parseFootage(bytes: Buffer): ParsedFootage {
  const chunks: MediaChunk[] = [];
  let head: { bytes: Buffer; init: InitSegment } | null = null;
  for (const part of new ChunkReader().push(bytes)) {
    if (part.type === 'init') head = part;
    else chunks.push({ ...part.chunk, bytes: Buffer.from(part.chunk.bytes) });
  }
  const video = head?.init.tracks.find(({ kind }) => kind === 'video');
  if (head === null || video === undefined) throw new Error('no init');
  return { initBytes: head.bytes, init: head.init, video, chunks };
}

/** Chunks from keyframe to keyframe. */
export function groupsOf(chunks: readonly MediaChunk[]): MediaChunk[][] {
  const groups: MediaChunk[][] = [];
  for (const chunk of chunks) {
    if (chunk.keyframe) groups.push([]);
    groups.at(-1)?.push(chunk);
  }
  return groups;
}

export function durationUsOf(footage: ParsedFootage, chunks: readonly MediaChunk[]): number {
  const ticks = chunks.reduce((sum, { video }) => sum + (video?.durationTicks ?? 0), 0);
  return Math.round((ticks / footage.video.timescale) * 1e6);
}

export interface OpenedStore {
  readonly store: Store;
  readonly logger: MemoryLogger;
  readonly metrics: MemoryMetrics;
}

/** Opens a store; it is closed when the test ends, if the test did not. */
export async function openVideo(
  context: TestContext,
  folder: string,
  options: {
    clock?: Clock;
    freeBytes?: () => Promise<number>;
    minFreeBytes?: number;
    mediaFileMs?: number;
    masterKeys?: StoreOptions['masterKeys'];
  } = {},
): Promise<OpenedStore> {
  const { clock = new ManualClock(), masterKeys, ...video } = options;
  const logger = new MemoryLogger();
  const metrics = new MemoryMetrics();
  await mkdir(folder, { recursive: true });
  const store = await openStore({
    folder,
    clock,
    logger,
    metrics,
    video: { minFreeBytes: 0, ...video },
    ...(masterKeys === undefined ? {} : { masterKeys }),
  });
  context.after(() => store.close());
  return { store, logger, metrics };
}

export function cameraOptions(name: string, more: Partial<CameraOptions> = {}): CameraOptions {
  return { name, retentionMs: null, maxBytes: null, events: null, ...more };
}

/** A master key in the test's hand, and none of before. */
export function underKey(fill = 1): NonNullable<StoreOptions['masterKeys']> {
  return () => Promise.resolve({ current: localMasterKey(Buffer.alloc(32, fill)), previous: [] });
}

/** A piece of the coded frames of each chunk, long enough that none is found by chance. */
export function framePieces(chunks: readonly MediaChunk[]): readonly Buffer[] {
  const pieceBytes = 24;
  return chunks.map(({ bytes }) => {
    const data = [...boxesIn(bytes)].find(({ type }) => type === 'mdat');
    const middle = Math.floor(((data?.bodyStart ?? 0) + bytes.length) / 2);
    if (data === undefined || middle + pieceBytes > data.end) throw new Error('a chunk too short');
    return bytes.subarray(middle, middle + pieceBytes);
  });
}

/** 2026-01-01, where ManualClock begins. */
export const newYearUs = Date.UTC(2026, 0, 1) * 1000;

export async function beginRun(
  store: Store,
  camera: string,
  footage: ParsedFootage,
  startUs: number,
): Promise<RunRecording> {
  const recording = await store.video.startRun(camera, startUs);
  await recording.setInit(footage.initBytes, footage.init.tracks.map(describeTrack));
  return recording;
}

/** Writes chunks as one fragment, without closing it. */
export async function openFragment(
  recording: RunRecording,
  footage: ParsedFootage,
  chunks: readonly MediaChunk[],
  startUs: number,
): Promise<void> {
  const serverMs = Math.round(startUs / 1000);
  await recording.openFragment({ startUs, producerMs: null, serverMs });
  for (const chunk of chunks) {
    await recording.appendChunk({
      bytes: Buffer.from(chunk.bytes),
      keyframe: chunk.keyframe,
      durationUs: durationUsOf(footage, [chunk]),
    });
  }
}

/** Records groups of pictures as fragments, one after the other; answers where they end. */
export async function recordGroups(
  recording: RunRecording,
  footage: ParsedFootage,
  groups: readonly (readonly MediaChunk[])[],
  startUs: number,
): Promise<number> {
  let atUs = startUs;
  for (const group of groups) {
    await openFragment(recording, footage, group, atUs);
    const durationUs = durationUsOf(footage, group);
    await recording.closeFragment({ durationUs, damaged: false });
    atUs += durationUs;
  }
  return atUs;
}

/** MD5 of every decoded video frame of a file, in order. */
export async function frameHashes(path: string): Promise<readonly string[]> {
  const text = (await ffmpeg('-i', path, '-map', '0:v:0', '-f', 'framemd5', 'pipe:1')).toString();
  return text
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.split(',').at(-1)?.trim() ?? '');
}

/** The store's folder of media files. */
export function mediaFolderOf(folder: string): string {
  return join(folder, 'media');
}
