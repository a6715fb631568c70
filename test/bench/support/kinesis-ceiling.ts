/**
 * A server that does nothing with what it gets: it reads the body of a request to its end and
 * sends an answer of the right form and size that was made before. What a Kinesis server can at
 * most reach in the same program, with the same client.
 *
 * node --import tsx kinesis-ceiling.ts
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import {
  createServer as createHttp2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
} from 'node:http2';
import type { AddressInfo, Server } from 'node:net';
import { recordOf, recordsPerGet, recordsPerPut } from './kinesis-records.ts';

const sequenceNumber = '49659393284021923394939393939393939393939393939393939393';

const put = { ShardId: 'shardId-000000000000', SequenceNumber: sequenceNumber };
const record = {
  SequenceNumber: sequenceNumber,
  ApproximateArrivalTimestamp: 1_790_000_000.123,
  Data: recordOf(0).Data.toString('base64'),
  PartitionKey: 'device-123',
};
const answers = new Map(
  Object.entries({
    PutRecord: put,
    PutRecords: { FailedRecordCount: 0, Records: Array(recordsPerPut).fill(put) },
    GetRecords: {
      Records: Array(recordsPerGet).fill(record),
      NextShardIterator: 'A'.repeat(84),
      MillisBehindLatest: 0,
    },
  }).map(([name, answer]) => [`Kinesis_20131202.${name}`, Buffer.from(JSON.stringify(answer))]),
);

function answer(
  incoming: IncomingMessage | Http2ServerRequest,
  outgoing: ServerResponse | Http2ServerResponse,
): void {
  const bytes = answers.get(String(incoming.headers['x-amz-target'])) ?? Buffer.from('{}');
  const request = incoming as IncomingMessage;
  request.resume();
  request.once('end', () => {
    outgoing.writeHead(200, {
      'content-type': 'application/x-amz-json-1.1',
      'content-length': bytes.length,
    });
    (outgoing as ServerResponse).end(bytes);
  });
}

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  return (server.address() as AddressInfo).port;
}

const http1 = await listen(createServer({ noDelay: true }, answer));
const h2c = await listen(createHttp2Server(answer));
process.stdout.write(`listening on ${http1} and ${h2c}\n`);
