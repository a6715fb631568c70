import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, it } from 'node:test';
import { authenticate } from '../../../ingest/rtsp/authentication.ts';
import type { RtspRequest } from '../../../ingest/rtsp/parser.ts';

const users = [
  { username: 'gate-camera', password: 'p:ä "x"' },
  { username: 'viewer', password: 'other' },
];
const nonce = '0123456789abcdef';

function request(authorization?: string, method = 'ANNOUNCE'): RtspRequest {
  return {
    method,
    url: 'rtsp://box:8554/gate',
    version: '1.0',
    headers: new Map(authorization === undefined ? [] : [['authorization', authorization]]),
    body: Buffer.alloc(0),
  };
}

interface DigestFields {
  algorithm?: 'MD5' | 'SHA-256';
  username?: string;
  password?: string;
  uri?: string;
  method?: string;
  nonce?: string;
  qop?: boolean;
}

function digest(fields: DigestFields = {}): string {
  const {
    algorithm = 'MD5',
    username = 'gate-camera',
    password = 'p:ä "x"',
    uri = 'rtsp://box:8554/gate',
    method = 'ANNOUNCE',
    qop = false,
  } = fields;
  const given = fields.nonce ?? nonce;
  const hash = (text: string): string =>
    createHash(algorithm === 'MD5' ? 'md5' : 'sha256')
      .update(text)
      .digest('hex');
  const middle = qop ? ':00000001:c0ffee:auth:' : ':';
  const response = hash(
    `${hash(`${username}:headgate:${password}`)}:${given}${middle}${hash(`${method}:${uri}`)}`,
  );
  const extra = qop ? ', qop=auth, nc=00000001, cnonce="c0ffee"' : '';
  return (
    `Digest username="${username}", realm="headgate", nonce="${given}", uri="${uri}", ` +
    `response="${response}", algorithm=${algorithm}${extra}`
  );
}

function verdict(authorization?: string, method?: string): string {
  return authenticate(request(authorization, method), users, nonce, 'gate').kind;
}

describe('RTSP authentication', () => {
  it('accepts Digest by MD5 and SHA-256, with and without qop', () => {
    for (const algorithm of ['MD5', 'SHA-256'] as const) {
      for (const qop of [false, true]) {
        const found = authenticate(request(digest({ algorithm, qop })), users, nonce, 'gate');
        assert.deepEqual(found, { kind: 'accepted', user: users[0] });
      }
    }
  });

  it('accepts a track of the camera, its own URL, and a path as what was signed', () => {
    for (const uri of ['rtsp://box:8554/gate/trackID=0', 'rtsp://10.0.0.1/gate/', '/gate']) {
      assert.equal(verdict(digest({ uri })), 'accepted', uri);
    }
  });

  it('accepts Basic', () => {
    const basic = Buffer.from('gate-camera:p:ä "x"').toString('base64');
    assert.equal(verdict(`Basic ${basic}`), 'accepted');
    assert.equal(verdict(`basic ${basic}`), 'accepted');
    const wrong = Buffer.from('gate-camera:p').toString('base64');
    assert.equal(verdict(`Basic ${wrong}`), 'refused');
  });

  it('refuses another password, user, camera or method', () => {
    assert.equal(verdict(digest({ password: 'wrong' })), 'refused');
    assert.equal(verdict(digest({ username: 'viewer' })), 'refused');
    assert.equal(verdict(digest({ username: 'nobody', password: '' })), 'refused');
    assert.equal(verdict(digest({ uri: 'rtsp://box:8554/yard' })), 'refused');
    assert.equal(verdict(digest({ method: 'DESCRIBE' })), 'refused');
  });

  it('asks again, rather than refuses, where nothing was guessed', () => {
    assert.deepEqual(authenticate(request(), users, nonce, 'gate'), {
      kind: 'asked',
      stale: false,
    });
    const other = request(digest({ nonce: 'of another connection' }));
    assert.deepEqual(authenticate(other, users, nonce, 'gate'), { kind: 'asked', stale: true });
  });

  it('accepts nothing when nobody may', () => {
    assert.equal(authenticate(request(digest()), [], nonce, 'gate').kind, 'refused');
  });

  it('refuses rubbish', () => {
    for (const header of [
      '',
      'Digest',
      'Basic',
      'Basic ====',
      'Bearer x',
      'Digest '.repeat(100),
      `Digest nonce="${nonce}"`,
      `Digest nonce="${nonce}", uri="rtsp://box/gate", username="`,
      digest().replace('MD5', 'ROT13'),
      digest() + ' '.repeat(3000),
      `Digest ${'a'.repeat(2000)}`,
    ]) {
      assert.notEqual(verdict(header), 'accepted', header.slice(0, 80));
    }
  });
});
