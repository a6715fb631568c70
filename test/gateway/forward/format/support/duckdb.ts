/** What DuckDB makes of a file: a reader of CSV and Parquet that is none of ours. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { temporaryFolder } from '../../../../support/temporary-folder.ts';

/** A value as JSON; numbers of 64 bits and decimals are texts. */
type Row = Readonly<Record<string, unknown>>;

export interface ReadByDuckDb {
  readonly types: Readonly<Record<string, string>>;
  readonly rows: readonly Row[];
  /** Rows of any question; `FILE` stands for the file. */
  ask(sql: string): Promise<readonly Row[]>;
}

/** null, and the test is skipped, where there is no DuckDB for the machine. */
export async function readByDuckDb(
  t: TestContext,
  content: Buffer,
  reader: (file: string) => string,
): Promise<ReadByDuckDb | null> {
  const duckdb = await import('@duckdb/node-api').catch(() => null);
  if (duckdb === null) {
    t.skip('needs DuckDB, which has no build for this machine');
    return null;
  }
  const path = join(await temporaryFolder(t), 'content');
  await writeFile(path, content);
  const instance = await duckdb.DuckDBInstance.create(':memory:', { threads: '1' });
  const connection = await instance.connect();
  await connection.run("SET TimeZone = 'UTC'");
  t.after(() => {
    connection.closeSync();
    instance.closeSync();
  });
  const file = reader(`'${path}'`);
  const ask = async (sql: string): Promise<readonly Row[]> => {
    const result = await connection.runAndReadAll(sql.replaceAll('FILE', file));
    return result.getRowObjectsJson();
  };
  const described = await ask('DESCRIBE SELECT * FROM FILE');
  return {
    types: Object.fromEntries(
      described.map((column) => [String(column['column_name']), String(column['column_type'])]),
    ),
    rows: await ask('SELECT * FROM FILE'),
    ask,
  };
}

export const asParquet = (file: string): string => `read_parquet(${file})`;
