/** Footage in Matroska, and what ffprobe finds in it. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { elementHeader } from '../../../gateway/api/kinesis-video/mkv/elements.ts';
import { clusterOf, headerOf } from '../../../gateway/api/kinesis-video/mkv/writer.ts';
import type { MediaChunk } from '../../../ingest/camera/chunk-reader.ts';
import { ids, readElementHeader } from '../../../ingest/mkv/ebml.ts';
import { ffprobePath, groupsOf, type ParsedFootage } from '../../storage/video/footage.ts';

const run = promisify(execFile);

/** Encoder arguments: pictures that are decoded in another order than they are shown. */
export const bFrames: readonly string[] = [
  ...['-c:v', 'libx264', '-preset', 'veryfast', '-bf', '3', '-x264-params', 'b-pyramid=normal'],
];

export const tone: readonly string[] = ['-c:a', 'aac', '-b:a', '48k', '-shortest'];

/** One cluster for each group of pictures, as Kinesis producers cut them. */
export const clustersByKeyframe: readonly string[] = [
  ...['-f', 'matroska', '-cluster_size_limit', '50M', '-cluster_time_limit', '20000'],
];

export interface Packet {
  readonly stream: number;
  /** When it is shown. */
  readonly ms: number;
  readonly keyframe: boolean;
  /** MD5 of its bytes. */
  readonly hash: string;
}

interface Probed {
  readonly packets: readonly {
    readonly stream_index: number;
    readonly pts_time: string;
    readonly flags: string;
    readonly data_hash: string;
  }[];
}

/** The packets of a file, in its order. */
export async function packetsOf(bytes: Buffer): Promise<Packet[]> {
  const probe = run(
    ffprobePath ?? 'ffprobe',
    [
      ...['-v', 'error', '-show_packets', '-show_data_hash', 'md5', '-of', 'json'],
      ...['-show_entries', 'packet=stream_index,pts_time,flags,data_hash', '-i', 'pipe:0'],
    ],
    { maxBuffer: 64 * 1024 * 1024 },
  );
  probe.child.stdin?.on('error', () => undefined);
  probe.child.stdin?.end(bytes);
  const { packets } = JSON.parse((await probe).stdout) as Probed;
  return packets.map(({ stream_index, pts_time, flags, data_hash }) => ({
    stream: stream_index,
    ms: Math.round(Number(pts_time) * 1000),
    keyframe: flags.startsWith('K'),
    hash: data_hash.replace(/^MD5:/i, '').toLowerCase(),
  }));
}

/** A stream of Matroska with its clusters apart, as a producer sends it. */
export interface MkvStream {
  /** EBML, the beginning of the segment, its tracks. */
  readonly head: Buffer;
  /** One for each group of pictures. */
  readonly clusters: readonly Buffer[];
}

/**
 * Footage as a producer of Kinesis Video Streams sends it: clusters of unknown size.
 * @param startMs when its first picture is shown, by the stream's own times
 */
export function producerStream(footage: ParsedFootage, startMs = 0): MkvStream {
  const init = { bytes: footage.initBytes };
  const { timescale } = footage.video;
  const shownTicks = ({ video }: MediaChunk): number =>
    (video?.decodeTime ?? 0) + (video?.samples[0]?.compositionTicks ?? 0);
  const groups = groupsOf(footage.chunks);
  const first = groups[0]?.[0];
  const originTicks = first === undefined ? 0 : shownTicks(first);
  const clusters = groups.map((group) => {
    const [head] = group;
    const ticks = head === undefined ? 0 : shownTicks(head) - originTicks;
    const timecodeMs = startMs + Math.round((ticks / timescale) * 1000);
    return openEnded(clusterOf(init, Buffer.concat(group.map(({ bytes }) => bytes)), timecodeMs));
  });
  return { head: headerOf(init), clusters };
}

/** A cluster, as written, with its size made unknown. */
function openEnded(cluster: Buffer): Buffer {
  const header = readElementHeader(cluster, 0, cluster.length);
  if (header === null) throw new Error('no cluster');
  return Buffer.concat([
    elementHeader(ids.Cluster, null),
    cluster.subarray(header.headerBytes, header.headerBytes + (header.sizeBytes ?? 0)),
  ]);
}
