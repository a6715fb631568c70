import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { readAnswer, tagOf } from '../../../gateway/hooks/answer.ts';
import { askCommand } from '../../../gateway/hooks/command.ts';
import { HookError, type HookErrorCode } from '../../../gateway/hooks/hook-error.ts';
import { askHttp } from '../../../gateway/hooks/http.ts';
import { askLambda } from '../../../gateway/hooks/lambda.ts';
import type { HookInput } from '../../../gateway/hooks/target.ts';
import { sha256Hex, signatureOf, signingKey } from '../../../gateway/security/sigv4.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { configOf, problemsOf } from '../config/support.ts';
import { keys, serve } from '../functions/support/functions.ts';

const input: HookInput = {
  ...{ hook: 'people', camera: 'front', fragment: 4097, atUs: 1_767_225_600_000_000 },
  ...{ contentType: 'image/jpeg', bytes: Buffer.from([0xff, 0xd8, 0, 1, 2]) },
};
const never = new AbortController().signal;

function hookError(code: HookErrorCode, message = /./) {
  return (error: unknown): boolean =>
    error instanceof HookError && error.code === code && message.test(error.message);
}

test('labels become the text of a tag, the surest first, as many as there is room for', () => {
  const answer = readAnswer(
    Buffer.from(
      '{"labels":[{"name":"car","confidence":0.5},{"name":"dog"},{"name":"car","confidence":0.81,"box":[0,0,9,9]},{"name":"person","confidence":0.974}],"model":"m"}',
    ),
  );
  assert.equal(tagOf(answer!.labels), 'person 0.97, car 0.81, dog');
  assert.equal((JSON.parse(answer!.text) as { model: string }).model, 'm');
  const many = Array.from({ length: 100 }, (_, index) => ({ name: `é${index}`.repeat(9) }));
  const tag = tagOf(many)!;
  assert.ok(Buffer.byteLength(tag) <= 256 && Buffer.byteLength(tag) > 200);
  assert.equal(tagOf([]), null);
  assert.equal(readAnswer(Buffer.from(' \n')), null);
});

for (const [name, text] of Object.entries({
  'no JSON': '<html>',
  'no object': '[]',
  'labels that are no list': '{"labels":"car"}',
  'a label without a name': '{"labels":[{"confidence":1}]}',
  'a line break in a name': '{"labels":[{"name":"a\\nb"}]}',
  'a confidence beyond 1': '{"labels":[{"name":"car","confidence":97}]}',
  'a box of three': '{"labels":[{"name":"car","box":[1,2,3]}]}',
  'too many labels': JSON.stringify({ labels: Array(101).fill({ name: 'a' }) }),
  depths: `{"labels":[],"x":${'['.repeat(100_000)}${']'.repeat(100_000)}}`,
  // Of which some ways of reading take minutes.
  'quotes without end': `{"labels":[],"x":"${'\\"'.repeat(128_000)}`,
})) {
  test(`an answer with ${name} is refused`, () => {
    assert.throws(() => readAnswer(Buffer.from(text)), hookError('bad-answer'));
  });
}

const commandOptions = {
  env: { PATH: process.env['PATH'], SECRET: 'x' },
  timeoutSeconds: 60,
  killGroup: (pid: number) => {
    try {
      process.kill(-pid, 'SIGKILL');
    } catch {
      // It has ended.
    }
  },
};

function command(script: string) {
  const target = { program: process.execPath, arguments: ['-e', script] };
  return askCommand(target, commandOptions);
}

function shell(script: string, more: Partial<typeof commandOptions> = {}) {
  const target = { program: 'sh', arguments: ['-c', script] };
  return askCommand(target, { ...commandOptions, ...more });
}

test('a command gets the bytes and what they are of, and none of our secrets', async () => {
  const answer = await command(`
    const parts = [];
    process.stdin.on('data', (part) => parts.push(part)).on('end', () => {
      const { SECRET, HEADGATE_CAMERA, HEADGATE_FRAGMENT, HEADGATE_CONTENT_TYPE } = process.env;
      const hex = Buffer.concat(parts).toString('hex');
      console.log([hex, SECRET, HEADGATE_CAMERA, HEADGATE_FRAGMENT, HEADGATE_CONTENT_TYPE].join());
    })`)(input, never);
  assert.equal(answer.toString(), 'ffd8000102,,front,4097,image/jpeg\n');
});

test('a command that fails, floods or is not there says so', async () => {
  const failing = command('console.error("no model"); process.exit(3)');
  await assert.rejects(failing(input, never), hookError('failed', /ended with 3: no model/));
  const flooding = command(
    'const b = Buffer.alloc(65536); (function f() { process.stdout.write(b, f) })()',
  );
  await assert.rejects(flooding(input, never), hookError('too-large'));
  const missing = askCommand({ program: '/nowhere/detect', arguments: [] }, commandOptions);
  await assert.rejects(missing(input, never), hookError('unreachable', /No such file/));
});

test('a command gives way to what records, and leaves nothing behind', async () => {
  assert.equal((await shell('nice')(input, never)).toString().trim(), '10');
  const answer = await shell('sleep 1000 < /dev/null > /dev/null 2>&1 & echo $!')(input, never);
  await untilGone(Number(answer.toString()));
});

test('a command ends also when nobody is left to call it off', async () => {
  const hanging = shell('sleep 1000', { timeoutSeconds: 0.1, killGroup: () => undefined });
  await assert.rejects(hanging(input, never), hookError('failed', /SIGKILL/));
});

test('a command that hangs is killed with what it started', async () => {
  const calledOff = new AbortController();
  let pids: readonly number[] = [];
  const url = await new Promise<string>((resolve, reject) => {
    const server = createServer((request, response) => {
      pids = (request.url ?? '').slice(1).split(',').map(Number);
      response.end(() => {
        server.close();
        calledOff.abort(new HookError('timeout', 'too long'));
      });
    });
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      resolve(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    });
  });
  const hanging = command(`
    const child = require('child_process').spawn(process.execPath, ['-e', 'setInterval(() => 0, 1e6)'],
      { stdio: 'inherit' });
    child.once('spawn', () => require('http').get('${url}/' + process.pid + ',' + child.pid));
    setInterval(() => 0, 1e6)`);
  await assert.rejects(hanging(input, calledOff.signal), hookError('timeout'));
  assert.equal(pids.length, 2);
  for (const pid of pids) await untilGone(pid);
});

/** Killed, it is gone as soon as its parent, or the system, has taken note. */
async function untilGone(pid: number): Promise<void> {
  assert.ok(pid > 0);
  while (isAlive(pid)) await new Promise((resolve) => setTimeout(resolve, 10));
}

function isAlive(pid: number): boolean {
  try {
    // The third field, behind the name in brackets.
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return false;
  }
}

test('an endpoint gets the bytes as a POST', async (t) => {
  let seen: unknown = null;
  const url = await serve(t, ({ method, headers }, body, response) => {
    const { authorization, 'content-type': type, 'x-headgate-camera': camera } = headers;
    seen = { method, authorization, type, camera, fragment: headers['x-headgate-fragment'], body };
    response.end('{}');
  });
  const ask = askHttp({ url: `${url}/detect`, authorization: 'Bearer x' }, fetch);
  assert.equal((await ask(input, never)).toString(), '{}');
  assert.deepEqual(seen, {
    ...{ method: 'POST', authorization: 'Bearer x', type: 'image/jpeg', camera: 'front' },
    ...{ fragment: '4097', body: input.bytes },
  });
});

test('an endpoint that fails, floods, redirects, hangs or is away says so', async (t) => {
  const calledOff = new AbortController();
  const url = await serve(t, (request, _body, response) => {
    if (request.url === '/fails') response.writeHead(503).end('busy');
    else if (request.url === '/redirects') response.writeHead(302, { location: '/ok' }).end();
    else if (request.url === '/floods') {
      const flood = (): void => {
        response.write(Buffer.alloc(65_536), (error) => {
          if (error == null && !response.destroyed) flood();
        });
      };
      flood();
    } else calledOff.abort(new HookError('timeout', 'too long'));
  });
  const ask = (path: string, signal = never) =>
    askHttp({ url: `${url}${path}`, authorization: null }, fetch)(input, signal);
  await assert.rejects(ask('/fails'), hookError('failed', /status 503/));
  await assert.rejects(ask('/redirects'), hookError('failed', /status 302/));
  await assert.rejects(ask('/floods'), hookError('too-large'));
  await assert.rejects(ask('/hangs', calledOff.signal), hookError('timeout'));
  const away = askHttp({ url: 'http://127.0.0.1:1/', authorization: null }, fetch);
  await assert.rejects(away(input, never), hookError('unreachable', /127.0.0.1:1 does not answer/));
});

const arn = 'arn:aws:lambda:eu-central-1:123456789012:function:plates:live';

test('a function is invoked with a signature that is right', async (t) => {
  const clock = new ManualClock();
  let isRight = false;
  let seen: unknown = null;
  const endpoint = await serve(t, ({ url = '', headers }, body, response) => {
    const scope = { date: '20260101', region: 'eu-central-1', service: 'lambda' };
    const [, signed = '', signature] =
      /SignedHeaders=([^,]+), Signature=(\w+)$/.exec(headers.authorization ?? '') ?? [];
    const request = {
      ...{ method: 'POST', url: new URL(`${endpoint}${url}`), payloadHash: sha256Hex(body) },
      header: (name: string) => headers[name]?.toString(),
      signedHeaders: signed.split(';'),
    };
    const key = signingKey(keys.secretAccessKey, scope);
    isRight = signature === signatureOf(request, '20260101T000000Z', scope, key);
    const sent = JSON.parse(body.toString()) as unknown;
    seen = { url, type: headers['x-amz-invocation-type'], body: sent };
    response.end('{"labels":[]}');
  });
  const ask = askLambda({ function: arn, region: null, endpoint, ...keys }, { clock, fetch });
  const large = { ...input, bytes: Buffer.alloc(10 ** 6, 'of many pieces') };
  assert.equal((await ask(large, never)).toString(), '{"labels":[]}');
  assert.ok(isRight);
  const { bytes, ...others } = large;
  assert.deepEqual(seen, {
    url: `/2015-03-31/functions/${encodeURIComponent(arn)}/invocations`,
    type: 'RequestResponse',
    body: { ...others, body: bytes.toString('base64') },
  });
});

test('a function that throws, is refused or gets too much says so; one that returns nothing does not', async (t) => {
  const endpoint = await serve(t, ({ url = '' }, _body, response) => {
    if (url.includes('throws')) {
      response.setHeader('x-amz-function-error', 'Unhandled');
      response.end('{"errorMessage":"no model"}');
    } else if (url.includes('nothing')) response.end('null');
    else response.writeHead(403, { 'x-amzn-errortype': 'AccessDeniedException:http://x' }).end();
  });
  const target = { region: 'eu-central-1', endpoint, ...keys };
  const ask = (name: string, asked = input) =>
    askLambda({ ...target, function: name }, { clock: new ManualClock(), fetch })(asked, never);
  await assert.rejects(ask('throws'), hookError('failed', /no model/));
  await assert.rejects(ask('refused'), hookError('failed', /403, AccessDeniedException$/));
  await assert.rejects(
    ask('nothing', { ...input, bytes: Buffer.alloc(5 * 2 ** 20) }),
    hookError('too-large'),
  );
  assert.equal((await ask('nothing')).length, 0);
});

test('the configuration says what is wrong with a hook', () => {
  const camera = "cameras: { front: { source: { rtsp: 'rtsp://10.0.0.1/a' } } }";
  const hooks = (entry: string): string => `${camera}\nhooks: { people: ${entry} }`;
  const sound = configOf(hooks("{ camera: front, to: { http: { url: 'http://127.0.0.1/a' } } }"));
  assert.equal(sound.hooks['people']?.perMinute, 6);
  for (const [entry, problem] of [
    ["{ camera: back, to: { command: { program: 'detect' } } }", /camera.*is not a camera/],
    ["{ camera: front, stream: none, to: { command: { program: 'detect' } } }", /is not a stream/],
    ["{ camera: front, to: { http: { url: 'http://a:b@127.0.0.1/' } } }", /has a user in it/],
    ['{ camera: front, to: { lambda: { function: plates } } }', /needs region/],
    ["{ camera: front, to: { lambda: { function: 'arn:aws:s3:::a' } } }", /needs region/],
    ['{ camera: front, to: {} }', /needs one of its keys/],
  ] as const) {
    const problems = problemsOf(hooks(entry));
    assert.ok(
      problems.some((one) => problem.test(one)),
      problems.join('\n'),
    );
  }
});
