/**
 * Which of a camera's sender reports its recorder is told of.
 *
 * ffmpeg lines up audio and video by them, so one that contradicts the others (a clock that was
 * set or stands still, one clock per track, a timestamp from nowhere) would make media time jump.
 * Only those pass that agree, to 80 ms, with the track's earlier ones on which RTP timestamp is
 * which time, and with the other tracks on what time it is. How far that is from our own time does
 * not matter, and drift is followed. Without a report ffmpeg goes by the RTP timestamps, which are
 * steady: leaving one out costs nothing.
 */
import { readSenderReport, ticksBetween, timestampOf, type SenderReport } from './rtp.ts';

/** A camera writes both times of a report at once: they can't be far apart. */
const toleranceMs = 80;
/** A report is about what was just sent. */
const awayMsMax = 10_000;
/** Between the first reports of two tracks, which wait for each other on the way. */
const tracksToleranceMs = 2_000;
/** A clock may drift this much from its RTP timestamps, as a share of the time. */
const driftMax = 0.001;
const frameHeaderBytes = 4;

export class ReportFilter {
  /** Ticks per second, by track. */
  readonly #rateOf: (track: number) => number;
  readonly #lastTimestamp = new Map<number, number>();
  /** An instant on both clocks of a track, that the next report is held against. */
  readonly #known = new Map<number, SenderReport>();
  #aheadMs: number | null = null;
  #withheld = 0;

  constructor(rateOf: (track: number) => number) {
    this.#rateOf = rateOf;
  }

  /** Reports that contradicted the others. */
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
    const known = this.#known.get(track);
    const isGood =
      known === undefined
        ? this.#isFirst(track, report, monotonicMs)
        : this.#agrees(track, known, report);
    if (!isGood) this.#withheld += 1;
    return isGood;
  }

  #isFirst(track: number, report: SenderReport, monotonicMs: number): boolean {
    const last = this.#lastTimestamp.get(track);
    const awayTicks = last === undefined ? 0 : Math.abs(ticksBetween(last, report.timestamp));
    const aheadMs = report.ntpMs - monotonicMs;
    const otherMs = this.#aheadMs ?? aheadMs;
    if (awayTicks > (awayMsMax / 1000) * this.#rateOf(track)) return false;
    if (Math.abs(aheadMs - otherMs) > tracksToleranceMs) return false;
    this.#aheadMs = otherMs;
    this.#known.set(track, report);
    return true;
  }

  #agrees(track: number, known: SenderReport, report: SenderReport): boolean {
    // By the packets and not by the report itself, which may say anything.
    const timestamp = this.#lastTimestamp.get(track) ?? known.timestamp;
    const at = (ticks: number): number =>
      known.ntpMs + (ticksBetween(known.timestamp, ticks) / this.#rateOf(track)) * 1000;
    const expectedMs = at(report.timestamp);
    const errorMs = report.ntpMs - expectedMs;
    const isGood = Math.abs(errorMs) <= toleranceMs;
    const nowMs = at(timestamp);
    const followedMs = isGood ? Math.abs(nowMs - known.ntpMs) * driftMax : 0;
    const correctionMs = Math.max(-followedMs, Math.min(followedMs, errorMs));
    this.#known.set(track, { ntpMs: nowMs + correctionMs, timestamp });
    return isGood && Math.abs(expectedMs - nowMs) <= awayMsMax;
  }
}
