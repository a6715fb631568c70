/**
 * How long what is ready to run waits for the event loop. Everything that the gateway serves goes
 * through that loop, so its delay is the first thing to grow when the box is too small for its work.
 *
 * Measured all the time, by a timer of 20 ms; what is shown is of the last whole window. A finer one
 * would be the most of what an idle gateway takes: waking up costs more than the measuring.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { CancelTimer, Clock, Metrics } from '../../storage/ports.ts';

const windowMs = 10_000;
const resolutionMs = 20;

export interface LoopDelay {
  /** 99 of 100 waits of the last window were shorter, in milliseconds. */
  p99Ms(): number;
  close(): void;
}

export function watchLoopDelay({ clock, metrics }: { clock: Clock; metrics: Metrics }): LoopDelay {
  const gauge = metrics.gauge(
    'headgate_event_loop_delay_seconds',
    `Delay of the event loop over the last ${windowMs / 1000} s, by quantile.`,
  );
  const histogram = monitorEventLoopDelay({ resolution: resolutionMs });
  histogram.enable();
  let p99Ms = 0;
  let cancel: CancelTimer;
  /** The histogram holds the time between two ticks of its timer: the delay is what is more. */
  const delayMs = (nanoseconds: number): number => Math.max(0, nanoseconds / 1e6 - resolutionMs);
  const nextWindow = (): void => {
    cancel = clock.setTimer(windowMs, () => {
      p99Ms = delayMs(histogram.percentile(99));
      gauge.set(delayMs(histogram.percentile(50)) / 1000, { quantile: '0.5' });
      gauge.set(p99Ms / 1000, { quantile: '0.99' });
      gauge.set(delayMs(histogram.max) / 1000, { quantile: '1' });
      histogram.reset();
      nextWindow();
    });
  };
  nextWindow();
  return {
    p99Ms: () => p99Ms,
    close: () => {
      cancel();
      histogram.disable();
    },
  };
}
