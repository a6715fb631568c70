import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLogger } from '../../../gateway/observe/logger.ts';
import { startChild } from '../../support/child.ts';

type Line = Record<string, unknown>;

function jsonLogger(level: 'debug' | 'info' = 'debug') {
  const lines: Line[] = [];
  const output = (line: string) => void lines.push(JSON.parse(line) as Line);
  return { lines, logger: createLogger({ level, format: 'json', output }) };
}

test('a line has its level, time, message and fields; a child adds its own', () => {
  const { lines, logger } = jsonLogger();
  logger.child({ camera: 'front' }).child({ runId: 3 }).warn({ bytes: 10n }, 'recording');
  const { time, ...rest } = lines[0]!;
  assert.deepEqual(rest, {
    level: 'warn',
    camera: 'front',
    runId: 3,
    bytes: '10',
    msg: 'recording',
  });
  assert.ok(Math.abs(Date.parse(String(time)) - Date.now()) < 60_000);
});

test('no line has a key twice, whatever its parents said', () => {
  const lines: string[] = [];
  const output = (line: string) => void lines.push(line);
  const logger = createLogger({ level: 'info', format: 'json', output });
  const child = logger.child({ camera: 'a', level: 'x' }).child({ camera: 'b', level: 'y' });
  child.info({ camera: 'c', level: 'z', msg: 'mine' }, 'recording');
  const keys = [...lines[0]!.matchAll(/"(\w+)":/g)].map(([, key]) => key);
  assert.deepEqual(keys.sort(), ['camera', 'level', 'level_', 'msg', 'msg_', 'time']);
  assert.match(lines[0]!, /"camera":"c"/);
});

test('lines below the level are not written', () => {
  const { lines, logger } = jsonLogger('info');
  logger.debug({}, 'no');
  logger.info({}, 'yes');
  logger.child({ a: 1 }).debug({}, 'no');
  assert.deepEqual(
    lines.map((line) => line['msg']),
    ['yes'],
  );
});

test('no secret gets into a line, at any depth, in any field', () => {
  const { lines, logger } = jsonLogger();
  const error = new Error('401 from rtsp://a:hunter2@h/x', {
    cause: Object.assign(new Error('connect http://u:hunter2@p'), { authToken: 'hunter2' }),
  });
  logger.child({ password: 'hunter2' }).error(
    {
      error,
      config: { users: [{ username: 'a', password: 'hunter2' }], accessToken: ['hunter2'] },
      headers: { Authorization: 'Bearer hunter2', cookie: 'hunter2' },
      url: 'rtsp://admin:hunter2@camera/1?token=hunter2',
      data: Buffer.from('hunter2'),
    },
    'it failed',
  );
  const text = JSON.stringify(lines);
  assert.ok(!text.includes('hunter2'), text);
  assert.ok(text.includes('rtsp://a:***@h/x'), 'what is no secret stays');
  assert.ok(text.includes('"username":"a"'));
});

test('what can not be written as it is, is described', () => {
  const { lines, logger } = jsonLogger();
  const circular: Record<string, unknown> = { name: 'x' };
  circular['self'] = circular;
  const deep = JSON.parse('{"a":'.repeat(50) + '1' + '}'.repeat(50)) as Line;
  logger.info(
    {
      circular,
      deep,
      many: Array.from({ length: 5000 }, (_, index) => index),
      long: 'x'.repeat(100_000),
      buffer: Buffer.alloc(7),
      date: new Date(Number.NaN),
      map: new Map([[1, 2]]),
      level: 'mine',
    },
    'odd',
  );
  const line = lines[0]!;
  assert.deepEqual(line['circular'], { name: 'x', self: '<circular>' });
  assert.equal(line['buffer'], '<7 bytes>');
  assert.equal(line['level'], 'info');
  assert.equal(line['level_'], 'mine');
  assert.ok(JSON.stringify(line).length < 15_000);
});

test('lines for people: message first, errors with their stack below, no control characters', () => {
  const lines: string[] = [];
  const logger = createLogger({
    level: 'debug',
    format: 'text',
    output: (line) => void lines.push(line),
  });
  logger.info({ port: 8080, name: 'a b', ok: true }, 'serving');
  logger.error({ error: new TypeError('no') }, 'it failed');
  logger.warn({ client: 'x\u001b[2Jy\n' }, 'odd \u001b]0;title\u0007');
  assert.match(
    lines[0]!,
    /^\d\d:\d\d:\d\d\.\d{3} INFO {2}serving {2}port=8080 name="a b" ok=true\n$/,
  );
  assert.match(lines[1]!, /ERROR it failed {2}error="TypeError: no"\n {4}at /);
  // eslint-disable-next-line no-control-regex -- they are what must not be there
  assert.doesNotMatch(lines[2]!, /[\u0000-\u0009\u000b-\u001f]/);
});

test('lines reach a file descriptor, and a reader that goes away ends nothing', async (t) => {
  const script = `
    import { createLogger } from './gateway/observe/logger.ts';
    const logger = createLogger({ level: 'info', format: 'json', output: 1 });
    logger.info({}, 'first');
    process.stdin.once('data', () => {
      for (let n = 0; n < 1000; n++) logger.info({ n }, 'to nobody');
      setImmediate(() => {
        logger.info({}, 'to nobody');
        logger.flush();
        process.exit(7);
      });
    });
  `;
  const child = startChild(t, process.execPath, [
    '--import',
    'tsx',
    '--input-type=module',
    '-e',
    script,
  ]);
  const [line] = await child.line(/^\{.*first.*$/);
  assert.equal((JSON.parse(line) as Line)['msg'], 'first');
  child.process.stdout?.destroy();
  child.process.stdin?.write('go\n');
  assert.deepEqual(await child.exited, { code: 7, signal: null });
});
