/**
 * Which of a camera's sender reports its recorder is told of.
 *
 * ffmpeg lines up audio and video by them, so one that contradicts the others (a clock that was
 * set, one clock per track, a timestamp from nowhere) would make media time jump. Only those pass
 * that agree with the first one of the session, to a second, on how far the camera's clock is from
 * ours; how far that is does not matter. Without a report ffmpeg goes by the RTP timestamps, which
 * are steady: leaving one out costs nothing.
 */
import { readSenderReport, ticksBetween, timestampOf } from './rtp.ts';

const toleranceMs = 1_000;
/** Ten seconds of the fastest RTP clock there is among cameras. */
const ticksMax = 10 * 90_000;
const frameHeaderBytes = 4;

export class ReportFilter {
  readonly #lastTimestamp = new Map<number, number>();
  #differenceMs: number | null = null;
  #withheld = 0;

  /** Reports that contradicted the first one. */
  get withheld(): number {
    return this.#withheld;
  }

  /** Takes note of a media packet. @param frame with its four header bytes, as everywhere here */
  media(track: number, frame: Buffer): void {
    const timestamp = timestampOf(frame, frameHeaderBytes);
    if (timestamp !== null) this.#lastTimestamp.set(track, timestamp);
  }

  /** Whether the recorder may have this RTCP packet, which is here now. */
  passes(track: number, frame: Buffer, monotonicMs: number): boolean {
    const report = readSenderReport(frame, frameHeaderBytes);
    if (report === null) return true;
    const differenceMs = report.ntpMs - monotonicMs;
    const last = this.#lastTimestamp.get(track);
    const isNear = last === undefined || Math.abs(ticksBetween(last, report.timestamp)) <= ticksMax;
    if (isNear) this.#differenceMs ??= differenceMs;
    const expectedMs = this.#differenceMs ?? differenceMs;
    if (isNear && Math.abs(differenceMs - expectedMs) <= toleranceMs) return true;
    this.#withheld += 1;
    return false;
  }
}
