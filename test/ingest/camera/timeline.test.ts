import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Timeline } from '../../../ingest/camera/timeline.ts';
import type { FreeTime } from '../../../storage/model.ts';

const second = 1_000_000;
/** A wall-clock time far from media time 0. */
const t0 = 1_767_225_600 * second;

interface Simulation {
  readonly fragments: number;
  readonly free?: FreeTime;
  /** Wall-clock microseconds that pass while one of media passes. */
  readonly rate?: number;
  /** Delay of the arrival of a chunk that ends at a media time. */
  readonly delayUs?: (mediaUs: number) => number;
  /** What the producer's clock adds to the truth; null: it tells none. */
  readonly producerErrorUs?: ((mediaUs: number) => number) | null;
}

/** A camera that began at t0: fragments of 2 s in chunks of 200 ms. */
function simulate(simulation: Simulation): { startUs: number; durationUs: number }[] {
  const { fragments, rate = 1, delayUs = () => 50_000 } = simulation;
  const producerErrorUs = simulation.producerErrorUs ?? null;
  const timeline = new Timeline();
  if (simulation.free !== undefined) timeline.bound(simulation.free);
  const wallUs = (mediaUs: number): number => t0 + mediaUs * rate;
  const found: { startUs: number; durationUs: number }[] = [];
  for (let fragment = 0; fragment <= fragments; fragment += 1) {
    for (let chunk = 0; chunk < 10; chunk += 1) {
      const mediaUs = fragment * 2 * second + chunk * 200_000;
      timeline.observe({
        arrivalUs: wallUs(mediaUs + 200_000) + delayUs(mediaUs + 200_000),
        mediaEndUs: mediaUs + 200_000,
        producer:
          producerErrorUs === null
            ? null
            : { mediaUs, wallUs: wallUs(mediaUs) + producerErrorUs(mediaUs) },
      });
      if (chunk > 0) continue;
      const instant = { decodeUs: mediaUs, presentationUs: mediaUs };
      if (fragment > 0) found.push(timeline.finish(mediaUs));
      timeline.begin(instant);
    }
  }
  return found;
}

function assertContiguous(fragments: readonly { startUs: number; durationUs: number }[]): void {
  for (const [index, { startUs }] of fragments.entries()) {
    const before = fragments[index - 1];
    if (before !== undefined) assert.equal(startUs, before.startUs + before.durationUs);
    assert.ok(Number.isSafeInteger(startUs));
  }
}

describe('the timeline of a run', () => {
  it("begins by the producer's clock where it is told, by the arrival where not", () => {
    const told = simulate({ fragments: 3, producerErrorUs: () => 0 });
    assert.equal(told[0]?.startUs, t0);
    const untold = simulate({ fragments: 3 });
    assert.equal(untold[0]?.startUs, t0 + 50_000);
  });

  it('does not believe a producer that is more than 5 s off', () => {
    for (const errorUs of [3_600 * second, -6 * second, -50 * 365 * 86_400 * second]) {
      const [first] = simulate({ fragments: 2, producerErrorUs: () => errorUs });
      assert.equal(first?.startUs, t0 + 50_000);
    }
    const [near] = simulate({ fragments: 2, producerErrorUs: () => -4 * second });
    assert.equal(near?.startUs, t0 - 4 * second);
  });

  it('is not put off by a burst at the beginning, nor by frames that come late', () => {
    // The first 1.5 s come at once, as from a server that held them back.
    const burst = simulate({
      fragments: 5,
      delayUs: (mediaUs) => 50_000 + Math.max(0, 1.5 * second - mediaUs),
    });
    assert.equal(burst[0]?.startUs, t0 + 50_000);
    const jittery = simulate({
      fragments: 100,
      delayUs: (mediaUs) => 50_000 + ((mediaUs / 200_000) % 7) * 90_000,
    });
    assertContiguous(jittery);
    for (const [index, { startUs }] of jittery.entries()) {
      assert.ok(Math.abs(startUs - (t0 + index * 2 * second)) < 300_000);
    }
  });

  it('follows a clock that drifts, by 500 ppm at most, without a gap', () => {
    for (const rate of [1 + 100e-6, 1 - 100e-6, 1 + 400e-6]) {
      const fragments = simulate({ fragments: 1_800, rate });
      assertContiguous(fragments);
      for (const [index, { startUs, durationUs }] of fragments.entries()) {
        const truthUs = t0 + index * 2 * second * rate;
        assert.ok(Math.abs(startUs - truthUs) < 100_000, `${startUs - truthUs} after ${index}`);
        assert.ok(Math.abs(durationUs - 2 * second) <= 2 * 500);
      }
    }
    // Beyond what slewing can follow it lags, and still never jumps.
    assertContiguous(simulate({ fragments: 200, rate: 1.01 }));
  });

  it('never begins before the footage that is there', () => {
    const fragments = simulate({
      fragments: 20,
      free: { fromUs: t0 + 3 * second, untilUs: null },
    });
    assert.equal(fragments[0]?.startUs, t0 + 3 * second);
    assertContiguous(fragments);
    assert.equal(fragments[1]!.durationUs, 2 * second - 1_000, 'and makes up for it slowly');
  });

  it('ends before footage that is dated later, and says when there is no more room', () => {
    const timeline = new Timeline();
    const observe = (mediaUs: number): void =>
      timeline.observe({ arrivalUs: t0 + mediaUs, mediaEndUs: mediaUs, producer: null });
    const untilUs = t0 + 3 * second + 500;
    observe(200_000);
    const instant = { decodeUs: 0, presentationUs: 0 };
    assert.equal(timeline.estimate(instant), t0);
    timeline.bound({ fromUs: t0 - second, untilUs });
    timeline.begin(instant);
    observe(2 * second);
    timeline.finish(2 * second);
    timeline.begin({ decodeUs: 2 * second, presentationUs: 2 * second });
    assert.equal(timeline.hasRoomFor(3 * second), true);
    assert.equal(timeline.hasRoomFor(3 * second + 501), false);
    // Late pictures stretch a fragment, but not into what comes after it.
    timeline.observe({ arrivalUs: t0 + 60 * second, mediaEndUs: 40 * second, producer: null });
    const { startUs, durationUs } = timeline.finish(3 * second + 400);
    assert.equal(startUs + durationUs, untilUs);
  });

  it('moves the start of a first fragment that would reach into later footage', () => {
    const timeline = new Timeline();
    timeline.observe({ arrivalUs: t0 + 2 * second, mediaEndUs: 2 * second, producer: null });
    timeline.bound({ fromUs: t0 - second, untilUs: t0 + 1.5 * second });
    timeline.begin({ decodeUs: 0, presentationUs: 0 });
    assert.deepEqual(timeline.finish(2 * second), {
      startUs: t0 - 0.5 * second,
      durationUs: 2 * second,
    });
  });

  it('begins when the first keyframe is shown, and keeps step with the decode times from there', () => {
    const timeline = new Timeline();
    const observe = (mediaUs: number): void =>
      timeline.observe({
        arrivalUs: t0 + mediaUs + 90_000,
        mediaEndUs: mediaUs,
        producer: { mediaUs, wallUs: t0 + mediaUs },
      });
    observe(200_000);
    assert.equal(timeline.begin({ decodeUs: 0, presentationUs: 100_000 }), t0 + 100_000);
    observe(2 * second);
    // A group of pictures that is shown later after decoding moves nothing.
    assert.deepEqual(timeline.finish(2 * second), {
      startUs: t0 + 100_000,
      durationUs: 2 * second,
    });
    timeline.begin({ decodeUs: 2 * second, presentationUs: 2_400_000 });
    observe(4 * second);
    assert.equal(timeline.finish(4 * second).startUs, t0 + 100_000 + 2 * second);
  });

  it('gives the last fragment its own length', () => {
    const timeline = new Timeline();
    timeline.observe({ arrivalUs: t0 + 200_000, mediaEndUs: 200_000, producer: null });
    timeline.begin({ decodeUs: 0, presentationUs: 0 });
    assert.deepEqual(timeline.finish(200_000), {
      startUs: t0,
      durationUs: 200_000,
    });
  });
});
