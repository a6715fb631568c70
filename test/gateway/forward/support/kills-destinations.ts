/** Destinations of deliveries that are killed, which are disturbed and tell what has arrived. */
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import type { S3Client } from '@aws-sdk/client-s3';
import type { Scope } from '../../../support/scope.ts';
import { memoryFolder } from '../../../support/temporary-folder.ts';
import type { Item, KillsRun, KillsTarget } from './kills-run.ts';
import { startPostgres } from './postgres.ts';
import { startProxy, type Passing } from './proxy.ts';
import { startRedshift, type Fault } from './redshift.ts';
import {
  createStream,
  getObjects,
  listKeys,
  passWhole,
  readStream,
  s3Client,
  startKinesis,
  startS3,
} from './servers.ts';
import { passSome } from './throttle.ts';

/** Where deliveries go, and what has arrived. */
export interface Destination extends Pick<KillsRun, 'to' | 'cluster'> {
  arrived(): Promise<readonly number[]>;
  /** Looks at what it was told beside the records. @param failed what was put aside */
  check(failed: ReadonlySet<number>): Promise<void>;
  /** Batches only: the ids under which each came. */
  readonly itemIds: ReadonlyMap<number, ReadonlySet<string>>;
}

/** What disturbs what comes in. */
export interface Disturbance {
  /** `take` lets a request arrive, and answers it unless that is not wanted. */
  readonly request: (passing: Passing, take: (answers: boolean) => Promise<void>) => Promise<void>;
  /** Of a statement that comes to the cluster. */
  readonly statement: () => Fault | null;
}

const plain = { cluster: null, itemIds: new Map<never, never>(), check: () => Promise.resolve() };

export async function destinationOf(
  context: Scope,
  target: KillsTarget,
  disturbance: Disturbance,
): Promise<Destination> {
  if (target === 'folder') {
    const to = await memoryFolder(context);
    return { ...plain, to, arrived: async () => idsOfLines(await filesBelow(to)) };
  }
  if (target === 'batches') return batchesPlace(context, disturbance);
  if (target === 'kinesis') return streamPlace(context, disturbance);
  const server = await startS3(context, await memoryFolder(context));
  const { endpoint } = await startProxy(context, server.endpoint, (passing) =>
    disturbance.request(passing, async (answers) => {
      if (answers) await passWhole(passing);
      else await passing.ask();
    }),
  );
  const client = s3Client(context, server.endpoint);
  if (target === 'redshift') {
    return { ...plain, to: endpoint, ...(await clusterPlace(context, client, disturbance)) };
  }
  const arrived = async (): Promise<number[]> =>
    idsOfLines(await getObjects(client, await listKeys(client)));
  return { ...plain, to: endpoint, arrived };
}

/** A table whose column of numbers takes nothing else. */
async function clusterPlace(
  context: Scope,
  client: S3Client,
  disturbance: Disturbance,
): Promise<Pick<Destination, 'cluster' | 'arrived' | 'check'>> {
  const postgres = await startPostgres(context);
  const { user: username, password, database } = postgres.login;
  const redshift = await startRedshift(context, postgres, client);
  redshift.fault = disturbance.statement;
  const administrator = await postgres.connect();
  await administrator.query(
    'CREATE TABLE readings (id INTEGER NOT NULL, place INTEGER, made DOUBLE PRECISION)',
  );
  const arrived = async (): Promise<number[]> => {
    const { rows } = await administrator.query<{ id: number }>('SELECT id FROM readings');
    return rows.map(({ id }) => id);
  };
  const check = async (failed: ReadonlySet<number>): Promise<void> => {
    const { rows } = await administrator.query('SELECT load_id FROM loads');
    assert.equal(rows.length, 1, 'of what is loaded for good, nothing stays in the ledger');
    const notes = (await listKeys(client)).filter((key) => key.startsWith('errors/manifests/'));
    for (const note of await getObjects(client, notes)) {
      const { entries } = JSON.parse(note.toString()) as { entries: readonly { url: string }[] };
      const keys = entries.map(({ url }) => url.replace('s3://bucket/', ''));
      const ids = idsOfLines(await getObjects(client, keys));
      assert.ok(
        ids.every((id) => failed.has(id)),
        'a note tells of what was loaded',
      );
    }
  };
  return { cluster: { port: redshift.port, username, password, database }, arrived, check };
}

async function streamPlace(context: Scope, { request }: Disturbance): Promise<Destination> {
  const { endpoint: server, client } = await startKinesis(context);
  await createStream(client, 'upstream', 2);
  let records = 0;
  const { endpoint } = await startProxy(context, server, (passing) =>
    request(passing, async (answers) => {
      if (!answers) await passing.ask();
      else await passSome(passing, () => (records += 1) % 61 === 0);
    }),
  );
  const arrived = async (): Promise<number[]> =>
    (await readStream(client, 'upstream')).map(
      ({ data }) => (JSON.parse(data.toString()) as { id: number }).id,
    );
  return { ...plain, to: endpoint, arrived };
}

async function batchesPlace(context: Scope, disturbance: Disturbance): Promise<Destination> {
  const itemIds = new Map<number, Set<string>>();
  let turn = 0;
  const take = async (passing: Passing, answers: boolean): Promise<void> => {
    const items = JSON.parse((await passing.body()).toString()) as Item[];
    const outcomes = items.map(({ id, data }, index) => {
      turn += 1;
      const record = JSON.parse(data) as { id: number };
      if (record.id % 40 === 7) return 'rejected';
      if ((turn + index) % 211 === 0) return 'throttled';
      itemIds.set(record.id, (itemIds.get(record.id) ?? new Set()).add(id));
      return null;
    });
    if (answers) passing.response.end(JSON.stringify(outcomes));
  };
  const { endpoint } = await startProxy(context, null, (passing) =>
    disturbance.request(passing, (answers) => take(passing, answers)),
  );
  return { ...plain, to: endpoint, itemIds, arrived: () => Promise.resolve([...itemIds.keys()]) };
}

async function filesBelow(root: string): Promise<Buffer[]> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile() && entry.name.endsWith('.ndjson.gz'));
  return Promise.all(files.map((file) => readFile(join(file.parentPath, file.name))));
}

function idsOfLines(objects: readonly Buffer[]): number[] {
  return objects.flatMap((object) =>
    gunzipSync(object)
      .toString()
      .trimEnd()
      .split('\n')
      .map((line) => (JSON.parse(line) as { id: number }).id),
  );
}
