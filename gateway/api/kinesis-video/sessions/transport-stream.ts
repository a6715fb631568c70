/**
 * A fragment as a segment of an MPEG transport stream (ISO/IEC 13818-1): one programme, H.264 or
 * H.265, and AAC where there is some. Other sound is left out.
 *
 * Segments are made each by itself, and follow each other as if they were one stream: of every PID a
 * segment has a multiple of sixteen packets, so that the counters, which begin at 0, go on. What
 * that takes is a byte in each of the last packets.
 */
import {
  type InitTrack,
  Mp4Error,
  readInit,
  readMovieFragments,
  type Sample,
  sampleDefaults,
} from '../../../../storage/video/boxes.ts';
import { specificConfig } from '../mkv/writer.ts';

const packetBytes = 188;
const payloadBytesMax = 184;
const tablePid = 0;
const mapPid = 0x1000;
const videoPid = 0x100;
const audioPid = 0x101;
const ticksPerSecond = 90_000;
/** How long before it is decoded the clock is shown. */
const clockLeadTicks = 9_000;
const timeRange = 2 ** 33;

interface Elementary {
  readonly pid: number;
  readonly streamId: number;
  readonly streamType: number;
  readonly track: InitTrack;
  /** A sample as the stream has it. */
  readonly frame: (bytes: Buffer, keyframe: boolean) => Buffer;
}

interface Unit {
  readonly stream: Elementary;
  readonly bytes: Buffer;
  readonly decodeTicks: number;
  readonly showTicks: number;
  readonly keyframe: boolean;
}

/** @param fragment with its times as they are to be @throws Mp4Error */
export function transportSegment(init: Buffer, fragment: Buffer): Buffer {
  const segment = readInit(init);
  const streams = segment.tracks.flatMap((track) => elementaryOf(init, track));
  if (!streams.some(({ pid }) => pid === videoPid)) {
    throw new Mp4Error('unsupported', 'video in a transport stream is H.264 or H.265');
  }
  const units: Unit[] = [];
  for (const { tracks } of readMovieFragments(fragment, sampleDefaults(segment))) {
    for (const { trackId, decodeTime, samples } of tracks) {
      const stream = streams.find(({ track }) => track.trackId === trackId);
      if (stream !== undefined) units.push(...unitsOf(stream, decodeTime, samples, fragment));
    }
  }
  units.sort((one, other) => one.decodeTicks - other.decodeTicks);
  const packets = new Packets();
  packets.tables(streams);
  const lastOf = new Map(units.map((unit) => [unit.stream.pid, unit]));
  for (const unit of units) packets.unit(unit, lastOf.get(unit.stream.pid) === unit);
  packets.fillTables(streams);
  return packets.bytes();
}

function* unitsOf(
  stream: Elementary,
  decodeTime: number,
  samples: readonly Sample[],
  fragment: Buffer,
): Generator<Unit> {
  const scale = ticksPerSecond / stream.track.timescale;
  let at = decodeTime;
  for (const { start, sizeBytes, keyframe, compositionTicks, durationTicks } of samples) {
    yield {
      ...{ stream, keyframe },
      bytes: stream.frame(fragment.subarray(start, start + sizeBytes), keyframe),
      decodeTicks: Math.round(at * scale),
      showTicks: Math.round((at + compositionTicks) * scale),
    };
    at += durationTicks;
  }
}

class Packets {
  readonly #packets: Buffer[] = [];
  readonly #counts = new Map<number, number>();

  bytes(): Buffer {
    return Buffer.concat(this.#packets);
  }

  tables(streams: readonly Elementary[]): void {
    this.#packet(tablePid, programTable, { begins: true });
    this.#packet(mapPid, programMap(streams), { begins: true });
  }

  fillTables(streams: readonly Elementary[]): void {
    while ((this.#counts.get(tablePid) ?? 0) % 16 !== 0) this.tables(streams);
  }

  unit(unit: Unit, isLast: boolean): void {
    const { pid } = unit.stream;
    const content = Buffer.concat([unitHeader(unit), unit.bytes]);
    const clock = pid === videoPid ? unit.decodeTicks - clockLeadTicks : null;
    const firstRoom = payloadBytesMax - (clock === null ? 0 : 8);
    let count = 1 + Math.ceil(Math.max(0, content.length - firstRoom) / payloadBytesMax);
    if (isLast) count += (16 - (((this.#counts.get(pid) ?? 0) + count) % 16)) % 16;
    let at = 0;
    for (let left = count; left > 0; left -= 1) {
      const isFirst = left === count;
      // Something is left for each of the others.
      const size = Math.min(
        isFirst ? firstRoom : payloadBytesMax,
        content.length - at - (left - 1),
      );
      this.#packet(pid, content.subarray(at, at + size), {
        begins: isFirst,
        ...(isFirst && clock !== null ? { clock, isKey: unit.keyframe } : {}),
      });
      at += size;
    }
  }

  #packet(
    pid: number,
    payload: Buffer,
    head: { readonly begins: boolean; readonly clock?: number; readonly isKey?: boolean },
  ): void {
    const count = this.#counts.get(pid) ?? 0;
    this.#counts.set(pid, count + 1);
    const packet = Buffer.alloc(packetBytes, 0xff);
    const adaptationBytes = payloadBytesMax - payload.length;
    packet[0] = 0x47;
    packet.writeUInt16BE((head.begins ? 0x4000 : 0) | pid, 1);
    packet[3] = (adaptationBytes > 0 ? 0x30 : 0x10) | (count % 16);
    if (adaptationBytes > 0) packet[4] = adaptationBytes - 1;
    if (adaptationBytes > 1)
      packet[5] = (head.isKey === true ? 0x40 : 0) | (head.clock === undefined ? 0 : 0x10);
    if (head.clock !== undefined) writeClock(packet, 6, head.clock);
    payload.copy(packet, packetBytes - payload.length);
    this.#packets.push(packet);
  }
}

/** 2.4.3.6 */
function unitHeader({ stream, bytes, decodeTicks, showTicks }: Unit): Buffer {
  const hasBoth = decodeTicks !== showTicks;
  const header = Buffer.alloc(hasBoth ? 19 : 14);
  const isVideo = stream.pid === videoPid;
  header.writeUInt32BE(0x100 | stream.streamId, 0);
  header.writeUInt16BE(isVideo ? 0 : bytes.length + header.length - 6, 4);
  header[6] = 0x80;
  header[7] = hasBoth ? 0xc0 : 0x80;
  header[8] = header.length - 9;
  writeTime(header, 9, hasBoth ? 3 : 2, showTicks);
  if (hasBoth) writeTime(header, 14, 1, decodeTicks);
  return header;
}

function writeTime(bytes: Buffer, at: number, mark: number, ticks: number): void {
  const time = wrapped(ticks);
  bytes[at] = (mark << 4) | (Math.floor(time / 2 ** 30) << 1) | 1;
  bytes.writeUInt16BE((Math.floor(time / 2 ** 15) % 2 ** 15) * 2 + 1, at + 1);
  bytes.writeUInt16BE((time % 2 ** 15) * 2 + 1, at + 3);
}

/** 2.4.3.5, with an extension of 0. */
function writeClock(bytes: Buffer, at: number, ticks: number): void {
  const time = wrapped(ticks);
  bytes.writeUInt32BE(Math.floor(time / 2), at);
  bytes.writeUInt16BE((time % 2) * 0x8000 + 0x7e00, at + 4);
}

function wrapped(ticks: number): number {
  return ((ticks % timeRange) + timeRange) % timeRange;
}

const programTable = section(
  Buffer.from([0x00, 0xb0, 0x0d, 0, 1, 0xc1, 0, 0, 0, 1, 0xe0 | (mapPid >> 8), mapPid & 0xff]),
);

function programMap(streams: readonly Elementary[]): Buffer {
  const entries = streams.flatMap(({ streamType, pid }) => [
    ...[streamType, 0xe0 | (pid >> 8), pid & 0xff, 0xf0, 0],
  ]);
  const head = [0, 1, 0xc1, 0, 0, 0xe0 | (videoPid >> 8), videoPid & 0xff, 0xf0, 0];
  const checksumBytes = 4;
  return section(
    Buffer.from([0x02, 0xb0, head.length + entries.length + checksumBytes, ...head, ...entries]),
  );
}

/** With its pointer before it, its checksum behind it, and filled up to a whole packet. */
function section(bytes: Buffer): Buffer {
  const payload = Buffer.alloc(payloadBytesMax, 0xff);
  payload[0] = 0;
  bytes.copy(payload, 1);
  payload.writeUInt32BE(checksum(bytes), 1 + bytes.length);
  return payload;
}

/** CRC-32/MPEG-2 (annex A). */
function checksum(bytes: Buffer): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte << 24;
    for (let bit = 0; bit < 8; bit += 1) {
      crc = (crc & 0x80000000) === 0 ? crc << 1 : (crc << 1) ^ 0x04c11db7;
    }
  }
  return crc >>> 0;
}

// ---------------------------------------------------------------- frames

function elementaryOf(init: Buffer, track: InitTrack): Elementary[] {
  const { configuration, codec } = track;
  if (configuration === null) return [];
  const body = init.subarray(configuration.bodyStart, configuration.end);
  const video = { pid: videoPid, streamId: 0xe0, track };
  if (configuration.type === 'avcC') {
    const delimiter = Buffer.from('0000000109f0', 'hex');
    const frame = annexB((body.readUInt8(4) & 3) + 1, delimiter, avcSets(body));
    return [{ ...video, streamType: 0x1b, frame }];
  }
  if (configuration.type === 'hvcC') {
    const delimiter = Buffer.from('00000001460150', 'hex');
    const frame = annexB((body.readUInt8(21) & 3) + 1, delimiter, hevcSets(body));
    return [{ ...video, streamType: 0x24, frame }];
  }
  const config = codec.startsWith('mp4a.40') ? specificConfig(body) : null;
  if (config === null) return [];
  return [{ pid: audioPid, streamId: 0xc0, streamType: 0x0f, track, frame: adts(config) }];
}

const startCode = Buffer.from([0, 0, 0, 1]);

/** Start codes in the place of lengths; parameter sets before each keyframe. */
function annexB(
  lengthBytes: number,
  delimiter: Buffer,
  sets: readonly Buffer[],
): Elementary['frame'] {
  const before = sets.flatMap((set) => [startCode, set]);
  return (bytes, keyframe) => {
    const parts: Buffer[] = [delimiter, ...(keyframe ? before : [])];
    for (let at = 0; at + lengthBytes <= bytes.length;) {
      const size = bytes.readUIntBE(at, lengthBytes);
      at += lengthBytes;
      if (at + size > bytes.length) throw new Mp4Error('malformed', 'a picture is cut off');
      parts.push(startCode, bytes.subarray(at, at + size));
      at += size;
    }
    return Buffer.concat(parts);
  };
}

/** ISO/IEC 14496-15, 5.3.3.1 */
function avcSets(body: Buffer): readonly Buffer[] {
  const sets: Buffer[] = [];
  let at = 5;
  for (const mask of [0x1f, 0xff]) {
    const count = body.readUInt8(at) & mask;
    at += 1;
    for (let index = 0; index < count; index += 1) at = takeSet(body, at, sets);
  }
  return sets;
}

/** ISO/IEC 14496-15, 8.3.3.1 */
function hevcSets(body: Buffer): readonly Buffer[] {
  const sets: Buffer[] = [];
  const arrays = body.readUInt8(22);
  let at = 23;
  for (let array = 0; array < arrays; array += 1) {
    const count = body.readUInt16BE(at + 1);
    at += 3;
    for (let index = 0; index < count; index += 1) at = takeSet(body, at, sets);
  }
  return sets;
}

function takeSet(body: Buffer, at: number, sets: Buffer[]): number {
  const end = at + 2 + body.readUInt16BE(at);
  sets.push(body.subarray(at + 2, end));
  return end;
}

/** AAC with a header before each frame (ISO/IEC 14496-3, 1.A.2). */
function adts(config: Buffer): Elementary['frame'] {
  const bits = config.readUInt16BE(0);
  const [objectType, frequency, channels] = [bits >> 11, (bits >> 7) & 15, (bits >> 3) & 15];
  return (bytes) => {
    const size = bytes.length + 7;
    const header = Buffer.from([
      0xff,
      0xf1,
      ((Math.min(objectType, 4) - 1) << 6) | (frequency << 2) | (channels >> 2),
      ((channels & 3) << 6) | (size >> 11),
      (size >> 3) & 0xff,
      ((size & 7) << 5) | 0x1f,
      0xfc,
    ]);
    return Buffer.concat([header, bytes]);
  };
}
