import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import {
  createAwsAuthenticator,
  type AwsAuthenticator,
  type AwsAuthenticatorOptions,
  type AwsRequest,
} from '../../../gateway/security/aws-authenticator.ts';
import { AwsAuthError, type AwsAuthErrorType } from '../../../gateway/security/aws-error.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { changed, credentials, signed, type SigningOptions } from './signing.ts';

const { accessKeyId, secretAccessKey } = credentials;
const mismatch = /^The request signature we calculated does not match/;

interface Bench {
  readonly clock: ManualClock;
  readonly authenticator: AwsAuthenticator;
  readonly sign: (options?: Partial<SigningOptions>) => Promise<AwsRequest>;
  readonly accepts: (request: AwsRequest) => Promise<void>;
  readonly refuses: (
    request: AwsRequest,
    type: AwsAuthErrorType,
    message: RegExp | string,
  ) => Promise<void>;
}

function bench(options: Partial<AwsAuthenticatorOptions> = {}): Bench {
  const clock = new ManualClock(Date.UTC(2026, 10, 1, 12, 0, 0));
  const authenticator = createAwsAuthenticator({
    mode: 'sigv4',
    accountId: '000000000000',
    region: null,
    keys: {
      find: (id) => Promise.resolve(id === accessKeyId ? { name: 'plant', secretAccessKey } : null),
    },
    clock,
    ...options,
  });
  return {
    clock,
    authenticator,
    sign: (options = {}) => signed({ timeMs: clock.nowMs(), ...options }),
    accepts: async (request) => {
      assert.deepEqual(await authenticator.authenticate(request, 'kinesis'), {
        accessKeyId,
        name: 'plant',
        arn: 'arn:aws:iam::000000000000:user/plant',
      });
    },
    refuses: async (request, type, message) => {
      await assert.rejects(authenticator.authenticate(request, 'kinesis'), (error) => {
        assert.ok(error instanceof AwsAuthError, String(error));
        assert.equal(error.type, type, error.message);
        assert.equal(error.status, 400);
        if (typeof message === 'string') assert.equal(error.message, message);
        else assert.match(error.message, message);
        return true;
      });
    },
  };
}

test('what the SDK signs is accepted: with and without the hash of the payload, over HTTP/2, any region', async () => {
  const { sign, accepts } = bench();
  await accepts(await sign());
  await accepts(await sign({ applyChecksum: false }));
  await accepts(await sign({ http2: true }));
  await accepts(await sign({ region: 'eu-central-1' }));
  await accepts(await sign({ host: 'localhost' }));
  await accepts(await sign({ body: '' }));
  await accepts(await sign({ headers: { 'x-amz-user-agent': 'me  and   you' } }));
  await accepts(
    await sign({ path: '/a%20b/c', query: { 'x y': ['2', '1'], b: 'ü/=&+', empty: '' } }),
  );
});

test('whatever is changed after signing is noticed', async () => {
  const { sign, refuses, clock } = bench();
  for (const applyChecksum of [true, false]) {
    const request = await sign({ applyChecksum, query: { a: '1' } });
    const body = Buffer.from(request.body);
    body[0]! ^= 1;
    const other = createHash('sha256').update(body).digest('hex');
    const url = (change: (url: URL) => void): URL => {
      const copy = new URL(request.url);
      change(copy);
      return copy;
    };
    const later = new Date(clock.nowMs() + 1000).toISOString().replace(/[-:]|\.\d+/g, '');
    for (const [what, tampered] of Object.entries({
      body: changed(request, { body }),
      'body, cut': changed(request, { body: body.subarray(1) }),
      'body and its hash': changed(request, { body, headers: { 'x-amz-content-sha256': other } }),
      method: changed(request, { method: 'GET' }),
      path: changed(request, { url: url((copy) => (copy.pathname = '/other')) }),
      query: changed(request, { url: url((copy) => (copy.search = '?a=2')) }),
      'more of a query': changed(request, { url: url((copy) => (copy.search += '&b=')) }),
      host: changed(request, { headers: { host: 'elsewhere' } }),
      target: changed(request, { headers: { 'x-amz-target': 'Kinesis_20131202.DeleteStream' } }),
      'content type': changed(request, { headers: { 'content-type': 'text/plain' } }),
      date: changed(request, { headers: { 'x-amz-date': later } }),
    })) {
      if (what === 'body and its hash' && !applyChecksum) {
        await refuses(tampered, 'InvalidSignatureException', /must be a 'SignedHeader'/);
      } else {
        await refuses(tampered, 'InvalidSignatureException', mismatch).catch((error: unknown) => {
          throw new Error(what, { cause: error });
        });
      }
    }
    const wrong = request.headers
      .get('authorization')!
      .replace(/.$/, (digit) => (digit === '0' ? '1' : '0'));
    for (const authorization of [wrong, wrong.slice(0, -1), `${wrong}0`, wrong.slice(0, -63)]) {
      await refuses(
        changed(request, { headers: { authorization } }),
        'InvalidSignatureException',
        mismatch,
      );
    }
  }
});

test('a body under a hash that the request names itself is not believed', async () => {
  const { sign, refuses } = bench();
  const request = await sign();
  await refuses(
    changed(request, { body: Buffer.from('{}') }),
    'InvalidSignatureException',
    mismatch,
  );
});

test('the wrong secret, another service and the wrong key are refused', async () => {
  const { sign, refuses } = bench({ region: 'us-east-1' });
  await refuses(await sign({ secretAccessKey: 'x' }), 'InvalidSignatureException', mismatch);
  await refuses(
    await sign({ accessKeyId: 'AKIAOTHER' }),
    'UnrecognizedClientException',
    'The security token included in the request is invalid.',
  );
  await refuses(
    await sign({ service: 'dynamodb', region: 'eu-west-1' }),
    'InvalidSignatureException',
    "Credential should be scoped to a valid region, not 'eu-west-1'. Credential should be scoped to correct service: 'kinesis'.",
  );
  await refuses(
    await sign({ sessionToken: 'temporary' }),
    'UnrecognizedClientException',
    'The security token included in the request is invalid.',
  );
});

test('each part of the credential is checked, in the words of the service', async () => {
  const { sign, refuses } = bench();
  const request = await sign();
  const credential = (text: string): AwsRequest =>
    changed(request, {
      headers: {
        authorization: request.headers
          .get('authorization')!
          .replace(/Credential=[^,]*/, `Credential=${text}`),
      },
    });
  for (const text of ['x', `${accessKeyId}/20261101/us-east-1/kinesis`, 'a/b/c/d/e/f']) {
    await refuses(
      credential(text),
      'IncompleteSignatureException',
      `Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '${text}'`,
    );
  }
  await refuses(
    credential(`${accessKeyId}/20261102/us-east-1/kinesis/aws4_reply`),
    'InvalidSignatureException',
    "Credential should be scoped with a valid terminator: 'aws4_request', not 'aws4_reply'. Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20261102' != '20261101', from '20261101T120000Z'.",
  );
  const other = request.headers.get('authorization')!.replace('HMAC-SHA256', 'HMAC-SHA1');
  await refuses(
    changed(request, { headers: { authorization: other } }),
    'IncompleteSignatureException',
    "Unsupported AWS 'algorithm': 'AWS4-HMAC-SHA1'.",
  );
});

test('a request is good for five minutes around its date, and not again after them', async () => {
  const { sign, accepts, refuses, clock } = bench();
  const request = await sign();
  clock.advance(5 * 60_000);
  await accepts(request);
  clock.advance(1000);
  await refuses(
    request,
    'InvalidSignatureException',
    'Signature expired: 20261101T120000Z is now earlier than 20261101T120001Z (20261101T120501Z - 5 min.)',
  );
  await accepts(await sign({ timeMs: clock.nowMs() + 5 * 60_000 }));
  await refuses(
    await sign({ timeMs: clock.nowMs() + 5 * 60_000 + 1000 }),
    'InvalidSignatureException',
    'Signature not yet current: 20261101T121002Z is still later than 20261101T121001Z (20261101T120501Z + 5 min.)',
  );
});

test('equal requests within a second are both accepted', async () => {
  const { sign, accepts } = bench();
  const request = await sign();
  await accepts(request);
  await accepts(request);
});

test('what changes the meaning of a request has to be signed', async () => {
  const { sign, refuses, accepts } = bench();
  const request = await sign();
  for (const name of ['x-amz-target', 'x-amz-date', 'x-amz-content-sha256']) {
    const authorization = request.headers.get('authorization')!;
    const signedHeaders = authorization
      .replace(new RegExp(`;${name}(?=[;,])`), '')
      .replace(new RegExp(`=${name};`), '=');
    await refuses(
      changed(request, { headers: { authorization: signedHeaders } }),
      'InvalidSignatureException',
      `'${name}' must be a 'SignedHeader' in the AWS Authorization.`,
    );
  }
  const unhosted = request.headers.get('authorization')!.replace('host;', '');
  await refuses(
    changed(request, { headers: { authorization: unhosted } }),
    'InvalidSignatureException',
    "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.",
  );
  await refuses(
    changed(request, { headers: { 'x-amz-added': '1' } }),
    'InvalidSignatureException',
    "'x-amz-added' must be a 'SignedHeader' in the AWS Authorization.",
  );
  // What proxies add on the way changes nothing.
  await accepts(changed(request, { headers: { 'x-forwarded-for': '10.0.0.1', via: '1.1 me' } }));
});

test('lists of headers that are none are refused', async () => {
  const { sign, refuses } = bench();
  const request = await sign();
  for (const list of [
    'host;host',
    'host;x y',
    'host;',
    'host;:path',
    `host;${Array.from({ length: 100 }, (_, index) => `x${index}`).join(';')}`,
  ]) {
    const authorization = request.headers
      .get('authorization')!
      .replace(/SignedHeaders=[^,]*/, `SignedHeaders=${list}`);
    const tampered = changed(request, { headers: { authorization } });
    await refuses(tampered, 'InvalidSignatureException', /SignedHeader/);
  }
});

test('what is missing is said, all of it', async () => {
  const { sign, refuses } = bench();
  const request = await sign();
  await refuses(
    changed(request, { headers: { authorization: null } }),
    'MissingAuthenticationTokenException',
    'Missing Authentication Token',
  );
  await refuses(
    changed(request, { headers: { authorization: 'Bearer hg_x', 'x-amz-date': null } }),
    'IncompleteSignatureException',
    "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' parameter. Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. Authorization=Bearer hg_x",
  );
  for (const date of ['201', '20261101', '20261301T000000Z', 'Sun, 01 Nov 2026', '1e3']) {
    await refuses(
      changed(request, { headers: { 'x-amz-date': date } }),
      'IncompleteSignatureException',
      `Date must be in ISO-8601 'basic format'. Got '${date}'. See http://en.wikipedia.org/wiki/ISO_8601`,
    );
  }
});

test('rubbish where a signature should be never gets in, and never throws anything else', async () => {
  const { authenticator, sign } = bench();
  const request = await sign();
  const authorization = request.headers.get('authorization')!;
  const junk = [
    '',
    ' ',
    '=',
    ',',
    ';',
    '/',
    '%',
    'é',
    '\\',
    "'",
    '\t',
    'Credential',
    'x'.repeat(5000),
  ];
  for (let cut = 0; cut < authorization.length; cut += 3) {
    for (const piece of junk) {
      const header = authorization.slice(0, cut) + piece + authorization.slice(cut + 1);
      if (header.replaceAll(/[\s,]+/g, ' ') === authorization.replaceAll(/[\s,]+/g, ' ')) continue;
      const tried = changed(request, { headers: { authorization: header } });
      await assert.rejects(authenticator.authenticate(tried, 'kinesis'), AwsAuthError, header);
    }
  }
});

// ---------------------------------------------------------------- presigned

test('a presigned request is good for as long as it says', async () => {
  const { sign, accepts, refuses, clock } = bench();
  const request = await sign({ expiresIn: 3600 });
  await accepts(request);
  clock.advance(3600_000);
  await accepts(request);
  clock.advance(1000);
  await refuses(
    request,
    'InvalidSignatureException',
    /^Signature expired: 20261101T120000Z is now/,
  );
});

test('a presigned request can not be changed', async () => {
  const { sign, refuses } = bench();
  const request = await sign({ expiresIn: 60 });
  const search = (change: (query: URLSearchParams) => void): AwsRequest => {
    const url = new URL(request.url);
    change(url.searchParams);
    return changed(request, { url });
  };
  for (const tampered of [
    search((query) => query.set('X-Amz-Expires', '604800')),
    search((query) => query.set('X-Amz-Date', '20261101T120001Z')),
    search((query) => query.set('X-Amz-Signature', '0'.repeat(64))),
    search((query) => query.append('more', '1')),
    changed(request, { body: Buffer.from('{}') }),
  ]) {
    await refuses(tampered, 'InvalidSignatureException', mismatch);
  }
  for (const name of ['Credential', 'Signature', 'SignedHeaders', 'Date']) {
    await refuses(
      search((query) => query.delete(`X-Amz-${name}`)),
      'IncompleteSignatureException',
      `AWS query-string parameters must include 'X-Amz-${name}'. Re-examine the query-string parameters.`,
    );
    await refuses(
      search((query) => query.append(`X-Amz-${name}`, 'x')),
      'IncompleteSignatureException',
      `AWS query-string parameter 'X-Amz-${name}' is given more than once.`,
    );
  }
  for (const seconds of ['0', '-1', '604801', '1e3', '']) {
    await refuses(
      search((query) => query.set('X-Amz-Expires', seconds)),
      'IncompleteSignatureException',
      'X-Amz-Expires must be from 1 to 604800 seconds.',
    );
  }
  await refuses(
    changed(request, { headers: { authorization: 'AWS4-HMAC-SHA256 x' } }),
    'InvalidSignatureException',
    "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.",
  );
});

// ---------------------------------------------------------------- unsigned payloads

test('an unsigned payload passes over TLS or from this machine, and nowhere else', async () => {
  const { sign, accepts, refuses } = bench();
  const request = await sign({ headers: { 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' } });
  const from = (encrypted: boolean, remoteAddress: string): AwsRequest =>
    changed(request, { body: Buffer.from('other'), connection: { encrypted, remoteAddress } });
  await accepts(from(true, '10.0.0.9'));
  await accepts(from(false, '127.0.0.1'));
  await accepts(from(false, '::ffff:127.0.0.1'));
  await accepts(from(false, '::1'));
  const text = 'An UNSIGNED-PAYLOAD is taken over TLS or from this machine only.';
  await refuses(from(false, '10.0.0.9'), 'InvalidSignatureException', text);
  await refuses(request, 'InvalidSignatureException', text);
  // What a client of HTTP/2 calls its scheme proves nothing.
  const claimed = changed(request, { url: new URL('https://127.0.0.1:8080/') });
  await refuses(claimed, 'InvalidSignatureException', text);
});

// ---------------------------------------------------------------- permissive

test('permissive takes a known key from a local program, whatever it signed with', async () => {
  const { sign, accepts, refuses, clock } = bench({ mode: 'permissive' });
  const wrong = await sign({ secretAccessKey: 'x' });
  await accepts(wrong);
  clock.advance(24 * 3_600_000);
  await accepts(wrong);
  for (const host of ['localhost:8080', '127.0.0.1', '[::1]:8080']) {
    await accepts(changed(wrong, { url: new URL(`http://${host}/`) }));
  }
  await refuses(
    await sign({ accessKeyId: 'AKIAOTHER' }),
    'UnrecognizedClientException',
    'The security token included in the request is invalid.',
  );
  await refuses(
    changed(wrong, { headers: { authorization: null } }),
    'MissingAuthenticationTokenException',
    'Missing Authentication Token',
  );
});

test('permissive or not, what a web page can send needs a right signature', async () => {
  const { sign, accepts, refuses } = bench({ mode: 'permissive' });
  const wrong = await sign({ secretAccessKey: 'x' });
  for (const origin of ['http://localhost:8080', 'https://evil.example', 'null']) {
    await refuses(changed(wrong, { headers: { origin } }), 'InvalidSignatureException', mismatch);
  }
  for (const host of ['rebound.example:8080', '127.0.0.1.evil.example', '10.0.0.1']) {
    const url = new URL(`http://${host}/`);
    await refuses(changed(wrong, { url }), 'InvalidSignatureException', mismatch);
  }
  await accepts(changed(await sign(), { headers: { origin: 'http://localhost:8080' } }));
});

test('a key whose secret changes is checked with the new one', async () => {
  let secret = secretAccessKey;
  const { sign, accepts, refuses } = bench({
    keys: { find: () => Promise.resolve({ name: 'plant', secretAccessKey: secret }) },
  });
  const request = await sign();
  await accepts(request);
  secret = 'another';
  await refuses(request, 'InvalidSignatureException', mismatch);
  await accepts(await sign({ secretAccessKey: 'another' }));
});
