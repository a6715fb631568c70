import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { describe, it } from 'node:test';
import { parse } from 'yaml';
import {
  hasCamera,
  TextNotEditable,
  withCamera,
  withoutCamera,
} from '../../../gateway/config/camera-text.ts';

const entry = { source: { rtsp: 'rtsp://a:0123@10.0.0.5/x' }, verifyTls: false };
const written = [
  '  yard:',
  '    source:',
  '      rtsp: rtsp://a:0123@10.0.0.5/x',
  '    verifyTls: false',
  '',
].join('\n');

interface Parsed {
  cameras: Record<string, unknown>;
}

describe('a camera in the text of the configuration', () => {
  it('is added below the others, and nothing else is touched', () => {
    const before =
      '# top\nhttp: { port: 1 } # c\n\ncameras:\n  # first\n  a: { source: { rtsp: "rtsp://x/y" } } # trailing\n\n  # second\n  b:\n    source:\n      push: { username: u, password: "p${X:-1}" } # here\n';
    const after = '    # end of b\n# after\nstreams: {}\n';
    assert.equal(withCamera(before + after, 'yard', entry), before + written + after);
    assert.equal(withoutCamera(before + written + after, 'yard'), before + after);
  });

  it('is added where there are none yet, however that is written', () => {
    assert.equal(withCamera('', 'yard', entry), `cameras:\n${written}`);
    assert.equal(withCamera('http: {}', 'yard', entry), `http: {}\n\ncameras:\n${written}`);
    assert.equal(withCamera('# x\n', 'yard', entry), `# x\n\ncameras:\n${written}`);
    assert.equal(
      withCamera('cameras: # mine\n#  a:\n#    b: c\nlog: {}\n', 'yard', entry),
      `cameras: # mine\n${written}#  a:\n#    b: c\nlog: {}\n`,
    );
    for (const text of [
      'cameras: {} # none\nlog: {}\n',
      'cameras: null\n',
      'cameras: ~\nlog: {}\n',
      '{}',
      '{ http: {} }',
      'cameras: {\n  # c\n}\n',
    ]) {
      const found = parse(withCamera(text, 'yard', entry)) as Parsed;
      assert.deepEqual(found, { ...(parse(text) as object), cameras: { yard: entry } }, text);
    }
  });

  it('takes the place of one of its name, and leaves the others alone', () => {
    const text =
      'cameras:\r\n    a:\r\n      source: {rtsp: "rtsp://old"}\r\n      # why\r\n      events: null # c\r\n    # b\r\n    b: {source: {rtsp: "rtsp://b"}}\r\n';
    const changed = withCamera(text, 'a', { source: { rtsp: 'rtsp://new' } });
    assert.equal(
      changed,
      'cameras:\r\n    a:\r\n      source:\r\n        rtsp: rtsp://new\r\n    # b\r\n    b: {source: {rtsp: "rtsp://b"}}\r\n',
    );
    assert.equal(
      withoutCamera(changed, 'a'),
      'cameras:\r\n    # b\r\n    b: {source: {rtsp: "rtsp://b"}}\r\n',
    );
    const flow =
      'cameras: { a: {source: {rtsp: "rtsp://a"}}, "b": {source: {rtsp: "rtsp://b"}} } # c\n';
    const more = withCamera(flow, 'yard', entry);
    assert.deepEqual(Object.keys((parse(more) as Parsed).cameras), ['a', 'b', 'yard']);
    assert.match(more, /# c\n$/);
    for (const name of ['a', 'b', 'yard']) {
      const left = Object.keys((parse(withoutCamera(more, name)) as Parsed).cameras);
      assert.deepEqual(
        left,
        ['a', 'b', 'yard'].filter((other) => other !== name),
      );
    }
    assert.deepEqual(parse(withoutCamera(withoutCamera(flow, 'a'), 'b')), { cameras: {} });
    const replaced = parse(withCamera(more, 'a', entry)) as Parsed;
    assert.deepEqual(replaced.cameras['a'], entry);
  });

  it('leaves the reference file as it is but for its own lines', async () => {
    const file = resolve(import.meta.dirname, '../../../headgate.reference.yaml');
    const reference = await readFile(file, 'utf8');
    const changed = withCamera(reference, 'yard', entry);
    assert.equal(changed.replace(written, ''), reference);
    assert.ok(changed.includes(`\ncameras:\n${written}`), 'below its key');
    assert.equal(withoutCamera(changed, 'yard'), reference);
    assert.equal(hasCamera(changed, 'yard'), true);
    assert.equal(hasCamera(reference, 'yard'), false);
  });

  it('is not written into what can not be read', () => {
    for (const text of ['a: [', '- a\n', 'cameras:\n  a: 1\n  a: 2\n', '--- a\n--- b\n', '"']) {
      assert.throws(() => withCamera(text, 'yard', entry), TextNotEditable, text);
    }
    assert.equal(withoutCamera('cameras: {}\n', 'yard'), 'cameras: {}\n');
    const odd = 'x: &a { source: { rtsp: "rtsp://q" } }\ncameras:\n  a: *a\n';
    assert.deepEqual((parse(withCamera(odd, 'yard', entry)) as Parsed).cameras['yard'], entry);
  });
});
