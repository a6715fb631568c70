import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { follow, pan, ticks, timeAt, xOf, zoom } from '../../dashboards/timeline/view.ts';

const view = { fromMs: 1_000_000, toMs: 1_600_000 };

describe('the view of the timelines', () => {
  it('finds the time under a position, and the position of a time', () => {
    assert.equal(timeAt(view, 300, 600), 1_300_000);
    assert.equal(xOf(view, 1_300_000, 600), 300);
  });

  it('zooms around the time under the pointer', () => {
    const nearer = zoom(view, 1_150_000, 0.5);
    assert.equal(nearer.toMs - nearer.fromMs, 300_000);
    assert.equal(xOf(nearer, 1_150_000, 600), xOf(view, 1_150_000, 600));
  });

  it('stops zooming at ten seconds and at forty days', () => {
    const nearest = zoom(view, 1_300_000, 1e-9);
    const widest = zoom(view, 1_300_000, 1e9);
    assert.equal(nearest.toMs - nearest.fromMs, 10_000);
    assert.equal(widest.toMs - widest.fromMs, 40 * 86_400_000);
  });

  it('moves and follows without changing its width', () => {
    assert.deepEqual(pan(view, -500), { fromMs: 999_500, toMs: 1_599_500 });
    const followed = follow(view, 5_000_000);
    assert.equal(followed.toMs - followed.fromMs, 600_000);
    assert.ok(followed.toMs > 5_000_000);
  });

  it('marks round times, no closer than asked', () => {
    const marks = ticks(view, 600, 80);
    assert.ok(marks.length >= 3);
    for (const [index, mark] of marks.entries()) {
      assert.equal(mark.timeMs % 60_000, 0);
      const next = marks[index + 1];
      if (next !== undefined) {
        assert.ok(xOf(view, next.timeMs, 600) - xOf(view, mark.timeMs, 600) >= 80);
      }
    }
  });
});
