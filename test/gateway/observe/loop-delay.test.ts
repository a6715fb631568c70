import assert from 'node:assert/strict';
import { it } from 'node:test';
import { performance } from 'node:perf_hooks';
import { watchLoopDelay } from '../../../gateway/observe/loop-delay.ts';
import { PrometheusMetrics } from '../../../gateway/observe/metrics.ts';
import { ManualClock } from '../../support/manual-clock.ts';

/** Lets the loop's own timers run for this long. */
const pause = (ms: number): Promise<void> => new Promise((wake) => setTimeout(wake, ms));

it('shows, of the last window, how long the loop was held', async () => {
  const clock = new ManualClock();
  const metrics = new PrometheusMetrics({ processMetrics: false });
  const loopDelay = watchLoopDelay({ clock, metrics });
  try {
    await pause(50);
    const untilMs = performance.now() + 1_000;
    while (performance.now() < untilMs);
    await pause(50);
    assert.equal(loopDelay.p99Ms(), 0, 'the window is not over');
    clock.advance(10_000);
    assert.ok(loopDelay.p99Ms() >= 900, `p99 is ${loopDelay.p99Ms()} ms`);
    const line = /^headgate_event_loop_delay_seconds\{quantile="1"\} (.*)$/m.exec(
      await metrics.render(),
    );
    assert.ok(Number(line?.[1]) >= 0.9, `the metric says ${line?.[1] ?? 'nothing'}`);
    clock.advance(10_000);
    assert.ok(loopDelay.p99Ms() < 900, 'a new window begins anew');
  } finally {
    loopDelay.close();
  }
});
