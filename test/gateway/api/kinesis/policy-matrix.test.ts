/**
 * Who may do what, over a whole gateway: every operation by keys with different policies, on streams
 * that these name and do not name, with resource policies and conditions beside them; and what a
 * request must be to be somebody's at all.
 */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { connect as connectHttp2 } from 'node:http2';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import type { Stream } from '../../../../gateway/api/rest/stream-schemas.ts';
import { operations } from '../../../../gateway/api/kinesis/operations/operations.ts';
import { createAwsAuthenticator } from '../../../../gateway/security/aws-authenticator.ts';
import { signed, type SigningOptions } from '../../security/signing.ts';
import { GatewayProcess } from '../../../support/gateway.ts';
import { ManualClock } from '../../../support/manual-clock.ts';
import type { Scope } from '../../../support/scope.ts';
import { temporaryFolder } from '../../../support/temporary-folder.ts';
import { accountId, type Answer } from './callers.ts';
import { serveKinesis } from './support.ts';

const arnOf = (stream: string): string => `arn:aws:kinesis:us-east-1:${accountId}:stream/${stream}`;
const denied = 'AccessDeniedException';

// ---------------------------------------------------------------- keys

interface Key {
  readonly policies: readonly object[];
  /** What the policies mean, said once more in another way. */
  readonly may: (operation: string, stream: string) => boolean;
}

const onLive = [arnOf('live*')];
const reads = (operation: string): boolean => /^(Get|Describe|List)/.test(operation);

const keys: Readonly<Record<string, Key>> = {
  ADMIN: { policies: [], may: () => true },
  READER: {
    policies: [
      {
        Effect: 'Allow',
        Action: ['kinesis:Get*', 'kinesis:Describe*', 'kinesis:List*'],
        Resource: onLive,
      },
    ],
    may: (operation, stream) => reads(operation) && stream.startsWith('live'),
  },
  WRITER: {
    policies: [
      { Effect: 'Allow', Action: 'kinesis:PutRecord*', Resource: '*' },
      { Effect: 'Deny', Action: 'kinesis:*', Resource: arnOf('secret') },
    ],
    may: (operation, stream) => operation.startsWith('PutRecord') && stream !== 'secret',
  },
  KEEPER: {
    policies: [
      { Effect: 'Allow', NotAction: 'kinesis:DeleteStream', NotResource: arnOf('secret') },
    ],
    may: (operation, stream) => operation !== 'DeleteStream' && stream !== 'secret',
  },
  NOBODY: {
    policies: [{ Effect: 'Deny', Action: '*', Resource: '*' }],
    may: () => false,
  },
  ELSEWHERE: {
    policies: [
      {
        Effect: 'Allow',
        Action: 'kinesis:*',
        Resource: `arn:aws:kinesis:eu-west-1:${accountId}:stream/*`,
      },
      {
        Effect: 'Allow',
        Action: 'kinesis:*',
        Resource: 'arn:aws:kinesis:us-east-1:111111111111:stream/*',
      },
      { Effect: 'Allow', Action: 's3:*', Resource: '*' },
    ],
    may: () => false,
  },
  LOCAL: {
    policies: [
      {
        ...{ Effect: 'Allow', Action: 'kinesis:*', Resource: '*' },
        Condition: { IpAddress: { 'aws:SourceIp': '127.0.0.0/8' } },
      },
    ],
    may: () => true,
  },
  FAR: {
    policies: [
      {
        ...{ Effect: 'Allow', Action: 'kinesis:*', Resource: '*' },
        Condition: { IpAddress: { 'aws:SourceIp': '10.0.0.0/8' } },
      },
    ],
    may: () => false,
  },
  OVERTLS: {
    policies: [
      { Effect: 'Allow', Action: 'kinesis:*', Resource: '*' },
      {
        ...{ Effect: 'Deny', Action: 'kinesis:*', Resource: '*' },
        Condition: { Bool: { 'aws:SecureTransport': 'false' } },
      },
    ],
    may: () => false,
  },
};

const secretOf = (name: string): string => `secret-of-${name.toLowerCase()}`;

function configuration(mode: 'sigv4' | 'permissive'): string {
  const entries = Object.entries(keys).map(([name, { policies }]) => ({
    name: name.toLowerCase(),
    accessKeyId: `AKIA${name}`,
    secretAccessKey: secretOf(name),
    policies: policies.map((Statement) => JSON.stringify({ Version: '2012-10-17', Statement })),
  }));
  // JSON is YAML.
  return [
    `streams: { live: { mode: provisioned }, secret: { mode: provisioned } }`,
    `kinesis: { enforceLimits: false }`,
    `auth: { mode: ${mode}, keys: ${JSON.stringify(entries)} }`,
  ].join('\n');
}

// ---------------------------------------------------------------- operations

/** A request of each operation that is well-formed; most name what is not there. */
const bodies: Readonly<Record<string, (stream: string, iterator: string) => object>> = {
  PutRecord: (StreamName) => ({ StreamName, PartitionKey: 'a', Data: 'YQ==' }),
  PutRecords: (StreamName) => ({ StreamName, Records: [{ PartitionKey: 'a', Data: 'YQ==' }] }),
  GetShardIterator: (StreamName) => ({
    ...{ StreamName, ShardId: 'shardId-000000000000', ShardIteratorType: 'LATEST' },
  }),
  GetRecords: (_, ShardIterator) => ({ ShardIterator }),
  CreateStream: (StreamName) => ({ StreamName, ShardCount: 1 }),
  DeleteStream: (StreamName) => ({ StreamName }),
  DescribeStream: (StreamName) => ({ StreamName }),
  DescribeStreamSummary: (StreamName) => ({ StreamName }),
  ListStreams: () => ({}),
  DescribeLimits: () => ({}),
  ListShards: (StreamName) => ({ StreamName }),
  SplitShard: (StreamName) => ({ StreamName, ShardToSplit: '0', NewStartingHashKey: '7' }),
  MergeShards: (StreamName) => ({ StreamName, ShardToMerge: '0', AdjacentShardToMerge: '1' }),
  UpdateShardCount: (StreamName) => ({
    ...{ StreamName, TargetShardCount: 2, ScalingType: 'UNIFORM_SCALING' },
  }),
  AddTagsToStream: (StreamName) => ({ StreamName, Tags: { a: 'b' } }),
  RemoveTagsFromStream: (StreamName) => ({ StreamName, TagKeys: ['a'] }),
  ListTagsForStream: (StreamName) => ({ StreamName }),
  TagResource: (stream) => ({ ResourceARN: arnOf(stream), Tags: { a: 'b' } }),
  UntagResource: (stream) => ({ ResourceARN: arnOf(stream), TagKeys: ['a'] }),
  ListTagsForResource: (stream) => ({ ResourceARN: arnOf(stream) }),
  IncreaseStreamRetentionPeriod: (StreamName) => ({ StreamName, RetentionPeriodHours: 48 }),
  DecreaseStreamRetentionPeriod: (StreamName) => ({ StreamName, RetentionPeriodHours: 24 }),
  UpdateStreamMode: (stream) => ({
    ...{ StreamARN: arnOf(stream), StreamModeDetails: { StreamMode: 'PROVISIONED' } },
  }),
  StartStreamEncryption: (StreamName) => ({ StreamName, EncryptionType: 'KMS', KeyId: 'k' }),
  StopStreamEncryption: (StreamName) => ({ StreamName, EncryptionType: 'KMS', KeyId: 'k' }),
  EnableEnhancedMonitoring: (StreamName) => ({ StreamName, ShardLevelMetrics: ['ALL'] }),
  DisableEnhancedMonitoring: (StreamName) => ({ StreamName, ShardLevelMetrics: ['ALL'] }),
  UpdateMaxRecordSize: (stream) => ({ StreamARN: arnOf(stream), MaxRecordSizeInKiB: 2048 }),
  UpdateStreamWarmThroughput: (StreamName) => ({ StreamName, WarmThroughputMiBps: 1 }),
  RegisterStreamConsumer: (stream) => ({ StreamARN: arnOf(stream), ConsumerName: 'alarms' }),
  DescribeStreamConsumer: (stream) => ({ StreamARN: arnOf(stream), ConsumerName: 'alarms' }),
  ListStreamConsumers: (stream) => ({ StreamARN: arnOf(stream) }),
  SubscribeToShard: (stream) => ({
    ConsumerARN: `${arnOf(stream)}/consumer/alarms:1`,
    ...{ ShardId: 'shardId-000000000000', StartingPosition: { Type: 'LATEST' } },
  }),
  DeregisterStreamConsumer: (stream) => ({ StreamARN: arnOf(stream), ConsumerName: 'alarms' }),
  PutResourcePolicy: (stream) => ({ ResourceARN: arnOf(stream), Policy: '{}' }),
  GetResourcePolicy: (stream) => ({ ResourceARN: arnOf(stream) }),
  DeleteResourcePolicy: (stream) => ({ ResourceARN: arnOf(stream) }),
};

/** Operations whose resource is no stream. */
const ofNoStream = new Set(['ListStreams', 'DescribeLimits']);

// ---------------------------------------------------------------- asking

interface Sending {
  readonly url: string;
  /** What is changed after it was signed; null leaves a header out. */
  readonly change?: Readonly<Record<string, string | null>>;
  readonly body?: string;
}

/** What a request is answered: the type of its error, `ok` without one. */
async function send(options: SigningOptions, { url, change = {}, body }: Sending): Promise<string> {
  const request = await signed({ host: new URL(url).host, ...options });
  const headers = new Headers(request.headers);
  headers.delete('host');
  for (const [name, value] of Object.entries(change)) {
    if (value === null) headers.delete(name);
    else headers.set(name, value);
  }
  const response = await fetch(new URL(request.url.search, url), {
    method: 'POST',
    headers,
    body: body ?? Buffer.from(request.body),
  });
  return outcomeOf(response.status, await response.text());
}

function outcomeOf(status: number, text: string): string {
  if (status === 200) return 'ok';
  const type = /"__type":"(\w+)"/.exec(text)?.[1] ?? /^<(\w+)>/.exec(text)?.[1];
  return type ?? `${status} ${text.slice(0, 60)}`;
}

class Matrix {
  readonly gateway: GatewayProcess;

  private constructor(gateway: GatewayProcess) {
    this.gateway = gateway;
  }

  static async start(scope: Scope, mode: 'sigv4' | 'permissive'): Promise<Matrix> {
    const folder = await temporaryFolder(scope);
    return new Matrix(await GatewayProcess.start(scope, folder, configuration(mode)));
  }

  signing(key: string, operation: string, body: object): SigningOptions {
    return {
      ...{ accessKeyId: `AKIA${key}`, secretAccessKey: secretOf(key), timeMs: Date.now() },
      headers: { 'x-amz-target': `Kinesis_20131202.${operation}` },
      body: JSON.stringify(body),
    };
  }

  async ask(key: string, operation: string, body: object): Promise<string> {
    return send(this.signing(key, operation, body), { url: this.gateway.url });
  }

  /** As the administrator, with the answer itself. */
  async answer(operation: string, body: object): Promise<Answer['body']> {
    const { url } = this.gateway;
    const request = await signed({
      ...this.signing('ADMIN', operation, body),
      host: new URL(url).host,
    });
    const headers = new Headers(request.headers);
    headers.delete('host');
    const response = await fetch(url, {
      ...{ method: 'POST', headers, body: Buffer.from(request.body) },
    });
    const text = await response.text();
    assert.equal(response.status, 200, text);
    return text === '' ? {} : (JSON.parse(text) as Answer['body']);
  }

  async iterator(stream: string): Promise<string> {
    const { ShardIterator } = await this.answer('GetShardIterator', {
      ...{ StreamName: stream, ShardId: '0', ShardIteratorType: 'TRIM_HORIZON' },
    });
    return ShardIterator as string;
  }

  /** Everything that an operation could have changed. */
  async state(): Promise<unknown> {
    const streams = await Promise.all(
      ['live', 'secret'].map(async (StreamName) => {
        const { NextShardIterator, ...records } = await this.answer('GetRecords', {
          ShardIterator: await this.iterator(StreamName),
        });
        assert.equal(typeof NextShardIterator, 'string');
        return [
          await this.answer('DescribeStream', { StreamName }),
          await this.answer('DescribeStreamSummary', { StreamName }),
          await this.answer('ListTagsForStream', { StreamName }),
          await this.answer('ListStreamConsumers', { StreamARN: arnOf(StreamName) }),
          records,
        ];
      }),
    );
    return [await this.answer('ListStreams', {}), streams];
  }
}

suite('over a gateway that checks signatures', () => {
  let matrix: Matrix;
  const undo: (() => unknown)[] = [];
  before(async () => {
    matrix = await Matrix.start({ after: (work) => undo.push(work) }, 'sigv4');
  });
  after(async () => {
    for (const work of undo.reverse()) await work();
  });

  test('the table has every operation', () => {
    const listed = Object.keys(bodies);
    const missing = [...operations.keys()].filter((name) => !listed.includes(name));
    assert.deepEqual(missing, []);
  });

  test('what a key may not do is denied, for every operation, and changes nothing', async () => {
    const state = await matrix.state();
    for (const stream of ['live', 'secret']) {
      const iterator = await matrix.iterator(stream);
      for (const [key, { may }] of Object.entries(keys)) {
        for (const [operation, bodyOf] of Object.entries(bodies)) {
          const resource = ofNoStream.has(operation) ? '*' : stream;
          if (may(operation, resource)) continue;
          const outcome = await matrix.ask(key, operation, bodyOf(stream, iterator));
          assert.equal(outcome, denied, `${key}: ${operation} on ${stream}`);
        }
      }
    }
    assert.deepEqual(await matrix.state(), state);
  });

  test('what a key may do is not denied, for every operation', async () => {
    // A stream that is not there can be permitted too, and nothing happens to it.
    for (const stream of ['live-none', 'none']) {
      for (const [key, { may }] of Object.entries(keys)) {
        for (const [operation, bodyOf] of Object.entries(bodies)) {
          if (operation === 'CreateStream' || operation === 'GetRecords') continue;
          const resource = ofNoStream.has(operation) ? '*' : stream;
          if (!may(operation, resource)) continue;
          const outcome = await matrix.ask(key, operation, bodyOf(stream, ''));
          assert.notEqual(outcome, denied, `${key}: ${operation} on ${stream}`);
        }
      }
    }
    for (const key of Object.keys(keys)) {
      const outcome = await matrix.ask(key, 'GetRecords', {
        ShardIterator: await matrix.iterator('live'),
      });
      assert.equal(outcome, keys[key]?.may('GetRecords', 'live') === true ? 'ok' : denied, key);
    }
  });

  test('an iterator is worth what its stream is, whoever had it', async () => {
    const [live, secret] = [await matrix.iterator('live'), await matrix.iterator('secret')];
    assert.equal(await matrix.ask('READER', 'GetRecords', { ShardIterator: live }), 'ok');
    assert.equal(await matrix.ask('READER', 'GetRecords', { ShardIterator: secret }), denied);
    // Naming another stream beside it does not help.
    const beside = { ShardIterator: secret, StreamARN: arnOf('live') };
    assert.equal(await matrix.ask('READER', 'GetRecords', beside), denied);
  });

  test('policies of a resource allow and deny, and a denial anywhere wins', async () => {
    const userArn = (name: string): string => `arn:aws:iam::${accountId}:user/${name}`;
    const statement = (Effect: string, AWS: string, Action: string): object => ({
      ...{ Effect, Principal: { AWS }, Action, Resource: arnOf('live') },
    });
    const rows: readonly (readonly [policy: readonly object[], key: string, outcome: string])[] = [
      [[statement('Allow', userArn('far'), 'kinesis:PutRecord')], 'FAR', 'ok'],
      [[statement('Allow', userArn('far'), 'kinesis:PutRecord')], 'ELSEWHERE', denied],
      [[statement('Allow', userArn('far'), 'kinesis:PutRecords')], 'FAR', denied],
      [[statement('Allow', '*', 'kinesis:Put*')], 'ELSEWHERE', 'ok'],
      [[statement('Allow', '*', 'kinesis:*')], 'NOBODY', denied],
      [[statement('Allow', `arn:aws:iam::${accountId}:root`, 'kinesis:*')], 'FAR', denied],
      [[statement('Allow', 'arn:aws:iam::111111111111:user/far', 'kinesis:*')], 'FAR', denied],
      [[statement('Deny', userArn('writer'), 'kinesis:PutRecord')], 'WRITER', denied],
      [
        [statement('Deny', `arn:aws:iam::${accountId}:root`, 'kinesis:PutRecord*')],
        'ADMIN',
        denied,
      ],
      [[statement('Deny', userArn('writer'), 'kinesis:PutRecord')], 'ADMIN', 'ok'],
      [
        [
          statement('Allow', userArn('far'), 'kinesis:PutRecord'),
          statement('Deny', '*', 'kinesis:PutRecord'),
        ],
        ...(['FAR', denied] as const),
      ],
    ];
    for (const [Statement, key, outcome] of rows) {
      const Policy = JSON.stringify({ Version: '2012-10-17', Statement });
      await matrix.answer('PutResourcePolicy', { ResourceARN: arnOf('live'), Policy });
      const put = bodies['PutRecord']!('live', '');
      assert.equal(await matrix.ask(key, 'PutRecord', put), outcome, `${key}: ${Policy}`);
      // It is the policy of that stream and of no other.
      const other = await matrix.ask(key, 'PutRecord', bodies['PutRecord']!('secret', ''));
      assert.equal(other, keys[key]?.may('PutRecord', 'secret') === true ? 'ok' : denied, key);
    }
    await matrix.answer('DeleteResourcePolicy', { ResourceARN: arnOf('live') });
    assert.equal(await matrix.ask('FAR', 'PutRecord', bodies['PutRecord']!('live', '')), denied);
  });

  test('who did not sign, or not this, or not rightly, is nobody', async () => {
    const { url } = matrix.gateway;
    const put = matrix.signing('ADMIN', 'PutRecord', bodies['PutRecord']!('live', ''));
    const wrong = 'InvalidSignatureException';
    const minute = 60_000;
    const other = '{"StreamName":"live","PartitionKey":"b","Data":"Yg=="}';
    const rows: readonly (readonly [what: string, SigningOptions, Omit<Sending, 'url'>, string])[] =
      [
        ['as it should be', put, {}, 'ok'],
        [
          'unsigned',
          put,
          { change: { authorization: null } },
          'MissingAuthenticationTokenException',
        ],
        [
          'no word of it',
          put,
          { change: { authorization: 'Bearer x' } },
          'IncompleteSignatureException',
        ],
        [
          'an unknown key',
          { ...put, accessKeyId: 'AKIAUNKNOWN' },
          {},
          'UnrecognizedClientException',
        ],
        ['no key at all', { ...put, accessKeyId: '' }, {}, 'UnrecognizedClientException'],
        ['a path for a key', { ...put, accessKeyId: '..' }, {}, 'UnrecognizedClientException'],
        ['another secret', { ...put, secretAccessKey: 'guessed' }, {}, wrong],
        ["another key's secret", { ...put, secretAccessKey: secretOf('READER') }, {}, wrong],
        ['expired', { ...put, timeMs: Date.now() - 6 * minute }, {}, wrong],
        ['of the future', { ...put, timeMs: Date.now() + 6 * minute }, {}, wrong],
        ['of another day', put, { change: { 'x-amz-date': '20200101T000000Z' } }, wrong],
        ['for another region', { ...put, region: '' }, {}, wrong],
        ['for another service', { ...put, service: 's3' }, {}, wrong],
        ['for another host', { ...put, host: 'kinesis.us-east-1.amazonaws.com' }, {}, wrong],
        ['with a session', { ...put, sessionToken: 'x' }, {}, 'UnrecognizedClientException'],
        ['another body', put, { body: other }, wrong],
        ['another body and no hash', { ...put, applyChecksum: false }, { body: other }, wrong],
        ['no body', put, { body: '' }, wrong],
        [
          'another operation',
          put,
          { change: { 'x-amz-target': 'Kinesis_20131202.DeleteStream' } },
          wrong,
        ],
        ['a header more', put, { change: { 'x-amz-more': '1' } }, wrong],
        ['another hash', put, { change: { 'x-amz-content-sha256': '0'.repeat(64) } }, wrong],
        [
          'unsigned payload, claimed afterwards',
          put,
          { change: { 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' } },
          wrong,
        ],
        ['presigned', { ...put, expiresIn: 60 }, {}, 'ok'],
        [
          'presigned, expired',
          { ...put, expiresIn: 60, timeMs: Date.now() - 2 * minute },
          {},
          wrong,
        ],
        ['presigned, another body', { ...put, expiresIn: 60 }, { body: other }, wrong],
        [
          'presigned and signed',
          { ...put, expiresIn: 60 },
          { change: { authorization: 'AWS4-HMAC-SHA256 x' } },
          wrong,
        ],
      ];
    const records = async (): Promise<number> => {
      const page = await matrix.answer('GetRecords', {
        ShardIterator: await matrix.iterator('live'),
      });
      return (page['Records'] as readonly unknown[]).length;
    };
    let expected = await records();
    for (const [what, signing, sending, outcome] of rows) {
      const found = await send(signing, { url, ...sending });
      assert.equal(found, outcome, what);
      if (outcome === 'ok') expected += 1;
      assert.equal(await records(), expected, `${what}: what was refused wrote nothing`);
    }
    // One character of the signature.
    const { headers, body } = await signed({ ...put, host: new URL(url).host });
    const authorization = headers.get('authorization') ?? '';
    for (const tampered of [
      authorization.replace(/.$/, (last) => (last === '0' ? '1' : '0')),
      authorization.replace(/Signature=.*$/, 'Signature='),
      authorization.slice(0, -1),
      `${authorization}0`,
      authorization.replace('SignedHeaders=', 'SignedHeaders=x;'),
      authorization.replace('host;', ''),
    ]) {
      const sent = new Headers([...headers].filter(([name]) => name !== 'host'));
      sent.set('authorization', tampered);
      const response = await fetch(url, { method: 'POST', headers: sent, body: Buffer.from(body) });
      const outcome = outcomeOf(response.status, await response.text());
      assert.match(outcome, /^(Invalid|Incomplete)SignatureException$/, tampered);
    }
    assert.equal(await records(), expected);
  });

  test('what known callers were refused is in the audit log, and strangers fill it with nothing', async () => {
    const path = join(matrix.gateway.dataFolder, 'audit.log');
    const lines = (await readFile(path, 'utf8')).trim().split('\n');
    const entries = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    assert.ok(
      entries.some(({ action, caller, outcome }) => {
        const isRefused = action === 'kinesis:DeleteStream' && outcome === denied;
        return isRefused && caller === `arn:aws:iam::${accountId}:user/keeper`;
      }),
    );
    assert.ok(
      entries.every(({ caller, strangers, dropped }) => {
        return typeof caller === 'string' || typeof strangers === 'number' || dropped !== undefined;
      }),
    );
  });
});

test('a request that is replayed is good for as long as its date is, and no longer', async (t) => {
  const clock = new ManualClock();
  const secretAccessKey = secretOf('ADMIN');
  const { log, server } = await serveKinesis(t, {
    clock,
    authenticator: createAwsAuthenticator({
      ...{ mode: 'sigv4', accountId, region: null, clock },
      keys: { find: () => Promise.resolve({ name: 'admin', secretAccessKey }) },
    }),
  });
  const { id } = (
    await log.createStream({
      ...{ name: 'live', shardCount: 1, mode: 'provisioned', retentionMs: 86_400_000 },
      ...{ maxBytes: null, whenFull: 'refuse' },
    })
  ).shards[0]!;
  const options = {
    ...{ accessKeyId: 'AKIAADMIN', secretAccessKey, timeMs: clock.nowMs() },
    body: JSON.stringify(bodies['PutRecord']!('live', '')),
  };
  const outcomes: string[] = [];
  for (const afterMs of [0, 1000, 299_000, 1_001, 86_400_000]) {
    clock.advance(afterMs);
    outcomes.push(await send(options, { url: server.url }));
  }
  const wrong = 'InvalidSignatureException';
  assert.deepEqual(outcomes, ['ok', 'ok', 'ok', wrong, wrong]);
  assert.equal(log.shard(id).nextSequence, 3);
});

suite('over a gateway that is permissive', () => {
  let matrix: Matrix;
  const undo: (() => unknown)[] = [];
  before(async () => {
    matrix = await Matrix.start({ after: (work) => undo.push(work) }, 'permissive');
  });
  after(async () => {
    for (const work of undo.reverse()) await work();
  });
  const credential = (key: string): string =>
    `AWS4-HMAC-SHA256 Credential=AKIA${key}/20260101/us-east-1/kinesis/aws4_request, SignedHeaders=host, Signature=00`;
  const put = '{"StreamName":"live","PartitionKey":"a","Data":"YQ=="}';

  /** By hand, because no client sends such a Host. */
  function raw(requestLine: string, headers: readonly string[], body = put): Promise<string> {
    return new Promise((resolve, reject) => {
      const socket = connect(matrix.gateway.httpPort, '127.0.0.1');
      let answer = '';
      socket.on('data', (bytes) => (answer += bytes.toString()));
      socket.on('error', reject);
      socket.on('close', () => {
        resolve(outcomeOf(Number(answer.split(' ')[1]), answer.split('\r\n\r\n')[1] ?? ''));
      });
      socket.write(
        [
          requestLine,
          ...headers,
          'Content-Type: application/x-amz-json-1.1',
          `Content-Length: ${body.length}`,
          'Connection: close',
          '',
          body,
        ].join('\r\n'),
      );
    });
  }

  async function written(): Promise<number> {
    const { storedRecords } = await matrix.gateway.get<Stream>('/streams/live');
    return storedRecords;
  }

  const target = 'X-Amz-Target: Kinesis_20131202.PutRecord';
  const line = 'POST / HTTP/1.1';

  test('a program on this machine that names a known key is its user', async () => {
    for (const host of ['127.0.0.1', 'localhost', 'LOCALHOST', '[::1]', '127.8.9.10']) {
      const headers = [`Host: ${host}:${matrix.gateway.httpPort}`, target];
      const outcome = await raw(line, [...headers, `Authorization: ${credential('ADMIN')}`]);
      assert.equal(outcome, 'ok', host);
    }
    // Its policies count all the same.
    const headers = ['Host: localhost', target, `Authorization: ${credential('READER')}`];
    assert.equal(await raw(line, headers), denied);
  });

  test('a page, a name from elsewhere and an unknown key are held against a signature', async () => {
    const wrong =
      /^(InvalidSignature|IncompleteSignature|UnrecognizedClient|MissingAuthenticationToken)Exception$|^400 /;
    const writtenBefore = await written();
    const authorization = `Authorization: ${credential('ADMIN')}`;
    const date = 'X-Amz-Date: 20260101T000000Z';
    const page = 'Origin: https://elsewhere.example.org';
    const rows: readonly (readonly [what: string, line: string, headers: readonly string[]])[] = [
      ['an origin', line, ['Host: localhost', page, authorization]],
      [
        'an origin of this machine',
        line,
        ['Host: localhost', 'Origin: http://localhost', authorization],
      ],
      ['an opaque origin', line, ['Host: localhost', 'Origin: null', authorization]],
      ['an empty origin', line, ['Host: localhost', 'Origin:', authorization]],
      ['an unknown key', line, ['Host: localhost', `Authorization: ${credential('UNKNOWN')}`]],
      ['no key', line, ['Host: localhost']],
      ['a rebound name', line, ['Host: elsewhere.example.org', authorization]],
      ['a rebound name with a port', line, ['Host: elsewhere.example.org:8080', authorization]],
      ['a name that begins like ours', line, ['Host: localhost.example.org', authorization]],
      ['an address that is a name', line, ['Host: 127.0.0.1.example.org', authorization]],
      ['a name for this machine', line, ['Host: 127.0.0.1.nip.io', authorization]],
      ['a user before the name', line, ['Host: localhost@elsewhere.example.org', authorization]],
      ['two hosts', line, ['Host: localhost', 'Host: elsewhere.example.org', authorization]],
      ['no host', line, [authorization]],
      [
        'an absolute address',
        'POST http://elsewhere.example.org/ HTTP/1.1',
        ['Host: localhost', authorization],
      ],
      ['the address of all', line, ['Host: 0.0.0.0', authorization]],
      ['another machine', line, ['Host: 192.0.2.1', authorization]],
      [
        'by the query',
        'POST /?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAADMIN/1/2/3/4 HTTP/1.1',
        ['Host: elsewhere.example.org', page],
      ],
    ];
    for (const [what, requestLine, headers] of rows) {
      assert.match(await raw(requestLine, [...headers, target, date]), wrong, what);
    }
    assert.equal(await written(), writtenBefore, 'nothing was written');
  });

  test('over HTTP/2 it is the authority that counts, whatever the Host says', async () => {
    const writtenBefore = await written();
    const ask = (authority: string, more: Readonly<Record<string, string>>): Promise<string> =>
      new Promise((resolve, reject) => {
        const session = connectHttp2(matrix.gateway.url);
        session.on('error', reject);
        const stream = session.request({
          ...{ ':method': 'POST', ':path': '/', ':authority': authority, ...more },
          'x-amz-target': 'Kinesis_20131202.PutRecord',
          'content-type': 'application/x-amz-json-1.1',
          authorization: credential('ADMIN'),
        });
        let status = 0;
        let text = '';
        stream.on('response', (headers) => (status = Number(headers[':status'])));
        stream.on('data', (bytes: Buffer) => (text += bytes.toString()));
        stream.on('error', reject);
        stream.on('close', () => {
          session.close();
          resolve(outcomeOf(status, text));
        });
        stream.end(put);
      });
    const refused = /^(InvalidSignature|IncompleteSignature)Exception$|^400 /;
    assert.equal(await ask('localhost:8080', {}), 'ok');
    assert.match(await ask('elsewhere.example.org', {}), refused);
    assert.match(await ask('elsewhere.example.org', { host: 'localhost' }), refused);
    assert.match(await ask('localhost', { origin: 'https://elsewhere.example.org' }), refused);
    assert.equal(await written(), writtenBefore + 1);
  });
});
