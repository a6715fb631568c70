/**
 * Items into a table of DynamoDB, or of a server that speaks like it: BatchWriteItem, 25 items a
 * call. A put replaces what the table has under its key, so an item that is sent again changes
 * nothing, and of several of one key in a batch only the last one is sent (`oneOfEachKey`).
 *
 * Which attributes are the key is asked of the table, once. One item that the table does not take
 * fails the whole call without being named: the call is halved until it is found.
 *
 * Source: DynamoDB API Reference, BatchWriteItem and DescribeTable.
 */
import { setImmediate } from 'node:timers/promises';
import { z } from 'zod';
import { DynamoDbError } from '../../../api/dynamodb/errors.ts';
import { readItem, wireItem, type Item } from '../../../api/dynamodb/values.ts';
import { SinkError, type BatchItem, type BatchSink, type Outcomes } from '../../sink.ts';
import type { AwsOptions } from '../aws.ts';
import { AwsSigner } from '../aws-signer.ts';
import { HttpClient, jsonOf, type Connecting, type Said } from '../http-client.ts';
import { cut, oneOfEachKey, Pieces } from '../pieces.ts';
import { itemOfRecord, keyOf, type KeyAttribute, type KeyedItem } from './item-of-record.ts';

export interface DynamoDbSinkOptions extends Connecting, AwsOptions {
  readonly table: string;
  /** Names of attributes whose lists become sets. */
  readonly sets: readonly string[];
}

const itemsOfCall = 25;
/** A call may have 16 MB; as JSON an item takes more than it counts. */
const bytesOfCall = 4 * 1024 ** 2;
const callsAtOnce = 4;
const recordsMax = 500;
const dataBytesMax = 16 * 1024 ** 2;
/** Of JSON: an item of 400 KB, with room for the blanks and escapes that are not kept. */
const recordBytesMax = 4 * 1024 ** 2;
const answerBytesMax = 32 * 1024 ** 2;
const turnBytes = 256 * 1024;
const defaultTimeoutMs = 30_000;

export function dynamoDbSink(options: DynamoDbSinkOptions): BatchSink {
  const table = new Table(options);
  const sets = new Set(options.sets);
  return {
    kind: 'dynamodb',
    description: `dynamodb:${options.table}`,
    limits: { records: recordsMax, bytes: dataBytesMax, recordBytes: recordBytesMax },
    deliver: async ({ items }, signal) => {
      const keys = await table.keys(signal);
      const prepared = await prepare(items, keys, sets);
      const keyed = prepared.flatMap((one) => (one instanceof SinkError ? [] : one));
      const sent = await oneOfEachKey(
        keyed,
        ({ key }) => key,
        'last',
        (round) => table.put(round, keys, signal),
      );
      const outcomes = new Map(keyed.map((item, at) => [item, sent[at] ?? null]));
      return prepared.map((one) => (one instanceof SinkError ? one : (outcomes.get(one) ?? null)));
    },
    check: async (signal) => {
      const keys = await table.learn(signal);
      const names = keys.map(({ name }) => name).join(' and ');
      return `table ${options.table} is there, with the key ${names}`;
    },
    close: () => {
      table.close();
      return Promise.resolve();
    },
  };
}

async function prepare(
  items: readonly BatchItem[],
  keys: readonly KeyAttribute[],
  sets: ReadonlySet<string>,
): Promise<readonly (KeyedItem | SinkError)[]> {
  const prepared: (KeyedItem | SinkError)[] = [];
  let bytes = 0;
  for (const { data } of items) {
    prepared.push(itemOfRecord(data, keys, sets));
    bytes += data.length;
    if (bytes < turnBytes) continue;
    bytes = 0;
    await setImmediate();
  }
  return prepared;
}

const keyTypes = ['S', 'N', 'B'] as const;
const tableShape = z.object({
  Table: z.object({
    TableStatus: z.string(),
    KeySchema: z.array(z.object({ AttributeName: z.string(), KeyType: z.enum(['HASH', 'RANGE']) })),
    AttributeDefinitions: z.array(
      z.object({ AttributeName: z.string(), AttributeType: z.enum(keyTypes) }),
    ),
  }),
});
const unprocessedShape = z.object({
  UnprocessedItems: z.record(
    z.string(),
    z.array(z.object({ PutRequest: z.object({ Item: z.record(z.string(), z.unknown()) }) })),
  ),
});
const errorShape = z.object({
  __type: z.string(),
  message: z.string().optional(),
  Message: z.string().optional(),
});

class Table {
  readonly #options: DynamoDbSinkOptions;
  readonly #client: HttpClient;
  readonly #signer: AwsSigner;
  #keys: readonly KeyAttribute[] | null = null;

  constructor(options: DynamoDbSinkOptions) {
    this.#options = options;
    const { timeoutMs = defaultTimeoutMs, clock } = options;
    const secrets = [options.credentials?.secretAccessKey ?? ''];
    this.#client = new HttpClient(
      { ...options, timeoutMs, service: 'dynamodb', secrets },
      answerBytesMax,
    );
    this.#signer = new AwsSigner('dynamodb', 'dynamodb', options, clock);
  }

  /** Partition key first. @throws SinkError */
  async keys(signal: AbortSignal): Promise<readonly KeyAttribute[]> {
    return this.#keys ?? (await this.learn(signal));
  }

  /** @throws SinkError */
  async learn(signal: AbortSignal): Promise<readonly KeyAttribute[]> {
    const answer = await this.#call('DescribeTable', { TableName: this.#options.table }, signal);
    const { data } = tableShape.safeParse(answer);
    if (data === undefined) {
      throw new SinkError('unavailable', 'DescribeTable answered without a key');
    }
    const { TableStatus: status, KeySchema: schema, AttributeDefinitions: types } = data.Table;
    if (status === 'CREATING' || status === 'DELETING') {
      throw new SinkError('unavailable', `the table is ${status.toLowerCase()}`);
    }
    const keys = schema
      .toSorted((one, other) => one.KeyType.localeCompare(other.KeyType))
      .map(({ AttributeName: name, KeyType: part }) => ({
        name,
        type: types.find(({ AttributeName: other }) => other === name)?.AttributeType ?? 'S',
        bytesMax: part === 'HASH' ? 2048 : 1024,
      }));
    this.#keys = keys;
    return keys;
  }

  /**
   * Items of different keys, several calls at once.
   * @throws SinkError when nothing is known to have been taken
   */
  async put(
    items: readonly KeyedItem[],
    keys: readonly KeyAttribute[],
    signal: AbortSignal,
  ): Promise<Outcomes> {
    const calls = cut(items, ({ bytes }) => bytes, bytesOfCall, itemsOfCall);
    const results: (Outcomes | SinkError)[] = [];
    for (let at = 0; at < calls.length; at += callsAtOnce) {
      const some = calls.slice(at, at + callsAtOnce);
      results.push(...(await Promise.all(some.map((call) => this.#putSome(call, keys, signal)))));
      const failed = results.find((result) => result instanceof SinkError);
      if (failed === undefined) continue;
      // What did not go through for one call would not for the others.
      while (results.length < calls.length) results.push(failed);
    }
    const [first] = results;
    if (first instanceof SinkError && results.every((result) => result instanceof SinkError)) {
      throw first;
    }
    return calls.flatMap((call, at) => {
      const result = results[at];
      return call.map((_item, index) =>
        result instanceof SinkError ? result : (result?.[index] ?? null),
      );
    });
  }

  async #putSome(
    call: readonly KeyedItem[],
    keys: readonly KeyAttribute[],
    signal: AbortSignal,
  ): Promise<Outcomes | SinkError> {
    try {
      const pieces = new Pieces(bytesOfCall, { isolating: true });
      return await pieces.send(
        call,
        ({ bytes }) => bytes,
        (piece) => this.#batchWrite(piece, keys, signal),
      );
    } catch (error) {
      if (error instanceof SinkError) return error;
      throw error;
    }
  }

  /** @throws SinkError */
  async #batchWrite(
    items: readonly KeyedItem[],
    keys: readonly KeyAttribute[],
    signal: AbortSignal,
  ): Promise<Outcomes> {
    const { table } = this.#options;
    const requests = items.map(({ item }) => ({ PutRequest: { Item: wireItem(item) } }));
    const answer = await this.#call(
      'BatchWriteItem',
      { RequestItems: { [table]: requests } },
      signal,
    );
    const { data } = unprocessedShape.safeParse(answer);
    if (data === undefined) {
      throw new SinkError('unavailable', 'BatchWriteItem answered without UnprocessedItems');
    }
    const left = Object.values(data.UnprocessedItems).flat();
    const leftKeys = new Set(left.map(({ PutRequest: { Item } }) => keyIn(Item, keys)));
    const ours = items.filter(({ key }) => leftKeys.has(key));
    if (ours.length !== leftKeys.size || left.length !== leftKeys.size) {
      throw new SinkError('unavailable', 'BatchWriteItem answered of items that it was not sent');
    }
    return items.map(({ key }) =>
      leftKeys.has(key) ? new SinkError('throttled', 'the table had no capacity for it') : null,
    );
  }

  /** The JSON of an answer. @throws SinkError */
  #call(operation: string, input: object, signal: AbortSignal): Promise<unknown> {
    return this.#signer.use(signal, async ({ region, sign }, abortSignal) => {
      const { endpoint = serviceOf(region) } = this.#options;
      const request = sign({
        url: new URL(endpoint),
        headers: {
          'content-type': 'application/x-amz-json-1.0',
          'x-amz-target': `DynamoDB_20120810.${operation}`,
        },
        body: [Buffer.from(JSON.stringify(input))],
      });
      const answer = await this.#client.ask(request, abortSignal);
      const json = jsonOf(answer);
      if (answer.status === 200) return json;
      const refusal = this.#client.refusal(answer, errorIn(json));
      // It may have been made anew, with another key.
      if (['missing', 'rejected'].includes(refusal.code)) this.#keys = null;
      throw refusal;
    });
  }

  close(): void {
    this.#client.close();
    this.#signer.close();
  }
}

function serviceOf(region: string): string {
  return `https://dynamodb.${region}.amazonaws.com${region.startsWith('cn-') ? '.cn' : ''}/`;
}

/** Without the prefix of its name; null: it is none. */
function errorIn(json: unknown): Said | null {
  const { data } = errorShape.safeParse(json);
  if (data === undefined) return null;
  const name = data.__type.split('#').at(-1) ?? data.__type;
  return { name, message: `${name}: ${data.message ?? data.Message ?? ''}` };
}

/** Of what an answer names; null: it is no item of the table's. */
function keyIn(
  members: Readonly<Record<string, unknown>>,
  keys: readonly KeyAttribute[],
): string | null {
  try {
    const named = keys.map(({ name }) => [name, members[name]] as const);
    const item: Item = readItem(named);
    return keyOf(item, keys);
  } catch (error) {
    if (error instanceof DynamoDbError) return null;
    throw error;
  }
}
