import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fullAtMs, type Growth } from '../../../gateway/observe/forecast.ts';

const hourMs = 3_600_000;
const now = Date.UTC(2026, 0, 1);

/** A MB an hour. */
function growth(more: Partial<Growth> = {}): Growth {
  return {
    ...{ storedBytes: 0, bytesPerMs: 1e6 / hourMs, maxBytes: null, retentionMs: null },
    ...more,
  };
}

function hours(freeMB: number, growths: readonly Growth[], floorMB = 0): number | null {
  const disk = { freeBytes: freeMB * 1e6, floorBytes: floorMB * 1e6 };
  const at = fullAtMs(disk, growths, now);
  return at === null ? null : Math.round(((at - now) / hourMs) * 1000) / 1000;
}

test('a disk is full when what grows without end has taken its room, less what stays free', () => {
  assert.equal(hours(10, [growth()]), 10);
  assert.equal(hours(10, [growth(), growth()], 2), 4);
  assert.equal(hours(2, [growth()], 3), 0);
});

test('what its retention or its budget stops takes no more', () => {
  assert.equal(hours(10, [growth({ retentionMs: 9 * hourMs })]), null);
  assert.equal(hours(10, [growth({ maxBytes: 9e6 })]), null);
  assert.equal(hours(10, [growth({ retentionMs: 11 * hourMs })]), 10);
  assert.equal(hours(1, [growth({ storedBytes: 50e6, maxBytes: 50e6 })]), null);
  // Both for 4 hours, which takes 8 of 10; then one alone.
  assert.equal(hours(10, [growth({ maxBytes: 4e6 }), growth()]), 6);
});

test('what does not grow, and nothing at all, never fill it', () => {
  assert.equal(hours(1, []), null);
  assert.equal(hours(1, [growth({ bytesPerMs: 0, storedBytes: 9 })]), null);
});
