/**
 * A camera that is fetched from only while somebody watches, as a source. Between viewers it waits;
 * a camera that fails while it is watched fails the run, as any other does.
 *
 * What it sends is recorded only while `recorded` says that somebody needs that; the others play it
 * straight from the relay.
 */
import type { CancelTimer, Clock } from '../../storage/ports.ts';
import { untilFirstAbort } from '../first-abort.ts';
import { SourceError, type Source } from '../source.ts';
import { rtspPullSource, type RtspPullOptions } from './pull-source.ts';
import type { RecordingRequest, RecordRun } from './recording.ts';
import type { Viewers } from './viewers.ts';

export interface WatchedSourceOptions extends RtspPullOptions {
  /** All who watch, those of `recorded` among them. */
  readonly viewers: Viewers;
  /** Those who watch what is recorded. */
  readonly recorded: Viewers;
  /** How long a camera that is not recorded may send nothing. */
  readonly stallTimeoutMs: number;
}

export function watchedSource(options: WatchedSourceOptions): Source {
  const { viewers, ...pull } = options;
  const record: RecordRun = (request) => recordWhileWanted(options, request);
  const source = rtspPullSource({ ...pull, record });
  return {
    name: source.name,
    async run(context) {
      const { signal } = context;
      const ready = (): void => {
        context.ready();
      };
      for (;;) {
        const left = await viewers.someone(signal);
        if (left === null) return;
        const isCalledOff = await untilFirstAbort([signal, left], async (until) => {
          await source.run({ signal: until, ready });
          return until.aborted;
        });
        // It hung up: whether to come again at once is not decided here.
        if (!isCalledOff) return;
      }
    },
  };
}

async function recordWhileWanted(
  { recorded, record, stallTimeoutMs, clock }: WatchedSourceOptions,
  request: RecordingRequest,
): Promise<void> {
  const over = AbortSignal.any([request.signal, request.over]);
  for (;;) {
    // Nothing needs to be held for a recorder that may never come.
    if (!recorded.isWatched) request.onFirstFragment();
    const stall = stalled(clock, stallTimeoutMs, request.lastMediaMs);
    let left: AbortSignal | null;
    try {
      left = await Promise.race([recorded.someone(over), stall.failure]);
    } finally {
      stall.cancel();
    }
    if (left === null) return;
    await record({ ...request, signal: AbortSignal.any([request.signal, left]) });
    // It came to its end by itself.
    if (!left.aborted) return;
  }
}

/** Fails once nothing has come for too long. */
function stalled(
  clock: Clock,
  timeoutMs: number,
  lastMediaMs: () => number,
): { readonly failure: Promise<never>; readonly cancel: CancelTimer } {
  let cancel: CancelTimer = () => undefined;
  const failure = new Promise<never>((_, reject) => {
    const look = (): void => {
      const silentMs = clock.monotonicMs() - lastMediaMs();
      if (silentMs >= timeoutMs) {
        reject(new SourceError('stalled', `nothing came for ${timeoutMs / 1000} s`));
      } else {
        cancel = clock.setTimer(timeoutMs - silentMs, look);
      }
    };
    look();
  });
  return {
    failure,
    cancel: () => {
      cancel();
    },
  };
}
