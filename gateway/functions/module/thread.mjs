/**
 * What runs in a thread of its own: loads somebody's module, and calls its function for each
 * message. It is started from this file, also where all else runs from its TypeScript sources; so
 * it is plain JavaScript, and imports nothing of ours.
 *
 * Its port comes in a message and not as `workerData`, where the module would find it too.
 *
 * @typedef {{ port: import('node:worker_threads').MessagePort, url: string, name: string,
 *   memoryBytesMax: number, answerBytesMax: number }} Start
 * @typedef {{ id: string, payload: Uint8Array, timeoutMs: number, functionName: string }} Call
 */
import { Buffer } from 'node:buffer';
import { spawnSync } from 'node:child_process';
import { basename } from 'node:path';
import { performance } from 'node:perf_hooks';
import { execPath, memoryUsage } from 'node:process';
import { fileURLToPath } from 'node:url';
import { parentPort } from 'node:worker_threads';

const checkMsMax = 5000;
const messageCharactersMax = 300;
const stackCharactersMax = 4096;
const { parse, stringify } = JSON;

parentPort?.once('message', (/** @type {Start} */ start) => void begin(start));

/** @param {Start} start */
async function begin({ port, url, name, memoryBytesMax, answerBytesMax }) {
  let handler;
  try {
    const loaded = await import(url);
    // Of a CommonJS module, where Node sees no export of that name from outside.
    handler = loaded[name] ?? loaded.default?.[name];
    if (typeof handler !== 'function') throw new TypeError(`it exports no function "${name}"`);
  } catch (error) {
    const { message, stack } = described(error);
    port.postMessage({ type: 'unloadable', message: `${message}${placeOf(error, url)}`, stack });
    return;
  }
  port.on('message', async (/** @type {Call} */ call) => {
    const answer = await answered(handler, call, memoryBytesMax, answerBytesMax);
    // What lies outside the heap is bounded by nothing else.
    const isSpent = memoryUsage().external > memoryBytesMax;
    port.postMessage(
      { ...answer, isSpent },
      answer.bytes === undefined ? [] : [answer.bytes.buffer],
    );
  });
  port.postMessage({ type: 'loaded' });
}

async function answered(handler, call, memoryBytesMax, answerBytesMax) {
  try {
    const event = parse(Buffer.from(call.payload).toString());
    const text = stringify((await called(handler, event, contextOf(call, memoryBytesMax))) ?? null);
    if (text === undefined) throw new TypeError('what it returned is not for JSON');
    if (Buffer.byteLength(text) > answerBytesMax) return { type: 'too-large' };
    // Its memory is handed over, so it must not be a part of what others share.
    const bytes = new Uint8Array(Buffer.byteLength(text));
    Buffer.from(bytes.buffer).write(text);
    return { type: 'answer', bytes };
  } catch (error) {
    return { type: 'failed', ...described(error) };
  }
}

/** Either of the two ways in which Lambda's functions for Node answer. */
function called(handler, event, context) {
  return new Promise((resolve, reject) => {
    const returned = handler(event, context, (error, value) => {
      if (error === null || error === undefined) resolve(value);
      else reject(error);
    });
    if (handler.length < 3 || typeof returned?.then === 'function') resolve(returned);
  });
}

/** As Lambda's, where there is something to say (docs.aws.amazon.com/lambda/latest/dg/nodejs-context.html). */
function contextOf({ id, timeoutMs, functionName }, memoryBytesMax) {
  const endMs = performance.now() + timeoutMs;
  return {
    callbackWaitsForEmptyEventLoop: false,
    functionName,
    functionVersion: '$LATEST',
    invokedFunctionArn: `arn:aws:lambda:local:000000000000:function:${functionName}`,
    memoryLimitInMB: String(memoryBytesMax / 2 ** 20),
    awsRequestId: id,
    logGroupName: `/aws/lambda/${functionName}`,
    logStreamName: functionName,
    getRemainingTimeInMillis: () => Math.max(0, Math.round(endMs - performance.now())),
  };
}

/** Of whatever was thrown, which may itself throw when it is looked at. */
function described(error) {
  try {
    const isError = error instanceof Error;
    const whole = isError ? `${error.name}: ${error.message}` : String(error);
    const message = whole.slice(0, messageCharactersMax);
    const stack = isError ? String(error.stack) : '';
    // It begins with all of the message, which may be longer than there is room for.
    const frames = stack.startsWith(whole) ? `${message}${stack.slice(whole.length)}` : stack;
    return { message, stack: frames.slice(0, stackCharactersMax) };
  } catch {
    return { message: 'something that says nothing of itself', stack: '' };
  }
}

/**
 * Where the text of a module is wrong, ` (clean.mjs:3)`; '' if nobody tells. What is thrown says it of
 * some mistakes; of others Node does when it is asked to check the file, which runs nothing of it.
 */
function placeOf(error, url) {
  if (!(error instanceof SyntaxError)) return '';
  const options = { env: {}, timeout: checkMsMax, encoding: 'utf8' };
  const place =
    placeIn(error.stack) ??
    placeIn(spawnSync(execPath, ['--check', fileURLToPath(url)], options).stderr);
  return place === null ? '' : ` (${place})`;
}

function placeIn(text) {
  const [, path, line] = /^(?:file:)?(\/.*):(\d+)\n/.exec(text) ?? [];
  return path === undefined ? null : `${basename(path)}:${line}`;
}
