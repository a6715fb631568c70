import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { test } from 'node:test';
import { untilFirstAbort } from '../../ingest/first-abort.ts';

const aborted = (signal: AbortSignal): Promise<unknown> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve(signal.reason);
    signal.addEventListener('abort', () => {
      resolve(signal.reason);
    });
  });

test('the first signal ends the work, for its reason, and none remembers it', async () => {
  const closing = new AbortController();
  const request = new AbortController();
  const signals = [closing.signal, request.signal];
  const listeners = (): readonly number[] =>
    signals.map((signal) => getEventListeners(signal, 'abort').length);
  const work = untilFirstAbort(signals, aborted);
  assert.deepEqual(listeners(), [1, 1]);
  request.abort('gone');
  assert.equal(await work, 'gone');
  assert.equal(await untilFirstAbort(signals, aborted), 'gone', 'also when it has come before');
  await assert.rejects(untilFirstAbort([closing.signal], () => Promise.reject(new Error('no'))));
  assert.deepEqual(listeners(), [0, 0]);
});
