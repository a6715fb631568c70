/**
 * Peers of the Kinesis API that mean harm, over the sockets of a whole gateway: what can't be signed
 * for gets the service's error or no answer, nothing is written, others are served all the while,
 * and neither memory nor connections are held for it.
 */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { connect as connectHttp2, type ClientHttp2Session } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { after, before, suite, test } from 'node:test';
import { Encoder } from 'cbor-x';
import type { Stream } from '../../../../gateway/api/rest/stream-schemas.ts';
import { GatewayProcess } from '../../../support/gateway.ts';
import {
  endHeaders,
  frame,
  frameTypes,
  literalField,
  preface,
} from '../../../support/load/http2-frames.ts';
import { temporaryFolder } from '../../../support/temporary-folder.ts';
import type { Answer } from './callers.ts';

/** In the mode permissive a known key is enough, so that what is sent gets past the signature. */
const configuration = `streams: { readings: { mode: provisioned, shards: 2 } }
kinesis: { enforceLimits: false }
auth:
  mode: permissive
  keys: [{ name: plant, accessKeyId: AKIAPLANT, secretAccessKey: secret-of-the-plant }]`;
const authorization = 'AWS4-HMAC-SHA256 Credential=AKIAPLANT/1/us-east-1/kinesis/aws4_request';
const StreamName = 'readings';
/** What a heap may grow by before it is collected. */
const memoryGrowthMaxBytes = 200 * 2 ** 20;
const invalid = 'InvalidArgumentException';

let gateway: GatewayProcess;
const undo: (() => unknown)[] = [];
before(async () => {
  const scope = { after: (work: () => unknown): void => void undo.push(work) };
  gateway = await GatewayProcess.start(scope, await temporaryFolder(scope), configuration);
});
after(async () => {
  for (const work of undo.reverse()) await work();
});

async function ask(
  operation: string,
  body: Buffer | object,
  contentType = 'application/x-amz-json-1.1',
): Promise<Answer> {
  const response = await fetch(gateway.url, {
    method: 'POST',
    headers: {
      'x-amz-target': `Kinesis_20131202.${operation}`,
      'content-type': contentType,
      authorization,
    },
    body: Buffer.isBuffer(body) ? body : JSON.stringify(body),
  });
  const bytes = Buffer.from(await response.arrayBuffer());
  const isJson = contentType.includes('json') && bytes.length > 0;
  return {
    status: response.status,
    body: isJson
      ? (JSON.parse(bytes.toString()) as Answer['body'])
      : { text: bytes.toString('latin1') },
  };
}

async function written(): Promise<number> {
  return (await gateway.get<Stream>(`/streams/${StreamName}`)).storedRecords;
}

async function memoryBytes(): Promise<number> {
  const status = await readFile(`/proc/${String(gateway.child.process.pid)}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024;
}

/** Puts a record and reads it: whoever behaves is served. */
async function assertServes(): Promise<void> {
  const put = { StreamName, PartitionKey: 'alive', Data: 'YQ==' };
  const { status, body } = await ask('PutRecord', put);
  assert.equal(status, 200, JSON.stringify(body));
}

/** Resolves when the peer has closed the connection; whatever it sends is dropped. */
function closed(socket: Socket): Promise<void> {
  socket.on('error', () => undefined);
  socket.resume();
  return new Promise((resolve) => {
    socket.once('close', () => {
      resolve();
    });
  });
}

/** Writes as fast as the peer takes it, until it closes the connection or all is out. */
async function pour(socket: Socket, pieces: Iterable<Buffer>): Promise<void> {
  for (const piece of pieces) {
    if (socket.destroyed || !socket.writable) return;
    if (socket.write(piece)) continue;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        socket.off('drain', done);
        socket.off('close', done);
        resolve();
      };
      socket.once('drain', done);
      socket.once('close', done);
    });
  }
}

const requestHeaders = Buffer.concat([
  // POST, http, /; then what is in no table.
  Buffer.of(0x83, 0x86, 0x84),
  literalField(':authority', '127.0.0.1'),
  literalField('x-amz-target', 'Kinesis_20131202.PutRecord'),
  literalField('content-type', 'application/x-amz-json-1.1'),
  literalField('authorization', authorization),
]);
const greeting = Buffer.concat([preface, frame(frameTypes.settings, 0, 0, Buffer.alloc(0))]);

suite('bodies', () => {
  test('CBOR that is torn anywhere is refused, and writes nothing', async () => {
    const encoder = new Encoder({ tagUint8Array: false, useRecords: false });
    const whole = Buffer.from(
      encoder.encode({
        StreamName,
        Records: [
          { PartitionKey: 'a', Data: Buffer.from('one') },
          { PartitionKey: 'b', Data: Buffer.from('two'), ExplicitHashKey: '7' },
        ],
      }),
    );
    const cbor = 'application/x-amz-cbor-1.1';
    const countBefore = await written();
    for (let length = 0; length < whole.length; length += 1) {
      const { status, body } = await ask('PutRecords', whole.subarray(0, length), cbor);
      assert.equal(status, 400, `cut at ${length}`);
      assert.match(String(body['text']), /SerializationException/, `cut at ${length}`);
    }
    // Lengths that lie, nesting without end, and what comes behind the end.
    const lies = [
      'bbffffffffffffffff',
      '9bffffffffffffffff',
      '5bffffffffffffffff',
      '7b7fffffffffffffff61',
      'a1' + '6a53747265616d4e616d65' + '5affffffff',
      'bf'.repeat(100_000),
      '81'.repeat(1_000_000),
      'd8'.repeat(50_000),
      `${whole.toString('hex')}00`,
      'ff',
      '1c',
    ];
    for (const lie of lies) {
      const { status, body } = await ask('PutRecords', Buffer.from(lie, 'hex'), cbor);
      assert.equal(status, 400, lie.slice(0, 40));
      assert.match(String(body['text']), /SerializationException/, lie.slice(0, 40));
    }
    assert.equal(await written(), countBefore);
    assert.equal((await ask('PutRecords', whole, cbor)).status, 200);
    assert.equal(await written(), countBefore + 2);
  });

  test('JSON that nests without end costs its sender an error', async () => {
    for (const text of [
      '['.repeat(5_000_000),
      '{"a":'.repeat(1_000_000),
      `"${'\\u0000'.repeat(9)}`,
    ]) {
      const { status, body } = await ask('PutRecord', Buffer.from(text));
      assert.deepEqual([status, body['__type']], [400, 'SerializationException']);
    }
    await assertServes();
  });

  test('nothing is read of a body that is too large, or from nobody', async () => {
    const head = (...more: readonly string[]): string =>
      [
        'POST / HTTP/1.1',
        'Host: 127.0.0.1',
        'X-Amz-Target: Kinesis_20131202.PutRecord',
        'Content-Type: application/x-amz-json-1.1',
        ...more,
        '\r\n',
      ].join('\r\n');
    const rows: readonly (readonly [string, RegExp])[] = [
      [head('Content-Length: 20000000', `Authorization: ${authorization}`), / 413 .*TooLarge/s],
      [
        head('Content-Length: 99999999999999999', `Authorization: ${authorization}`),
        / 413 |^HTTP\/1.1 400 /s,
      ],
      [head('Content-Length: 1000'), / 400 .*MissingAuthenticationToken/s],
    ];
    for (const [text, expected] of rows) {
      const socket = connect(gateway.httpPort, '127.0.0.1');
      const answer = await new Promise<string>((resolve, reject) => {
        socket.once('data', (bytes: Buffer) => {
          resolve(bytes.toString());
        });
        socket.once('error', reject);
        // The body never comes: the answer does not wait for it.
        socket.write(text);
      });
      assert.match(answer, expected);
      socket.destroy();
    }
    // Two lengths, or a length and chunks, are how requests are smuggled.
    for (const twice of [
      'Content-Length: 2\r\nContent-Length: 3',
      'Content-Length: 2\r\nTransfer-Encoding: chunked',
    ]) {
      const socket = connect(gateway.httpPort, '127.0.0.1');
      const answer = new Promise<string>((resolve) => {
        socket.once('data', (bytes: Buffer) => {
          resolve(bytes.toString());
        });
      });
      socket.write(`${head(twice, `Authorization: ${authorization}`)}{}`);
      assert.match(await answer, /^HTTP\/1.1 400 /);
      socket.destroy();
    }
  });

  test('bodies that never end hold a bounded amount, and nobody else up', async () => {
    const memoryBefore = await memoryBytes();
    const sockets = Array.from({ length: 40 }, () => connect(gateway.httpPort, '127.0.0.1'));
    const ends = sockets.map(closed);
    const head =
      'POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Amz-Target: Kinesis_20131202.PutRecord\r\n' +
      `Content-Type: application/x-amz-json-1.1\r\nAuthorization: ${authorization}\r\n` +
      `Content-Length: ${14 * 2 ** 20}\r\n\r\n`;
    const piece = Buffer.alloc(2 ** 20, 0x20);
    await Promise.all(
      sockets.map((socket) => pour(socket, [Buffer.from(head), ...Array<Buffer>(13).fill(piece)])),
    );
    assert.ok((await memoryBytes()) - memoryBefore <= memoryGrowthMaxBytes, 'memory is bounded');
    for (const socket of sockets) socket.destroy();
    await Promise.all(ends);
    // What was held for them is given back.
    const full = { StreamName, PartitionKey: 'a', Data: Buffer.alloc(2 ** 20).toString('base64') };
    for (;;) {
      const { status, body } = await ask('PutRecord', full);
      if (status === 200) break;
      assert.equal(body['__type'], 'ServiceUnavailable');
    }
  });
});

suite('HTTP/2', () => {
  function session(): Promise<ClientHttp2Session> {
    return new Promise((resolve, reject) => {
      const made = connectHttp2(gateway.url);
      made.once('connect', () => {
        resolve(made);
      });
      made.once('error', reject);
    });
  }

  test('streams that are opened and reset in a flood close their connection, and write nothing', async () => {
    const [countBefore, memoryBefore] = [await written(), await memoryBytes()];
    const sockets = Array.from({ length: 4 }, () => connect(gateway.httpPort, '127.0.0.1'));
    const ends = sockets.map(closed);
    const reset = Buffer.of(0, 0, 0, 8);
    function* flood(): Generator<Buffer> {
      yield greeting;
      for (let stream = 1; stream < 400_000; stream += 2) {
        yield Buffer.concat([
          frame(frameTypes.headers, endHeaders, stream, requestHeaders),
          frame(frameTypes.reset, 0, stream, reset),
        ]);
      }
    }
    const floods = sockets.map((socket) => pour(socket, flood()));
    await assertServes();
    await Promise.all(floods);
    await Promise.all(ends);
    await assertServes();
    assert.equal(await written(), countBefore + 2);
    assert.ok((await memoryBytes()) - memoryBefore <= memoryGrowthMaxBytes, 'memory is bounded');
  });

  test('headers that never end close their connection', async () => {
    const memoryBefore = await memoryBytes();
    const socket = connect(gateway.httpPort, '127.0.0.1');
    const end = closed(socket);
    const field = literalField('x-more', 'x'.repeat(8_000));
    function* flood(): Generator<Buffer> {
      yield greeting;
      yield frame(frameTypes.headers, 0, 1, requestHeaders);
      for (let count = 0; count < 20_000; count += 1) {
        yield frame(frameTypes.continuation, 0, 1, field);
      }
    }
    await pour(socket, flood());
    await end;
    assert.ok((await memoryBytes()) - memoryBefore <= memoryGrowthMaxBytes, 'memory is bounded');
    await assertServes();
  });

  test('more streams than are allowed at once are refused, and their bodies are bounded', async () => {
    const [countBefore, memoryBefore] = [await written(), await memoryBytes()];
    const client = await session();
    const outcomes = await new Promise<readonly string[]>((resolve) => {
      const made: string[] = [];
      const total = 300;
      for (let count = 0; count < total; count += 1) {
        const stream = client.request({
          ...{ ':method': 'POST', ':path': '/', authorization },
          'x-amz-target': 'Kinesis_20131202.PutRecord',
          'content-type': 'application/x-amz-json-1.1',
        });
        stream.on('error', () => undefined);
        stream.on('response', ({ ':status': status }) => {
          made.push(String(status));
        });
        stream.write(Buffer.alloc(64 * 1024, 0x20));
      }
      // None of them ends: the session is given up once it has had its turn.
      client.ping(() => {
        resolve(made);
      });
    });
    assert.ok(!outcomes.includes('200'), 'nothing was accepted');
    await assertServes();
    client.destroy();
    assert.equal(await written(), countBefore + 1);
    assert.ok((await memoryBytes()) - memoryBefore <= memoryGrowthMaxBytes, 'memory is bounded');
  });

  test('pings, settings and empty frames in a flood hold nobody up', async () => {
    const memoryBefore = await memoryBytes();
    const nothing = Buffer.alloc(0);
    const floods: readonly Buffer[] = [
      frame(frameTypes.ping, 0, 0, Buffer.alloc(8)),
      frame(frameTypes.settings, 0, 0, Buffer.of(0, 4, 0, 1, 0, 0)),
      frame(frameTypes.data, 0, 1, nothing),
      frame(frameTypes.windowUpdate, 0, 1, Buffer.of(0, 0, 0, 1)),
    ];
    for (const one of floods) {
      const socket = connect(gateway.httpPort, '127.0.0.1');
      const end = closed(socket);
      const many = Buffer.concat(Array<Buffer>(1000).fill(one));
      const open = frame(frameTypes.headers, endHeaders, 1, requestHeaders);
      const poured = pour(socket, [greeting, open, ...Array<Buffer>(200).fill(many)]);
      await assertServes();
      await poured;
      socket.destroy();
      await end;
    }
    assert.ok((await memoryBytes()) - memoryBefore <= memoryGrowthMaxBytes, 'memory is bounded');
  });
});

suite('what clients carry', () => {
  async function iterator(): Promise<string> {
    const start = { StreamName, ShardId: '0', ShardIteratorType: 'TRIM_HORIZON' };
    return (await ask('GetShardIterator', start)).body['ShardIterator'] as string;
  }

  async function refused(operation: string, body: object): Promise<void> {
    const answer = await ask(operation, body);
    const shown = `${JSON.stringify(body).slice(0, 200)}: ${JSON.stringify(answer.body)}`;
    assert.equal(answer.status, 400, shown);
    assert.match(String(answer.body['__type']), /^(InvalidArgument|Validation)Exception$/, shown);
  }

  test('an iterator that was changed anywhere is none', async () => {
    const real = await iterator();
    assert.equal((await ask('GetRecords', { ShardIterator: real })).status, 200);
    for (let at = 0; at < real.length; at += 1) {
      const other = real[at] === 'A' ? 'B' : 'A';
      await refused('GetRecords', {
        ShardIterator: real.slice(0, at) + other + real.slice(at + 1),
      });
      await refused('GetRecords', { ShardIterator: real.slice(0, at) });
    }
    const bytes = Buffer.from(real, 'base64');
    for (const forged of [
      `${real}AAAA`,
      ` ${real}`,
      real.replace(/=*$/, '=='),
      real.toLowerCase(),
      Buffer.concat([bytes, bytes]).toString('base64'),
      Buffer.alloc(bytes.length).toString('base64'),
      bytes.toString('hex'),
      'shardId-000000000000',
      '\u0000',
      'AAAAAAAAAAE=',
      'x'.repeat(512),
      'x'.repeat(513),
      '',
    ]) {
      await refused('GetRecords', { ShardIterator: forged });
    }
  });

  test('tokens are good for what they were made for, and for nothing else', async () => {
    const { body } = await ask('ListShards', { StreamName, MaxResults: 1 });
    const token = body['NextToken'] as string;
    assert.equal((await ask('ListShards', { NextToken: token })).status, 200);
    await refused('ListStreams', { NextToken: token });
    const ConsumersOf = `arn:aws:kinesis:us-east-1:000000000000:stream/${StreamName}`;
    await refused('ListStreamConsumers', { StreamARN: ConsumersOf, NextToken: token });
    await refused('GetRecords', { ShardIterator: token });
    await refused('ListShards', { NextToken: await iterator() });
    for (let at = 0; at < token.length; at += 7) {
      const other = token[at] === 'A' ? 'B' : 'A';
      await refused('ListShards', { NextToken: token.slice(0, at) + other + token.slice(at + 1) });
    }
    await refused('ListShards', { NextToken: 'x'.repeat(1_048_577) });
  });

  test("what another stream of the same name had is not this one's", async () => {
    const name = { StreamName: 'passing' };
    const make = async (): Promise<void> => {
      for (;;) {
        const { status, body } = await ask('CreateStream', { ...name, ShardCount: 2 });
        if (status === 200) break;
        assert.equal(body['__type'], 'ResourceInUseException');
      }
    };
    const start = { ...name, ShardId: '0', ShardIteratorType: 'TRIM_HORIZON' };
    const until = async (operation: string, asked: object): Promise<Answer['body']> => {
      for (;;) {
        const { status, body } = await ask(operation, asked);
        if (status === 200) return body;
        assert.equal(body['__type'], 'ResourceNotFoundException');
      }
    };
    await make();
    const put = { ...name, PartitionKey: 'a', ExplicitHashKey: '0', Data: 'YQ==' };
    const { SequenceNumber } = await until('PutRecord', put);
    const { ShardIterator } = await until('GetShardIterator', start);
    await until('DeleteStream', name);
    await make();
    await until('GetShardIterator', start);
    const stale = await ask('GetRecords', { ShardIterator });
    assert.equal(stale.body['__type'], 'ResourceNotFoundException');
    const after = { ShardIteratorType: 'AFTER_SEQUENCE_NUMBER' };
    const answer = await ask('GetShardIterator', {
      ...{ ...start, ...after, StartingSequenceNumber: SequenceNumber },
    });
    assert.equal(answer.body['__type'], invalid);
  });
});

test('it has said nothing of it, and leaves in good order', async () => {
  await assertServes();
  const said = gateway.child.lines.filter((text) => /TypeError|RangeError|unhandled/i.test(text));
  assert.deepEqual(said, []);
  assert.equal(await gateway.stop(), 0);
});
