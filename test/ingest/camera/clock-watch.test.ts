import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ClockFault, ClockWatch } from '../../../ingest/camera/clock-watch.ts';

const second = 1_000_000;

/** Chunks of 200 ms; both clocks in seconds. What it ended with, and after how many seconds. */
function watch(
  clocks: (step: number) => { readonly media: number; readonly arrival: number },
  options: { readonly steps?: number; readonly isLive?: boolean } = {},
): string {
  const { steps = 2_000, isLive = true } = options;
  const watched = new ClockWatch(isLive);
  for (let step = 0; step < steps; step += 1) {
    const { media, arrival } = clocks(step);
    try {
      watched.check(media * second, arrival * second);
    } catch (error) {
      assert.ok(error instanceof ClockFault, String(error));
      return `${error.kind} after ${Math.round(arrival)} s`;
    }
  }
  return 'believed';
}

describe('the clock of a camera', () => {
  it('is believed when it drifts, jitters, pauses, catches up or sends few frames', () => {
    const steady = (step: number) => ({ media: step * 0.2, arrival: step * 0.2 });
    assert.equal(watch(steady), 'believed');
    for (const drift of [0.998, 1.002]) {
      assert.equal(
        watch((step) => ({ media: step * 0.2 * drift, arrival: step * 0.2 })),
        'believed',
      );
    }
    const jitter = (step: number) => ({ media: step * 0.2, arrival: Math.ceil(step / 9) * 1.8 });
    assert.equal(watch(jitter), 'believed');
    // Nothing for 40 s; then it goes on where it was, or with all that was held back.
    const paused = (step: number) => ({
      media: step * 0.2,
      arrival: step * 0.2 + (step > 99 ? 40 : 0),
    });
    assert.equal(watch(paused), 'believed');
    const caughtUp = (step: number) => ({
      media: step * 0.2,
      arrival: Math.max(step * 0.2, step > 99 && step < 300 ? 60 : 0),
    });
    assert.equal(watch(caughtUp), 'believed');
    assert.equal(
      watch((step) => ({ media: step * 8, arrival: step * 8 })),
      'believed',
    );
    const burst = (step: number) => ({ media: step * 0.2, arrival: Math.max(9, step * 0.2) });
    assert.equal(watch(burst), 'believed', 'what was held for the recorder comes at once');
  });

  it('is not when it leaps, stands still, crawls or runs away', () => {
    const leap = (by: number) => (step: number) => ({
      media: step * 0.2 + (step >= 100 ? by : 0),
      arrival: step * 0.2,
    });
    for (const by of [3_600, 11, -1, -3_600, 1e9]) {
      assert.equal(watch(leap(by)), 'leap after 20 s', `${by}`);
    }
    assert.equal(
      watch((step) => ({ media: step / 90_000, arrival: step * 0.2 })),
      'rate after 15 s',
    );
    assert.equal(
      watch((step) => ({ media: step * 0.1, arrival: step * 0.2 })),
      'rate after 30 s',
    );
    assert.equal(
      watch((step) => ({ media: 0, arrival: step * 5 })),
      'rate after 40 s',
    );
    assert.equal(
      watch((step) => ({ media: step * 0.4, arrival: step * 0.2 })),
      'rate after 15 s',
    );
  });

  it('is not when pictures are to be shown long after they are decoded', () => {
    const watched = new ClockWatch(true);
    watched.check(0, 0, 2 * second);
    assert.throws(
      () => {
        watched.check(second, second, 1_000 * second);
      },
      (error) => error instanceof ClockFault && error.kind === 'leap',
    );
  });

  it('may be as fast as it likes where the input is a file', () => {
    const file = (step: number) => ({ media: step * 0.2, arrival: step * 0.001 });
    assert.equal(watch(file, { isLive: false }), 'believed');
  });
});
