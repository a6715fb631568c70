import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { StreamFunction } from '../../../gateway/api/rest/function-schemas.ts';
import {
  functionAdvice,
  functionTable,
  removedFunctionLine,
} from '../../../gateway/cli/function-status.ts';

const time = '2026-01-01T00:00:00.000Z';
const none = { batches: 0, records: 0 };

const well: StreamFunction = {
  ...{ name: 'notes', stream: 'readings', deadLetter: null, failed: null, held: null },
  function: { kind: 'module', description: '/f.mjs' },
  givenUp: { kept: none, gone: none, newest: null },
  ...{ required: true, state: 'running', lastError: null, advice: null, sinceTime: time },
  ...{ records: 5, backlog: { bytes: 0, records: 0, ms: 0 } },
  metrics: {
    ...{ Invocations: 1, Errors: 0, Throttles: 0, Duration: { Average: 1, Maximum: 1 } },
    ...{ IteratorAge: 0, DeadLetterErrors: 0, FilteredOutEventCount: 0, DroppedEventCount: 0 },
  },
};

test('a function that does its work asks for nothing', () => {
  assert.deepEqual(functionAdvice(well), []);
  assert.deepEqual(functionTable([]), []);
});

test('what somebody can do is said for each thing that is not as it should be', () => {
  const newest = { time, reason: 'it threw Error: no' };
  const failing: StreamFunction = {
    ...well,
    ...{ state: 'backing-off', lastError: '/f.mjs: it threw', advice: 'Correct the function.' },
    failed: { batches: 2, newest, isReplaying: false },
    givenUp: { kept: { batches: 2, records: 3 }, gone: { batches: 1, records: 4 }, newest },
  };
  assert.deepEqual(functionAdvice(failing), [
    'notes: Correct the function.',
    `notes: 4 records (1 batch) given up since ${time} and kept nowhere (at last: it threw Error: no); functions.notes.deadLetter keeps what is given up from now on.`,
    'notes: 2 batches failed (at last: it threw Error: no); "headgate function replay notes" hands them over again.',
  ]);
  assert.match(
    functionTable([failing]).at(-1) ?? '',
    / backing-off +5 +0 +0 s +7 +\/f.mjs: it threw/,
  );
  const held = { by: 'pause', reason: 'paused since noon' } as const;
  assert.deepEqual(functionAdvice({ ...failing, state: 'waiting', held }).slice(0, 1), [
    'notes: "headgate function resume notes" lets it go on.',
  ]);
  const replaying = { ...failing, failed: { batches: 1, newest: null, isReplaying: true } };
  assert.equal(
    functionAdvice(replaying).at(-1),
    'notes: 1 batch failed; they are handed over again now.',
  );
});

test('of one that was removed it is said what is left, and how to let go of it', () => {
  const backlog = { bytes: 100, records: 1, ms: 5 };
  const left = { name: 'notes', backlog, deadLetter: null, failed: null };
  const end =
    'It goes on where it was if it is configured again; "headgate function forget notes" lets go of it.';
  const begin = 'Removed: the function notes is no longer configured; it has not had 1 record.';
  assert.equal(removedFunctionLine(left), `${begin} ${end}`);
  assert.equal(
    removedFunctionLine({ ...left, backlog: { bytes: 0, records: 0, ms: 0 } }),
    `Removed: the function notes is no longer configured. ${end}`,
  );
  const failed = { batches: 3, newest: { time, reason: 'no' }, isReplaying: false };
  assert.equal(
    removedFunctionLine({ ...left, deadLetter: 'stream letters', failed }),
    `${begin} What it gave up stays in stream letters: 3 batches (at last: no). ${end}`,
  );
});
