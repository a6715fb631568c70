/** What to do about a destination, in the words of whoever made the delivery over the API. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DatabaseError } from 'pg';
import { adviceFor as shownAdvice } from '../../../../gateway/api/firehose/advice.ts';
import { adviceInMembers } from '../../../../gateway/api/firehose/mapping/words.ts';
import { adviceFor } from '../../../../gateway/forward/sinks/advice.ts';
import { redshiftError } from '../../../../gateway/forward/sinks/redshift/errors.ts';

const ofAws = [
  ...['ExpiredToken', 'InvalidAccessKeyId', 'CredentialsProviderError', 'AccessDenied'],
  ...['PermanentRedirect', 'SlowDown'],
];
const ofAll = [
  ...['UNABLE_TO_GET_ISSUER_CERT', 'ERR_TLS_CERT_ALTNAME_INVALID', 'EPROTO', 'ENOTFOUND'],
  ...['status 401', 'status 403', 'status 404', 'status 413', 'ECONNREFUSED'],
];
const reasons = {
  s3: [...ofAll, ...ofAws, 'NoSuchBucket'],
  http: ofAll,
  opensearch: [
    ...[...ofAll, ...ofAws, 'index_not_found_exception', 'security_exception'],
    'validation_exception',
  ],
  splunk: [...ofAll, 'HEC 1', 'HEC 2', 'HEC 7', 'HEC 14'],
} as const;
const circumstances = { region: null, clockOffsetMs: null };

test('no key of a delivery of the configuration is left in it', () => {
  for (const service of ['s3', 'http', 'opensearch', 'splunk'] as const) {
    for (const reason of reasons[service]) {
      const advice = adviceFor(reason, { service, ...circumstances });
      assert.ok(advice !== null, reason);
      assert.doesNotMatch(adviceInMembers(service, advice), /\bto\.[a-z]/, `${service} ${reason}`);
    }
  }
  for (const code of ['28000', '3D000', '42601', '42501', '42P01']) {
    const { advice } = redshiftError(refused('x', code), []);
    assert.ok(advice !== null, code);
    assert.doesNotMatch(adviceInMembers('redshift', advice), /\bto\.[a-z]|staging/, code);
  }
  for (const text of ['PermanentRedirect', 'NoSuchBucket', 'Access Denied']) {
    const { advice } = redshiftError(refused(text, 'XX000'), []);
    assert.ok(advice !== null, text);
    assert.doesNotMatch(adviceInMembers('redshift', advice), /\bto\.[a-z]|staging/, text);
  }
});

function refused(message: string, code: string): DatabaseError {
  return Object.assign(new DatabaseError(message, message.length, 'error'), { code });
}

test('it names what is changed with UpdateDestination, and what the configuration says', () => {
  const refusing = (service: 's3' | 'http'): string =>
    adviceInMembers(service, adviceFor('ECONNREFUSED', { service, ...circumstances }) ?? '');
  assert.equal(
    refusing('s3'),
    'Nothing listens there. Check firehose.s3.endpoint, and whether the server runs.',
  );
  assert.equal(
    refusing('http'),
    'Nothing listens there. Check EndpointConfiguration.Url, and whether the server runs. UpdateDestination changes what it was made with.',
  );
});

test('it is changed for what was made over the API alone', () => {
  const advice = 'Check to.http.accessKey.';
  const lastFailure = { code: 'denied', message: 'no', atMs: 0, retryable: true, advice };
  const to = { kind: 'http', description: 'somewhere' };
  assert.equal(shownAdvice({ origin: 'configuration', to, lastFailure }), advice);
  assert.match(
    shownAdvice({ origin: 'firehose', to, lastFailure }) ?? '',
    /^Check EndpointConfiguration\.AccessKey\. UpdateDestination/,
  );
  assert.equal(shownAdvice({ origin: 'firehose', to, lastFailure: null }), null);
});
