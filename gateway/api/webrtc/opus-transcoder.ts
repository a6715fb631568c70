/**
 * Makes Opus of a camera's AAC, which browsers do not take over WebRTC: one ffmpeg per camera that
 * is watched, fed with ADTS on its standard input. It knows nothing of the camera's clock; what
 * comes out is timed by the samples, and by the present where those leave off.
 *
 * Sources: RFC 3640 section 3.3.6 (AAC-hbr), ISO/IEC 14496-3 (AudioSpecificConfig, ADTS), RFC 3533
 * (Ogg), RFC 7845 (Opus in it).
 */
import { spawn, type ChildProcess } from 'node:child_process';
import type { Clock, Logger } from '../../../storage/ports.ts';
import { readRtp } from '../../../ingest/rtsp/rtp.ts';
import { mediaAttribute, type Media } from '../../../ingest/rtsp/sdp.ts';

export interface OpusTranscoderOptions {
  readonly aac: AacConfiguration;
  readonly ffmpegPath: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Takes RTP packets of Opus. */
  readonly deliver: (packet: Buffer) => void;
}

/** As ADTS numbers them. */
export interface AacConfiguration {
  readonly profile: number;
  readonly frequencyIndex: number;
  readonly channels: number;
}

const adtsBytes = 7;
const frameTicks = 960;
const ticksPerMs = 48;
/** Samples and the present may be this far apart. */
const awayTicksMax = 300 * ticksPerMs;
/** What ffmpeg has not taken yet; past it sound is left out. */
const waitingBytesMax = 256 * 1024;
const pageHeaderBytes = 27;
/** The largest page that Ogg knows. */
const pageBytesMax = pageHeaderBytes + 255 + 255 * 255;

/** What a medium says of its AAC; null: it is something else, or told in a way that is not known. */
export function aacOf(media: Media): AacConfiguration | null {
  if (media.codec !== 'MPEG4-GENERIC') return null;
  const format = mediaAttribute(media, 'fmtp') ?? '';
  const config = /[; ]config=([0-9a-f]{4,32})/i.exec(format)?.[1];
  if (config === undefined || !/mode=AAC-hbr/i.test(format)) return null;
  const bits = Buffer.from(config, 'hex').readUInt16BE();
  const [objectType, frequencyIndex, channels] = [bits >> 11, (bits >> 7) & 0xf, (bits >> 3) & 0xf];
  const isKnown = objectType >= 1 && objectType <= 4 && frequencyIndex < 13;
  return isKnown && channels >= 1 && channels <= 7
    ? { profile: objectType - 1, frequencyIndex, channels }
    : null;
}

/** The access units in the payload of a packet; those that are not whole are left out. */
export function accessUnitsOf(payload: Buffer): readonly Buffer[] {
  if (payload.length < 4) return [];
  const count = payload.readUInt16BE() >> 4;
  const units: Buffer[] = [];
  let at = 2 + 2 * count;
  for (let index = 0; index < count && at <= payload.length; index += 1) {
    const bytes = payload.readUInt16BE(2 + 2 * index) >> 3;
    if (at + bytes > payload.length) break;
    units.push(payload.subarray(at, at + bytes));
    at += bytes;
  }
  return units;
}

/** The packets of an Ogg stream with one page a packet, piece by piece. */
export class OggReader {
  #rest = Buffer.alloc(0);

  /** @throws Error for what is not Ogg */
  push(bytes: Buffer): readonly Buffer[] {
    this.#rest = Buffer.concat([this.#rest, bytes]);
    const packets: Buffer[] = [];
    for (;;) {
      const page = this.#rest;
      if (page.length < pageHeaderBytes) return packets;
      if (page.toString('latin1', 0, 4) !== 'OggS') throw new Error('ffmpeg wrote no Ogg');
      const segments = page[26] ?? 0;
      const table = page.subarray(pageHeaderBytes, pageHeaderBytes + segments);
      let at = pageHeaderBytes + segments;
      const end = at + table.reduce((sum, length) => sum + length, 0);
      if (table.length < segments || page.length < end) {
        if (page.length > pageBytesMax) throw new Error('ffmpeg wrote no Ogg');
        return packets;
      }
      let bytesOfPacket = 0;
      for (const length of table) {
        bytesOfPacket += length;
        if (length === 255) continue;
        packets.push(page.subarray(at, at + bytesOfPacket));
        at += bytesOfPacket;
        bytesOfPacket = 0;
      }
      this.#rest = page.subarray(end);
    }
  }
}

export class OpusTranscoder {
  readonly #options: OpusTranscoderOptions;
  readonly #ffmpeg: ChildProcess;
  readonly #ogg = new OggReader();
  #headers = 2;
  #sequence = 0;
  #timestamp = 0;
  #startMs: number | null = null;
  #isOver = false;

  constructor(options: OpusTranscoderOptions) {
    this.#options = options;
    this.#ffmpeg = spawn(
      options.ffmpegPath,
      [
        ...['-hide_banner', '-loglevel', 'error', '-fflags', 'nobuffer', '-f', 'aac'],
        ...['-probesize', '2048', '-analyzeduration', '0', '-i', 'pipe:0', '-vn'],
        ...['-c:a', 'libopus', '-b:a', '64k', '-ac', '2', '-ar', '48000'],
        ...['-application', 'lowdelay', '-frame_duration', '20'],
        ...['-f', 'ogg', '-page_duration', '20000', '-flush_packets', '1', 'pipe:1'],
      ],
      { stdio: ['pipe', 'pipe', 'pipe'], shell: false },
    );
    const { stdin, stdout, stderr } = this.#ffmpeg;
    let said = '';
    stderr?.on('data', (bytes: Buffer) => {
      said = (said + bytes.toString('utf8')).slice(-400);
    });
    stdout?.on('data', (bytes: Buffer) => {
      this.#take(bytes);
    });
    // It ends before its input does; that is told below.
    stdin?.on('error', () => undefined);
    const failed = (error?: Error): void => {
      if (this.#isOver) return;
      this.#isOver = true;
      const reason = error?.message ?? said.trim();
      options.logger.warn({ reason }, 'no sound over WebRTC: ffmpeg does not make Opus of it');
    };
    this.#ffmpeg.on('error', failed);
    this.#ffmpeg.on('exit', () => {
      failed();
    });
  }

  /** @param packet an RTP packet of the camera's AAC */
  push(packet: Buffer): void {
    const rtp = this.#isOver ? null : readRtp(packet);
    const { stdin } = this.#ffmpeg;
    if (rtp === null || stdin === null || stdin.writableLength > waitingBytesMax) return;
    for (const unit of accessUnitsOf(rtp.payload)) {
      stdin.write(Buffer.concat([adtsHeader(this.#options.aac, unit.length), unit]));
    }
  }

  /** Twice is harmless. */
  close(): void {
    this.#isOver = true;
    this.#ffmpeg.kill('SIGKILL');
  }

  #take(bytes: Buffer): void {
    if (this.#isOver) return;
    try {
      for (const packet of this.#ogg.push(bytes)) {
        if (this.#headers > 0) this.#headers -= 1;
        else this.#deliver(packet);
      }
    } catch (error) {
      this.close();
      this.#options.logger.warn({ error }, 'no sound over WebRTC: ffmpeg does not make Opus of it');
    }
  }

  #deliver(payload: Buffer): void {
    const nowMs = this.#options.clock.monotonicMs();
    this.#startMs ??= nowMs;
    const present = Math.round((nowMs - this.#startMs) * ticksPerMs);
    if (Math.abs(present - this.#timestamp) > awayTicksMax) this.#timestamp = present;
    const packet = Buffer.alloc(12 + payload.length);
    packet[0] = 0x80;
    packet[1] = 111;
    packet.writeUInt16BE(this.#sequence, 2);
    packet.writeUInt32BE(this.#timestamp >>> 0, 4);
    payload.copy(packet, 12);
    this.#sequence = (this.#sequence + 1) & 0xffff;
    this.#timestamp += frameTicks;
    this.#options.deliver(packet);
  }
}

function adtsHeader(
  { profile, frequencyIndex, channels }: AacConfiguration,
  unitBytes: number,
): Buffer {
  const length = unitBytes + adtsBytes;
  return Buffer.from([
    0xff,
    0xf1,
    (profile << 6) | (frequencyIndex << 2) | (channels >> 2),
    ((channels & 3) << 6) | ((length >> 11) & 3),
    (length >> 3) & 0xff,
    ((length & 7) << 5) | 0x1f,
    0xfc,
  ]);
}
