import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  LiveWindow,
  playlistText,
  segmentsOf,
  targetDurationS,
  type SegmentRow,
} from '../../../../gateway/api/hls/playlist.ts';
import { parseFragmentFile, parseInitFile } from '../../../../gateway/api/hls/urls.ts';

const epochUs = Date.UTC(2026, 0, 31, 9, 30) * 1_000;

/** Rows of 2 s each, one after the other; `changes` apply from their index on. */
function rows(count: number, changes: Record<number, Partial<SegmentRow>> = {}): SegmentRow[] {
  let current: SegmentRow = {
    number: 100,
    runId: 1,
    initId: 1,
    startUs: epochUs,
    durationUs: 2_000_000,
    damaged: false,
  };
  return Array.from({ length: count }, (_, index) => {
    const next =
      index === 0 ? current : { ...current, startUs: current.startUs + current.durationUs };
    current = { ...next, number: 100 + index, ...changes[index] };
    return current;
  });
}

function text(of: readonly SegmentRow[], ended = true, startOffsetS = 0): string {
  return playlistText({
    segments: segmentsOf(of),
    mediaSequence: 0,
    discontinuitySequence: 0,
    targetDurationS: targetDurationS(of),
    ended,
    startOffsetS,
    segmentUri: (row) => `${row.number}.m4s`,
    initUri: (id) => `init-${id}.mp4`,
  });
}

/** What a player makes of a live playlist: the absolute place and continuity of each segment. */
function places(window: LiveWindow): Map<number, { sequence: number; continuity: number }> {
  const { segments, mediaSequence, discontinuitySequence } = window.playlist;
  let continuity = discontinuitySequence;
  return new Map(
    segments.map(({ row, discontinuity }, index) => {
      if (discontinuity) continuity += 1;
      return [row.number, { sequence: mediaSequence + index, continuity }];
    }),
  );
}

test('a run is one piece; every segment says when it was', () => {
  const playlist = text(rows(3));
  assert.equal(playlist.match(/#EXT-X-MAP/g)?.length, 1);
  assert.doesNotMatch(playlist, /#EXT-X-DISCONTINUITY$/m);
  assert.match(
    playlist,
    /#EXT-X-PROGRAM-DATE-TIME:2026-01-31T09:30:02\.000Z\n#EXTINF:2\.000000,\n101\.m4s/,
  );
  assert.match(playlist, /#EXT-X-ENDLIST\n$/);
});

test('a new run, a new init and a hole each are a discontinuity with a map', () => {
  const playlist = text(
    rows(8, {
      2: { runId: 2, startUs: epochUs + 60_000_000 },
      4: { initId: 2 },
      6: { startUs: epochUs + 90_000_000 },
    }),
  );
  const marked = playlist.match(
    /#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI="init-\d\.mp4"\n[^\n]+\n[^\n]+\n(\d+)/g,
  );
  assert.deepEqual(
    marked?.map((part) => `${/init-\d/.exec(part)?.[0] ?? ''} ${part.slice(-3)}`),
    ['init-1 102', 'init-2 104', 'init-2 106'],
  );
});

test('the target duration covers the longest segment, rounded', () => {
  const of = rows(3, { 1: { durationUs: 9_499_000 } });
  assert.match(text(of), /#EXT-X-TARGETDURATION:9\n/);
  assert.equal(targetDurationS(rows(1, { 0: { durationUs: 200_000 } })), 1);
});

test('a range that begins within a segment says where', () => {
  assert.match(text(rows(1), true, 1.25), /#EXT-X-START:TIME-OFFSET=1\.250,PRECISE=YES/);
  assert.doesNotMatch(text(rows(1)), /EXT-X-START/);
});

test('live: a segment keeps its place and continuity however the window slides', () => {
  const all = rows(60, {
    10: { runId: 2, startUs: epochUs + 60_000_000 },
    11: { runId: 3, startUs: epochUs + 70_000_000 },
    25: { initId: 2 },
  });
  const window = new LiveWindow();
  const seen = new Map<number, { sequence: number; continuity: number }>();
  for (let end = 1; end <= all.length; end += 1 + (end % 3)) {
    window.update(all.slice(Math.max(0, end - 8), end));
    window.update(all.slice(Math.max(0, end - 8), end));
    for (const [number, place] of places(window)) {
      assert.deepEqual(place, seen.get(number) ?? place, `segment ${number}`);
      seen.set(number, place);
    }
    assert.ok(window.playlist.segments.length <= 8);
  }
  assert.equal(seen.size, 60);
});

test('live: an answer that was overtaken changes nothing', () => {
  const all = rows(20);
  const window = new LiveWindow();
  window.update(all.slice(0, 8));
  window.update(all.slice(4, 12));
  const before = window.playlist;
  const copy = { ...before, segments: [...before.segments] };
  window.update(all.slice(3, 11));
  assert.deepEqual(window.playlist, copy);
});

test('live: numbers go on above when the clock was set back, over a restart too', () => {
  const all = rows(30, { 10: { runId: 2, startUs: epochUs - 86_400_000_000 } });
  const window = new LiveWindow();
  window.update(all.slice(0, 8));
  const before = window.playlist;
  const after = new LiveWindow();
  after.update(all.slice(20, 28));
  assert.ok(after.playlist.mediaSequence >= before.mediaSequence + before.segments.length);
  window.update(all.slice(6, 14));
  const { segments } = window.playlist;
  assert.deepEqual(
    segments.filter(({ discontinuity }) => discontinuity).map(({ row }) => row.number),
    [110],
  );
});

test('live: after a restart, or a long time unseen, the numbers go on above', () => {
  const all = rows(200, { 150: { runId: 2 } });
  const window = new LiveWindow();
  window.update(all.slice(0, 8));
  window.update(all.slice(5, 13));
  const before = window.playlist;
  const after = new LiveWindow();
  after.update(all.slice(20, 28));
  assert.ok(after.playlist.mediaSequence >= before.mediaSequence + before.segments.length);
  window.update(all.slice(145, 153));
  assert.ok(window.playlist.mediaSequence > after.playlist.mediaSequence);
  assert.ok(window.playlist.discontinuitySequence > before.discontinuitySequence);
});

test('live: the discontinuity sequence stays small, for a large one froze hls.js', () => {
  const window = new LiveWindow();
  window.update(rows(8, { 4: { runId: 12 } }));
  assert.ok(window.playlist.discontinuitySequence < 100);
});

test('live: the target duration does not fall when a long segment has left', () => {
  const all = rows(20, { 3: { durationUs: 12_000_000 }, 4: { durationUs: 2_000_000 } });
  const window = new LiveWindow();
  window.update(all.slice(0, 8));
  window.update(all.slice(6, 14));
  assert.equal(window.playlist.targetDurationS, 12);
});

test('names of media are read strictly', () => {
  assert.deepEqual(parseFragmentFile('7-1769851800000001.m4s'), {
    number: 7,
    startUs: 1769851800000001,
  });
  for (const bad of [
    '7.m4s',
    '-7-1.m4s',
    '7-1.mp4',
    '7-1.m4s/..',
    '9999999999999999999-1.m4s',
    '',
  ]) {
    assert.equal(parseFragmentFile(bad), null, bad);
  }
  for (const bad of ['init-1.mp4', 'init-1-xyz.mp4', 'init--0123456789abcdef.mp4']) {
    assert.equal(parseInitFile(bad), null, bad);
  }
});
