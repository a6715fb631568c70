import assert from 'node:assert/strict';
import { rename, rm, writeFile } from 'node:fs/promises';
import { PassThrough } from 'node:stream';
import { test, type TestContext } from 'node:test';
import type { RemoteFunction } from '../../../gateway/functions/function.ts';
import { Output } from '../../../gateway/functions/module/output.ts';
import { openFunction } from '../../../gateway/functions/open.ts';
import type { ModuleTarget } from '../../../gateway/functions/target.ts';
import type { LogFields } from '../../../storage/ports.ts';
import { MemoryLogger } from '../../support/memory-logger.ts';
import { functionError, ImpatientClock, moduleFile } from './support/functions.ts';

const never = new AbortController().signal;
const timeoutMs = 300_000;

/** Tells when something is said. */
class TellingLogger extends MemoryLogger {
  readonly #awaited: { readonly text: string; readonly tell: () => void }[] = [];

  heard(text: string): Promise<void> {
    return new Promise((tell) => this.#awaited.push({ text, tell }));
  }

  override info(fields: LogFields, message: string): void {
    super.info(fields, message);
    for (const { text, tell } of this.#awaited) if (fields['said'] === text) tell();
  }
}

function opened(t: TestContext, path: string, more: Partial<ModuleTarget> = {}) {
  const clock = new ImpatientClock();
  const logger = new TellingLogger();
  const module = { path, export: 'handler', memoryMaxMiB: 64, concurrency: 1, ...more };
  const answerBytesMax = 1024 ** 2;
  const remote = openFunction({ module }, { clock, logger, fetch, timeoutMs, answerBytesMax });
  t.after(() => remote.close());
  return { clock, logger, remote };
}

async function call(remote: RemoteFunction, event: unknown = {}): Promise<unknown> {
  const payload = Buffer.from(JSON.stringify(event));
  return JSON.parse((await remote.call({ id: 'call-1', payload }, never)).toString()) as unknown;
}

for (const [name, file, source] of [
  ['an export of an ES module', 'a.mjs', 'export const handler = async (event) => event.a;'],
  ['CommonJS', 'a.cjs', 'exports.handler = async (event) => event.a;'],
  [
    'CommonJS that tells nothing of its exports',
    'a.cjs',
    'const n = "handler"; exports[n] = (event) => event.a;',
  ],
  [
    'a callback',
    'a.cjs',
    'exports.handler = (event, context, done) => { setImmediate(done, null, event.a); };',
  ],
  [
    'a promise in spite of a callback',
    'a.mjs',
    'export const handler = async (event, context, done) => event.a;',
  ],
  [
    'a module that waits while it is loaded',
    'a.mjs',
    'const a = await Promise.resolve("a"); export const handler = (event) => event[a];',
  ],
] as const) {
  test(`a function is ${name}`, async (t) => {
    const { remote } = opened(t, await moduleFile(t, source, file));
    assert.equal(await call(remote, { a: 7 }), 7);
  });
}

test('a function learns what Lambda tells, and nothing of our environment', async (t) => {
  const source = `export const handler = (event, context) => {
    const left = context.getRemainingTimeInMillis();
    return { ...context, isInTime: left > 0 && left <= ${timeoutMs}, env: { ...process.env } };
  }`;
  const { remote } = opened(t, await moduleFile(t, source, 'shape.mjs'));
  const { env, isInTime, awsRequestId, functionName, memoryLimitInMB } = (await call(
    remote,
  )) as Record<string, unknown>;
  assert.deepEqual(
    { env, isInTime, awsRequestId, functionName, memoryLimitInMB },
    {
      ...{ env: {}, isInTime: true, awsRequestId: 'call-1' },
      ...{ functionName: 'shape.mjs', memoryLimitInMB: '64' },
    },
  );
});

for (const [name, source, message] of [
  [
    'is no JavaScript',
    '\nexport const handler = (',
    /can't be loaded: SyntaxError.* \(\S+\.mjs:2\)$/,
  ],
  [
    'imports what is not exported',
    'import { nobody } from "node:fs"; export const handler = () => nobody;',
    /can't be loaded: SyntaxError.* \(\S+\.mjs:1\)$/,
  ],
  ['throws while it is loaded', 'throw new Error("no model");', /can't be loaded: Error: no model/],
  ['leaves while it is loaded', 'process.exit(0);', /can't be loaded: its thread ended with 0/],
  ['waits for ever while it is loaded', 'await new Promise(() => {});', /can't be loaded/],
  ['exports nothing of that name', 'export const other = 1;', /exports no function "handler"/],
  ['exports no function', 'export const handler = {};', /exports no function "handler"/],
  ['imports what is not there', 'import "./nowhere.mjs";', /can't be loaded/],
] as const) {
  test(`a module that ${name} is no fault of the call, and mends when its file does`, async (t) => {
    const path = await moduleFile(t, source);
    const { remote } = opened(t, path);
    await assert.rejects(call(remote), functionError('denied', message));
    await writeFile(path, 'export const handler = () => "mended";');
    assert.equal(await call(remote), 'mended');
  });
}

test('a module that is not there is no fault of the call', async (t) => {
  const path = await moduleFile(t, '');
  await rm(path);
  await assert.rejects(
    call(opened(t, path).remote),
    functionError('denied', /can't be read: ENOENT$/),
  );
});

for (const [name, source, code, message] of [
  ['leaves', 'process.exit(3)', 'failed', /ended with 3/],
  [
    'leaves a promise that is refused',
    'Promise.reject(new Error("lost")); return new Promise(() => {})',
    'failed',
    /lost/,
  ],
  [
    'throws later',
    'setImmediate(() => { throw new Error("late") }); return new Promise(() => {})',
    'failed',
    /late/,
  ],
  [
    'throws what throws',
    'throw { get message() { throw 1 }, toString() { throw 2 } }',
    'failed',
    /says nothing/,
  ],
  ['throws nothing', 'throw undefined', 'failed', /undefined/],
  ['answers with what is no JSON', 'return 1n', 'failed', /BigInt/],
  ['answers with a circle', 'const a = {}; a.a = a; return a', 'failed', /circular/],
  ['answers with itself', 'return handler', 'failed', /not for JSON/],
  [
    'fills its memory',
    'const a = []; for (;;) a.push(new Array(1000).fill(a.length + 0.5))',
    'out-of-memory',
    /64 MiB/,
  ],
] as const) {
  test(`a function that ${name} fails, and the next call finds a sound one`, async (t) => {
    const handler = `export function handler({ isSound }) { if (isSound) return 1; ${source}; }`;
    const { remote } = opened(t, await moduleFile(t, handler));
    await assert.rejects(call(remote), functionError(code, message));
    assert.equal(await call(remote, { isSound: true }), 1);
  });
}

test('an answer counts also when the thread ends right behind it', async (t) => {
  const source = `export const handler = async (event) => {
    setImmediate(() => process.exit(1));
    return event.n;
  }`;
  const path = await moduleFile(t, source);
  for (let n = 0; n < 20; n += 1) assert.equal(await call(opened(t, path).remote, { n }), n);
});

test('a function that never lets go of its thread is ended', async (t) => {
  const source = `export function handler({ isSound }) {
    if (isSound) return 1;
    console.log('begun');
    for (;;);
  }`;
  const { remote, clock, logger } = opened(t, await moduleFile(t, source));
  const begun = logger.heard('begun');
  const refused = assert.rejects(call(remote), functionError('timeout'));
  await begun;
  clock.advance(timeoutMs);
  await refused;
  assert.equal(await call(remote, { isSound: true }), 1);
});

test('a function that keeps Buffers loses its thread once they are too many', async (t) => {
  const source = `const kept = [];
    export function handler({ bytes }) {
      kept.push(Buffer.alloc(bytes, 1));
      return kept.length;
    }`;
  const { remote } = opened(t, await moduleFile(t, source));
  assert.equal(await call(remote, { bytes: 2 ** 20 }), 1);
  assert.equal(await call(remote, { bytes: 65 * 2 ** 20 }), 2);
  assert.equal(await call(remote, { bytes: 1 }), 1);
});

test('a module keeps what it knows between calls, until nobody calls it for a minute', async (t) => {
  const source = 'let calls = 0; export const handler = () => (calls += 1);';
  const { remote, clock } = opened(t, await moduleFile(t, source));
  assert.deepEqual([await call(remote), await call(remote)], [1, 2]);
  clock.advance(59_999);
  assert.equal(await call(remote), 3);
  clock.advance(60_000);
  assert.equal(await call(remote), 1);
});

test('a module is read anew when its file is written, or replaced by another', async (t) => {
  const path = await moduleFile(t, 'export const handler = () => 1;');
  const { remote } = opened(t, path);
  assert.equal(await call(remote), 1);
  await writeFile(path, 'export const handler = () => 2;');
  assert.equal(await call(remote), 2);
  await rename(await moduleFile(t, 'export const handler = () => 3;'), path);
  assert.equal(await call(remote), 3);
});

test('calls beyond the threads that there may be wait for one', async (t) => {
  const source = `import { threadId } from 'node:worker_threads';
    let underWay = 0;
    export async function handler() {
      underWay += 1;
      if (underWay > 1) throw new Error('two at once');
      await new Promise((resolve) => setTimeout(resolve, 5));
      underWay -= 1;
      return threadId;
    }`;
  const { remote } = opened(t, await moduleFile(t, source), { concurrency: 3 });
  const threads = await Promise.all(Array.from({ length: 20 }, () => call(remote)));
  assert.equal(new Set(threads).size, 3);
});

test('a call that waits for a thread can be called off', async (t) => {
  const source = 'export const handler = () => new Promise(() => {});';
  const { remote } = opened(t, await moduleFile(t, source));
  const first = assert.rejects(call(remote), functionError('unreachable', /closed/));
  const end = new AbortController();
  const waiting = remote.call({ id: '', payload: Buffer.from('{}') }, end.signal);
  const reason = new Error('enough');
  end.abort(reason);
  await assert.rejects(waiting, reason);
  await remote.close();
  await first;
  await assert.rejects(call(remote), functionError('unreachable', /closed/));
  await remote.close();
});

test('what a module writes to its console is logged', async (t) => {
  const source = `export function handler() {
    console.log('one\\ntwo');
    console.error('three');
    console.log('last');
    return 1;
  }`;
  const { remote, logger } = opened(t, await moduleFile(t, source));
  const last = logger.heard('last');
  await call(remote);
  await last;
  const said = logger.lines.map(({ level, fields }) => `${level} ${String(fields['said'])}`);
  assert.deepEqual(said.sort(), ['info last', 'info one', 'info two', 'warn three']);
});

test('of a flood of lines a hundred a second are logged, and the rest is counted', () => {
  const clock = new ImpatientClock();
  const logger = new MemoryLogger();
  const output = new Output(clock, logger);
  const stream = new PassThrough();
  output.follow(stream, 'info');
  const flood = (lines: number): void => {
    stream.write(`${'x'.repeat(9_999)}\n`.repeat(lines));
    stream.read();
  };
  flood(250);
  clock.advance(1_000);
  flood(1);
  assert.equal(logger.lines.length, 102);
  const said = logger.lines.flatMap(({ fields: { said } }) =>
    typeof said === 'string' ? [said] : [],
  );
  assert.deepEqual([...new Set(said.map((line) => line.length))], [4096]);
  assert.deepEqual(logger.lines.map(({ fields }) => fields['leftOut']).filter(Boolean), [150]);
});

test('a function that floods its console goes on', async (t) => {
  const source = `export function handler({ lines }) {
    for (let line = 0; line < lines; line += 1) console.log('x'.repeat(9_999));
    return 1;
  }`;
  const { remote, logger } = opened(t, await moduleFile(t, source));
  assert.equal(await call(remote, { lines: 1000 }), 1);
  assert.equal(await call(remote, { lines: 0 }), 1);
  assert.ok(logger.lines.length <= 100);
});

test('a module that talks to our side of the thread is not listened to', async (t) => {
  const source = `import { parentPort, workerData } from 'node:worker_threads';
    export function handler() {
      parentPort.postMessage({ type: 'answer', bytes: new Uint8Array(3), isSpent: false });
      return { workerData: workerData ?? null };
    }`;
  const { remote } = opened(t, await moduleFile(t, source));
  assert.deepEqual(await call(remote), { workerData: null });
});
