/** A sink for Redshift, and all that it needs: PostgreSQL behind a proxy, and S3. */
import { randomUUID } from 'node:crypto';
import type { TestContext } from 'node:test';
import { gzipSync } from 'node:zlib';
import type { S3Client } from '@aws-sdk/client-s3';
import type { Client } from 'pg';
import type { TableLoad } from '../../../../gateway/forward/sink.ts';
import {
  redshiftSink,
  type RedshiftSink,
  type RedshiftSinkOptions,
} from '../../../../gateway/forward/sinks/redshift/redshift-sink.ts';
import { s3Sink } from '../../../../gateway/forward/sinks/s3/s3-sink.ts';
import { temporaryFolder } from '../../../support/temporary-folder.ts';
import { startPostgres, type Postgres } from './postgres.ts';
import { startRedshift, type Redshift } from './redshift.ts';
import { credentials, s3Client, startS3 } from './servers.ts';
import { uploadOf } from './uploads.ts';

const never = new AbortController().signal;
export const secretAccessKey = 'S3RVER';

export interface Rig {
  readonly postgres: Postgres;
  readonly redshift: Redshift;
  readonly s3: S3Client;
  readonly administrator: Client;
  sink(options?: Partial<RedshiftSinkOptions>): RedshiftSink;
}

export async function openRig(t: TestContext): Promise<Rig> {
  const server = await startS3(t, await temporaryFolder(t));
  const s3 = s3Client(t, server.endpoint);
  const postgres = await startPostgres(t);
  const redshift = await startRedshift(t, postgres, s3);
  const administrator = await postgres.connect();
  await administrator.query(
    'CREATE TABLE "Read ""ings" (number INTEGER NOT NULL, "the text" VARCHAR)',
  );
  const sink: Rig['sink'] = (options = {}) => {
    const made = redshiftSink({
      ...{ host: '127.0.0.1', port: redshift.port, database: postgres.login.database },
      ...{ username: postgres.login.user, password: postgres.login.password },
      ...{ tls: false, caFile: null, ledgerSeconds: 86_400 },
      table: { schema: 'public', table: 'Read "ings' },
      ledger: { schema: 'public', table: 'headgate_loads' },
      authorization: { accessKeyId: 'S3RVER', secretAccessKey },
      staging: {
        sink: s3Sink({ bucket: 'bucket', endpoint: server.endpoint, credentials }),
        ...{ bucket: 'bucket', prefix: 'plant/', region: null },
      },
      ...{ connectTimeoutMs: 5_000, loadTimeoutMs: 60_000 },
      ...options,
    });
    t.after(() => made.close());
    return made;
  };
  return { postgres, redshift, s3, administrator, sink };
}

/** The only load of a shard, unless told otherwise. */
export function loadOf<T extends TableLoad['objects']>(
  objects: T,
): TableLoad & { readonly objects: T } {
  return {
    ...{ id: randomUUID(), place: { shard: randomUUID(), since: 0, from: 0, to: 1 }, objects },
    format: { type: 'ndjson' },
    reading: { columns: ['number', 'the text'], options: '' },
  };
}

/** Puts objects of so many rows each where a load finds them. */
export async function stage(
  sink: RedshiftSink,
  objects: readonly (readonly unknown[])[],
): Promise<TableLoad> {
  const load = loadOf([] as TableLoad['objects'][number][]);
  for (const [index, rows] of objects.entries()) {
    const lines = rows.map((row) => (typeof row === 'string' ? row : JSON.stringify(row)));
    const content = gzipSync(lines.map((line) => `${line}\n`).join(''));
    const key = `plant/${load.id}-${index}.ndjson.gz`;
    await sink.staging.put(uploadOf(key, content), never);
    load.objects.push({ key, sizeBytes: content.length, records: rows.length });
  }
  return load;
}

export function rowsFrom(first: number, count: number): { number: number; 'the text': string }[] {
  return Array.from({ length: count }, (_, index) => ({
    number: first + index,
    'the text': `\\${first + index}\t"ü"`,
  }));
}

export async function numbersIn({ administrator }: Rig): Promise<number[]> {
  const { rows } = await administrator.query<{ number: number }>(
    'SELECT number FROM "Read ""ings" ORDER BY number',
  );
  return rows.map(({ number }) => number);
}
