import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { authenticate, challenges } from '../../../../ingest/rtsp/authentication.ts';
import { parseChallenges, Signer } from '../../../../ingest/rtsp/client/authentication.ts';

const user = { username: 'ad"min', password: 'p:ä "x\\' };
const url = 'rtsp://10.0.0.5/live?x=1';
const randomHex = (bytes: number): string => 'ab'.repeat(bytes);

function answer(header: string, method = 'DESCRIBE'): string | null {
  const signer = new Signer(user, randomHex);
  return signer.challenged(parseChallenges(header)) ? signer.authorization(method, url) : null;
}

describe('answers to a 401', () => {
  it('are accepted by the other side, for each way it offers by itself', () => {
    const offered = challenges('nonce1', false);
    for (const header of [...offered, offered.join(', '), [...offered].reverse().join(',')]) {
      const authorization = answer(header);
      assert.notEqual(authorization, null, header);
      const request = {
        method: 'DESCRIBE',
        url,
        version: '1.0',
        headers: new Map([['authorization', authorization ?? '']]),
        body: Buffer.alloc(0),
      };
      assert.equal(authenticate(request, [user], 'nonce1', 'live').kind, 'accepted', header);
    }
  });

  it('are those of RFC 7616, section 3.9.1', () => {
    const signer = new Signer(
      { username: 'Mufasa', password: 'Circle of Life' },
      () => 'f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ',
    );
    const common =
      'realm="http-auth@example.org", qop="auth, auth-int", ' +
      'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"';
    const given = `Digest algorithm=MD5, ${common}, Digest algorithm=SHA-256, ${common}`;
    assert.equal(signer.challenged(parseChallenges(given)), true);
    assert.match(
      signer.authorization('GET', '/dir/index.html') ?? '',
      /response="753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"/,
    );
  });

  it('take the strongest way that is known, and none where none is', () => {
    assert.match(answer('Basic realm="a, Digest b", Digest realm="x", nonce="y"') ?? '', /^Digest/);
    assert.match(answer('Basic realm="x"') ?? '', /^Basic/);
    assert.equal(answer('Digest realm="x", nonce="y", algorithm=SHA-512-256'), null);
    for (const header of ['', 'Bearer', 'NTLM abc==', '"', '=', ',,,', 'realm="x"']) {
      assert.equal(answer(header), null, header);
    }
    assert.equal(parseChallenges('a '.repeat(100_000)).length, 8, 'in bounded time and space');
    parseChallenges(`a${' '.repeat(100_000)}"`);
  });
});
