/**
 * Sends a camera's fragments to a media sink, each as soon as it is recorded, over a connection that
 * stays open while there is footage. A fragment is done when the other side has confirmed that it is
 * kept; the checkpoint moves then, and after a cut what was not confirmed goes again.
 *
 * Another connection is opened when the camera's codec changes, for footage that is dated before what
 * was sent, and every half hour, so that credentials and the address stay fresh. At most 16 fragments
 * are on their way, and one is held in memory.
 */
import type { CancelTimer, Clock } from '../../storage/ports.ts';
import { Mp4Error } from '../../storage/video/boxes.ts';
import { Pace } from '../api/kinesis-video/pace.ts';
import { clusterOf, headerOf } from '../api/kinesis-video/mkv/writer.ts';
import { untilFirstAbort } from '../../ingest/first-abort.ts';
import { attemptLimitMs, outOfTime, urgencyOf, type Worker } from './attempts.ts';
import { Outbox, type Outgoing, type OutboxOptions } from './outbox.ts';
import { SinkError, type MediaConnection, type MediaSink } from './sink.ts';
import { pause, within } from './timing.ts';
import { reportLoss } from './uploads.ts';

/** Five are allowed. */
const fragmentsPerSecond = 4;
/** Without footage for so long, a connection is ended: what was sent is confirmed then. */
const quietMs = 10_000;
const connectionMs = 30 * 60_000;
/** A fragment that was refused twice is refused for good. */
const refusalsMax = 2;

export interface MediaStreamOptions extends OutboxOptions {
  readonly sink: MediaSink;
}

/**
 * Runs until it is stopped. What was deleted before it was sent, can't be read or is refused for good
 * is counted and passed.
 * @throws the signal's reason, once it aborts; StorageError
 */
export async function sendMedia(worker: Worker, options: MediaStreamOptions): Promise<void> {
  const outbox = await Outbox.open(worker, options);
  const pace = new Pace(fragmentsPerSecond);
  try {
    for (;;) {
      worker.signal.throwIfAborted();
      outbox.rewind();
      // No connection is opened before there is something to send.
      const first = await outbox.next();
      if (first === null) return;
      await worker.gate.pass(worker.signal);
      try {
        await new Conversation(worker, outbox, pace).hold(options.sink, first.timecodeMs);
      } catch (error) {
        worker.signal.throwIfAborted();
        if (!(error instanceof SinkError)) throw error;
        const delayMs = worker.backOff.failed(error);
        worker.progress.failed(worker.name, outOfTime(error), delayMs);
        await worker.gate.untilNext(delayMs, worker.signal);
      }
    }
  } finally {
    await outbox.close();
  }
}

/** What goes over one connection. */
class Conversation {
  readonly #worker: Worker;
  readonly #outbox: Outbox;
  readonly #pace: Pace;
  /** Something was confirmed. */
  #isAnswered = false;
  /** The other side has said all. */
  #isOver = false;

  constructor(worker: Worker, outbox: Outbox, pace: Pace) {
    this.#worker = worker;
    this.#outbox = outbox;
    this.#pace = pace;
  }

  /** @throws SinkError, StorageError */
  async hold(sink: MediaSink, startMs: number): Promise<void> {
    const { clock, signal } = this.#worker;
    const connection = await within(clock, attemptLimitMs(0), signal, (inner) =>
      sink.connect(startMs, inner),
    );
    const patience = new Patience(clock, () => {
      connection.cut(new SinkError('timeout', 'fragments are not acknowledged'));
    });
    const abort = (): void => {
      connection.cut(new SinkError('aborted', 'called off'));
    };
    signal.addEventListener('abort', abort, { once: true });
    if (signal.aborted) abort();
    try {
      const listening = this.#listen(connection, patience);
      const over = listening
        .catch(() => undefined)
        .then(() => {
          this.#isOver = true;
          return 'over' as const;
        });
      await this.#speak(connection, patience, over);
      connection.end();
      if (!this.#isOver && this.#outbox.awaited.length === 0) return;
      await listening;
      const left = this.#outbox.awaited.length;
      if (left > 0 || !this.#isAnswered) {
        throw new SinkError('unreachable', `it ended with ${left} fragments not acknowledged`);
      }
    } finally {
      signal.removeEventListener('abort', abort);
      patience.end();
      connection.cut(new SinkError('aborted', 'closed'));
    }
  }

  /** Sends until there is a reason for another connection, or none for this one. */
  async #speak(
    connection: MediaConnection,
    patience: Patience,
    over: Promise<'over'>,
  ): Promise<void> {
    const { clock, signal, bandwidth, gate } = this.#worker;
    const openedMs = clock.monotonicMs();
    let last: Outgoing | null = null;
    for (;;) {
      const next = await this.#next(over);
      if (next === null || clock.monotonicMs() - openedMs > connectionMs) return;
      if (gate.held !== null) return;
      if (last !== null && needsAnother(last, next)) return;
      const media = await this.#read(next, last === null);
      if (media === null) continue;
      const oldestMs = next.timecodeMs + Math.floor(next.fragment.durationUs / 1000);
      await pause(clock, this.#pace.take(1, clock.monotonicMs()), signal);
      await bandwidth.take(media.length, urgencyOf(this.#worker, oldestMs), signal);
      next.sizeBytes = media.length;
      next.isSent = true;
      patience.begin(attemptLimitMs(sizeOf(this.#outbox.awaited)));
      await connection.send(media);
      last = next;
    }
  }

  /** null: nothing is left to say, for now. */
  async #next(over: Promise<'over'>): Promise<Outgoing | null> {
    const { clock, signal } = this.#worker;
    if ((await Promise.race([this.#outbox.room(), over])) === 'over') return null;
    const enough = new AbortController();
    const quiet = untilFirstAbort([signal, enough.signal], (first) => pause(clock, quietMs, first));
    try {
      const next = await Promise.race([this.#outbox.next(), over, quiet]);
      return typeof next === 'object' ? next : null;
    } finally {
      enough.abort();
    }
  }

  /** A fragment as it goes out; null: it can't, which is counted. */
  async #read(outgoing: Outgoing, isFirst: boolean): Promise<Buffer | null> {
    const { video } = this.#worker;
    const { fragment, timecodeMs } = outgoing;
    try {
      const init = await video.init(fragment.initId);
      const cluster = clusterOf(init, await video.readFragment(fragment), timecodeMs);
      return isFirst ? Buffer.concat([headerOf(init), cluster]) : cluster;
    } catch (error) {
      if (error instanceof Mp4Error) return this.#giveUp(outgoing, error.message);
      reportLoss(this.#worker, error);
      await this.#outbox.done(outgoing);
      return null;
    }
  }

  /** @throws SinkError for what the other side says is wrong; StorageError */
  async #listen(connection: MediaConnection, patience: Patience): Promise<void> {
    const { progress, backOff, name } = this.#worker;
    for await (const ack of connection.acks()) {
      const outgoing = ack.timecodeMs === null ? undefined : this.#outbox.awaitedAt(ack.timecodeMs);
      if (ack.type === 'persisted') {
        if (outgoing === undefined) continue;
        await this.#outbox.done(outgoing);
        this.#isAnswered = true;
        progress.sent({ records: 1, bytes: outgoing.sizeBytes, objects: 0 });
        backOff.beginAnew();
        progress.recovered(name);
        const left = sizeOf(this.#outbox.awaited);
        if (left === 0) patience.end();
        else patience.begin(attemptLimitMs(left));
        continue;
      }
      const { error } = ack;
      if (outgoing === undefined || !ack.isOfFragment) throw error;
      outgoing.refusals += 1;
      if (error.code !== 'too-large' && outgoing.refusals < refusalsMax) throw error;
      await this.#giveUp(outgoing, error.message);
      // It goes on with the next one, soon.
      backOff.beginAnew();
      throw new SinkError('unavailable', error.message, { cause: error, advice: error.advice });
    }
  }

  async #giveUp(outgoing: Outgoing, reason: string): Promise<null> {
    const { progress, name } = this.#worker;
    progress.lost(name, 1, 'refused', reason);
    await this.#outbox.done(outgoing);
    return null;
  }
}

/** Whether one can't follow the other over the same connection. */
function needsAnother(last: Outgoing, next: Outgoing): boolean {
  return last.fragment.initId !== next.fragment.initId || next.timecodeMs <= last.timecodeMs;
}

function sizeOf(outgoing: readonly Outgoing[]): number {
  return outgoing.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}

/** How long something is waited for. */
class Patience {
  readonly #clock: Clock;
  readonly #atEnd: () => void;
  #cancel: CancelTimer = () => undefined;

  constructor(clock: Clock, atEnd: () => void) {
    this.#clock = clock;
    this.#atEnd = atEnd;
  }

  begin(limitMs: number): void {
    this.#cancel();
    this.#cancel = this.#clock.setTimer(limitMs, this.#atEnd);
  }

  end(): void {
    this.#cancel();
  }
}
