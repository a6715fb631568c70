import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ReportFilter } from '../../../ingest/rtsp/report-filter.ts';

const rate = 90_000;

function frame(isRtcp: boolean, ntpMs: number, timestamp: number): Buffer {
  const bytes = Buffer.alloc(32);
  bytes.writeUInt32BE(isRtcp ? 0x80c8_0006 : 0x8060_0001, 4);
  if (!isRtcp) {
    bytes.writeUInt32BE(timestamp >>> 0, 8);
    return bytes;
  }
  bytes.writeUInt32BE((Math.floor(ntpMs / 1000) + 2_208_988_800) >>> 0, 12);
  bytes.writeUInt32BE(Math.floor(((ntpMs % 1000) / 1000) * 2 ** 32) >>> 0, 16);
  bytes.writeUInt32BE(timestamp >>> 0, 20);
  return bytes;
}

/** A report every five seconds; how many of how many were withheld. */
function withheld(hours: number, ntpMs: (mediaMs: number) => number, jitterMs = 0): string {
  const filter = new ReportFilter(() => rate);
  let count = 0;
  for (let mediaMs = 0; mediaMs < hours * 3_600_000; mediaMs += 5_000) {
    const timestamp = 0xffff_0000 + (mediaMs * rate) / 1000;
    filter.media(0, frame(false, 0, timestamp));
    filter.passes(0, frame(true, ntpMs(mediaMs), timestamp), mediaMs + (count % 2) * jitterMs);
    count += 1;
  }
  return `${filter.withheld} of ${count}`;
}

describe('sender reports', () => {
  const t0 = Date.UTC(2026, 0, 1);

  it('pass when they agree, for days, however far from our clock they are', () => {
    assert.equal(
      withheld(48, (mediaMs) => t0 + mediaMs, 900),
      '0 of 34560',
    );
    assert.equal(
      withheld(48, (mediaMs) => t0 + mediaMs * 1.0005),
      '0 of 34560',
      'and drift',
    );
    assert.equal(
      withheld(1, (mediaMs) => mediaMs),
      '0 of 720',
      'from 1970',
    );
  });

  it('are withheld from where they stop to agree, and pass when they do again', () => {
    assert.equal(
      withheld(1, (ms) => t0 + ms + (ms >= 1_800_000 ? 5_000 : 0)),
      '360 of 720',
    );
    assert.equal(
      withheld(1, (ms) => t0 + ms + (ms === 1_800_000 ? 5_000 : 0)),
      '1 of 720',
    );
    assert.equal(
      withheld(1, () => t0),
      '719 of 720',
      'it stands still',
    );
    assert.match(
      withheld(1, (ms) => t0 + ms * 1.1),
      /^7\d\d of 720$/,
    );
  });

  it('of two tracks tell one time, about what was sent', () => {
    const filter = new ReportFilter(() => rate);
    filter.media(0, frame(false, 0, 1000));
    filter.media(1, frame(false, 0, 5000));
    assert.equal(filter.passes(0, frame(true, t0, 1000), 0), true);
    assert.equal(filter.passes(1, frame(true, t0 + 86_400_000, 5000), 100), false);
    assert.equal(filter.passes(1, frame(true, t0, 5000 + rate * 3600), 100), false);
    assert.equal(filter.passes(1, frame(true, t0 + 100, 5000), 100), true);
    assert.equal(filter.passes(1, frame(true, t0 + 200, 5000 + rate * 3600), 200), false);
    assert.equal(filter.passes(0, Buffer.alloc(4), 100), true, 'what is no report is not judged');
  });
});
