import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { brokenAtGaps, standingAlone } from '../../dashboards/telemetry/gaps.ts';

const n = null;
const shown = (means: readonly (number | null)[], records: number): string =>
  brokenAtGaps(means, records)
    .map((point) => (point === undefined ? '.' : point === null ? '|' : String(point)))
    .join('');

describe('the line of a chart', () => {
  it('goes on over buckets that are empty because readings are rare', () => {
    assert.equal(shown([1, n, n, 2, n, n, 3, n, n, n, 4], 4), '1..2..3...4');
  });

  it('breaks where nothing came for much longer than usual', () => {
    assert.equal(shown([1, 2, 3, n, n, n, n, n, 4, 5], 5), '123|||||45');
    assert.equal(
      shown([1, n, 2, n, 3, ...Array<null>(20).fill(n), 4], 4),
      `1.2.3${'|'.repeat(20)}4`,
    );
  });

  it('breaks between two bursts of which each fills one bucket', () => {
    assert.equal(shown([1, n, n, n, n, n, n, 2], 10), '1||||||2');
  });

  it('shows what stands alone as a point', () => {
    assert.deepEqual(standingAlone(brokenAtGaps([n, 7, n], 5)), [1]);
    assert.deepEqual(standingAlone(brokenAtGaps([1, n, n, n, n, n, n, 2], 10)), [0, 7]);
    assert.deepEqual(standingAlone(brokenAtGaps([1, 2, n, n, n, n, n, n, 3], 3)), [8]);
    assert.deepEqual(standingAlone(brokenAtGaps([1, n, 2, n, 3], 3)), []);
    assert.deepEqual(standingAlone(brokenAtGaps([n, n], 0)), []);
  });
});
