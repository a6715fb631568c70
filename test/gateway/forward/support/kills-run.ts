/** What a process that is killed delivers, and where to; see `kills.ts`. */
import { request } from 'node:http';
import type { DeliveryOptions } from '../../../../gateway/forward/options.ts';
import {
  SinkError,
  type Batch,
  type BatchSink,
  type Sink,
} from '../../../../gateway/forward/sink.ts';
import { kinesisSink } from '../../../../gateway/forward/sinks/kinesis/kinesis-sink.ts';
import { folderSink } from '../../../../gateway/forward/sinks/folder/folder-sink.ts';
import { redshiftSink } from '../../../../gateway/forward/sinks/redshift/redshift-sink.ts';
import { s3Sink } from '../../../../gateway/forward/sinks/s3/s3-sink.ts';
import type { RecordInput } from '../../../../storage/model.ts';
import { credentials } from './servers.ts';

/** Of partition keys. */
const keyCount = 50;

export type KillsTarget = 's3' | 'folder' | 'batches' | 'redshift' | 'kinesis';

export interface Cluster {
  readonly port: number;
  readonly username: string;
  readonly password: string;
  readonly database: string;
}

export interface KillsRun {
  /** The store's. */
  readonly folder: string;
  readonly target: KillsTarget;
  /** An address, or a folder. */
  readonly to: string;
  /** Of the cluster, whose objects go to that address. */
  readonly cluster: Cluster | null;
  readonly prefix: string;
  readonly maxBytes: number;
  /** It appends no more while so many records are not sent. */
  readonly aheadMax: number;
  /** Where a function is; null: none. */
  readonly transform: string | null;
}

/** Every fortieth has no place among the partitions. */
export function recordsFrom(first: number, count: number): RecordInput[] {
  return Array.from({ length: count }, (_, index) => {
    const id = first + index;
    const place = id % 40 === 7 ? { places: [] } : { place: id % 3 };
    return {
      partitionKey: keyOf(id),
      data: Buffer.from(JSON.stringify({ id, ...place })),
    };
  });
}

export function deliveryOf({ target, maxBytes, transform }: KillsRun): DeliveryOptions {
  return {
    name: 'archive',
    from: { stream: 'readings' },
    // The sink is given.
    to: { folder: { path: '' } },
    buffer: { maxBytes, maxSeconds: 0.05 },
    ...(isOfObjects(target) && { layout: { partitionBy: { place: 'place' } } }),
    ...(transform !== null && {
      transform: {
        function: { http: { url: transform, authorization: null } },
        ...{ batchBytes: 200_000, retries: 1, timeoutSeconds: 30 },
      },
    }),
  };
}

/** They have partitions. */
export function isOfObjects(target: KillsTarget): boolean {
  return target !== 'batches' && target !== 'kinesis';
}

/** Of a record by its id. */
export function keyOf(id: number): string {
  return `k${id % keyCount}`;
}

export function sinkOf({ target, to, cluster }: KillsRun): Sink {
  if (target === 'kinesis') return kinesisSink({ stream: 'upstream', endpoint: to, credentials });
  if (target === 'folder') return folderSink({ path: to });
  if (target === 'batches') return new PostedBatches(to);
  const objects = s3Sink({ bucket: 'bucket', endpoint: to, credentials });
  if (cluster === null) return objects;
  return redshiftSink({
    ...{ ...cluster, host: '127.0.0.1', tls: false, caFile: null },
    table: { schema: 'public', table: 'readings' },
    // Rows go as early as they ever may.
    ...{ ledger: { schema: 'public', table: 'loads' }, ledgerSeconds: 0 },
    authorization: { iamRole: 'default' },
    staging: { sink: objects, bucket: 'bucket', prefix: '', region: null },
    ...{ connectTimeoutMs: 1_000, loadTimeoutMs: 60_000 },
  });
}

/** What the stub of a destination is told of an item, and tells. */
export interface Item {
  readonly id: string;
  readonly data: string;
}

/** Posts batches to the stub. */
class PostedBatches implements BatchSink {
  readonly kind = 'http';
  readonly description: string;
  readonly limits = { records: 25, bytes: 1024 ** 2, recordBytes: 1024 ** 2 };

  constructor(url: string) {
    this.description = url;
  }

  async deliver({ items }: Batch, signal: AbortSignal): Promise<readonly (SinkError | null)[]> {
    const body = JSON.stringify(items.map(({ id, data }) => ({ id, data: data.toString() })));
    const answer = await post(this.description, body, signal);
    return (JSON.parse(answer) as (SinkError['code'] | null)[]).map(
      (code) => code && new SinkError(code, 'as the stub says'),
    );
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

function post(url: string, body: string, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    const failed = (cause?: unknown): void => {
      reject(new SinkError('unavailable', 'no good answer', { cause }));
    };
    const outgoing = request(url, { method: 'POST', signal, agent: false }, (answer) => {
      const pieces: Buffer[] = [];
      answer.on('data', (piece: Buffer) => pieces.push(piece));
      answer.on('error', failed);
      answer.on('end', () => {
        if (answer.statusCode === 200) resolve(Buffer.concat(pieces).toString());
        else failed();
      });
    });
    outgoing.on('error', failed);
    outgoing.end(body);
  });
}
