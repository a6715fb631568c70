/**
 * Opens what is left of a database file for `salvage.ts`, which only reads it.
 *
 * SQLite refuses a file that is shorter than its header says, and one whose first page is damaged,
 * though all else may be whole. The first is a matter of a setting. For the second a copy of the
 * file gets the first page and the schema of a new one: with auto_vacuum the root pages of tables and
 * indexes stand side by side at the beginning of the file, in the order in which they were made.
 * That order is known: it is that of the migrations, or of VACUUM, which made every restored backup.
 * Which of them it is, the kinds of those pages tell.
 *
 * A file of no bytes is never opened itself: SQLite would delete its write-ahead log.
 */
import { copyFile, mkdir, open, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { StorageError } from './errors.ts';
import { migrate } from './schema/migrate.ts';
import { Database, SqliteError } from './sqlite.ts';

const pageBytes = 4096;
/** Where the b-tree of the first page begins; before it is the header of the file. */
const fileHeaderBytes = 100;
const leafTablePage = 0x0d;
const innerTablePage = 0x05;
const leafIndexPage = 0x0a;
const innerIndexPage = 0x02;

/**
 * @param workFolder for the copy, if one is needed; the caller deletes it
 * @returns null when nothing of it can be read
 */
export async function openDamaged(path: string, workFolder: string): Promise<Database | null> {
  const found = await stat(path).catch(() => null);
  const size = found?.isFile() === true ? found.size : 0;
  const direct = size === 0 ? null : await openIfOurs(path, true);
  if (direct !== null) return direct;
  await mkdir(workFolder, { recursive: true, mode: 0o700 });
  const copy = join(workFolder, 'source.db');
  await copyWithLog(path, copy, size);
  // The write-ahead log may have held the first page.
  return (await openIfOurs(copy, false)) ?? (await openGrafted(copy, workFolder));
}

/** For an error while reading: whether the file is to blame. */
export function isDamage(error: unknown): boolean {
  return (
    (error instanceof StorageError && error.code === 'corrupt') ||
    (error instanceof SqliteError && error.code === 'SQLITE_ERROR')
  );
}

async function openIfOurs(path: string, readOnly: boolean): Promise<Database | null> {
  const database = await Database.open(path, { readOnly });
  try {
    // Lets SQLite take a file that is shorter than its header says.
    await database.exec('PRAGMA writable_schema = ON');
    const tables = await database.all<{ name: string }>(
      "SELECT name FROM sqlite_schema WHERE type = 'table'",
    );
    if (tables.some(({ name }) => name === 'batch' || name === 'media_file')) return database;
  } catch (error) {
    if (!isDamage(error)) {
      await database.close();
      throw error;
    }
  }
  await database.close();
  return null;
}

/** Copies a database, and what its write-ahead log holds into the copy. */
async function copyWithLog(path: string, copy: string, size: number): Promise<void> {
  if (size > 0) await copyFile(path, copy);
  const file = await open(copy, size > 0 ? 'r+' : 'w', 0o600);
  try {
    await file.truncate(Math.max(1, Math.ceil(size / pageBytes)) * pageBytes);
    const first = await emptyFirstPage(`${copy}.empty`);
    await file.write(first, 0, pageBytes, 0);
  } finally {
    await file.close();
  }
  const log = await stat(`${path}-wal`).catch(() => null);
  if (log?.isFile() !== true) return;
  await copyFile(`${path}-wal`, `${copy}-wal`);
  const database = await Database.open(copy);
  try {
    await database.exec('PRAGMA writable_schema = ON; PRAGMA wal_checkpoint(TRUNCATE)');
  } catch (error) {
    if (!isDamage(error)) throw error;
  } finally {
    await database.close();
  }
  await rm(`${copy}-wal`, { force: true });
}

/** The first page of a database without tables: enough for its write-ahead log to be read. */
async function emptyFirstPage(scratch: string): Promise<Buffer> {
  const database = await Database.open(scratch);
  try {
    await migrate(database, []);
  } finally {
    await database.close();
  }
  const page = (await readFile(scratch)).subarray(0, pageBytes);
  await rm(scratch);
  return page;
}

// ---------------------------------------------------------------- the schema of a new file

interface Layout {
  /** A new database, whole. */
  readonly bytes: Buffer;
  readonly roots: readonly number[];
}

async function openGrafted(copy: string, workFolder: string): Promise<Database | null> {
  const file = await open(copy, 'r+');
  try {
    const { size } = await file.stat();
    const head = Buffer.alloc(64 * pageBytes);
    await file.read(head, 0, head.length, 0);
    const layout = (await makeLayouts(workFolder)).find((made) => fits(made, head));
    if (layout === undefined) return null;
    const pages = Math.ceil(size / pageBytes);
    const { first, rest } = schemaPages(layout.bytes, pages);
    await file.write(first, 0, pageBytes, 0);
    await file.write(rest, 0, rest.length, pages * pageBytes);
  } finally {
    await file.close();
  }
  return openIfOurs(copy, false);
}

async function makeLayouts(folder: string): Promise<readonly Layout[]> {
  const [migrated, vacuumed] = [join(folder, 'migrated.db'), join(folder, 'vacuumed.db')];
  const database = await Database.open(migrated);
  try {
    await migrate(database);
    await database.exec(`VACUUM INTO '${vacuumed.replaceAll("'", "''")}'`);
  } finally {
    await database.close();
  }
  const layouts: Layout[] = [];
  for (const path of [migrated, vacuumed]) {
    const made = await Database.open(path);
    try {
      const rows = await made.all<{ rootpage: number }>('SELECT rootpage FROM sqlite_schema');
      layouts.push({ bytes: await readFile(path), roots: rows.map(({ rootpage }) => rootpage) });
    } finally {
      await made.close();
    }
  }
  return layouts;
}

/** Whether no root page that is there is of another kind than in a new file, and one is there. */
function fits({ bytes, roots }: Layout, head: Buffer): boolean {
  const known = roots.filter((page) => isIndex(head, page) !== null);
  return known.length > 0 && known.every((page) => isIndex(head, page) === isIndex(bytes, page));
}

/** Whether a page is of an index (or of a table without rowids) or of a table; null: of neither. */
function isIndex(bytes: Buffer, page: number): boolean | null {
  const kind = bytes[(page - 1) * pageBytes] ?? 0;
  if (kind === leafTablePage || kind === innerTablePage) return false;
  return kind === leafIndexPage || kind === innerIndexPage ? true : null;
}

/** The pages of a new file's schema, to stand at its beginning and behind the first `pages`. */
function schemaPages(bytes: Buffer, pages: number): { first: Buffer; rest: Buffer } {
  const first = Buffer.from(bytes.subarray(0, pageBytes));
  const rest: Buffer[] = [];
  if (first[fileHeaderBytes] === innerTablePage) {
    const cells = first.readUInt16BE(fileHeaderBytes + 3);
    const pointers = Array.from({ length: cells }, (_, index) =>
      first.readUInt16BE(fileHeaderBytes + 12 + 2 * index),
    );
    for (const at of [...pointers, fileHeaderBytes + 8]) {
      const child = first.readUInt32BE(at);
      rest.push(bytes.subarray((child - 1) * pageBytes, child * pageBytes));
      first.writeUInt32BE(pages + rest.length, at);
    }
  }
  // The size of the file in pages, and a free list without any.
  first.writeUInt32BE(pages + rest.length, 28);
  first.writeUInt32BE(0, 32);
  first.writeUInt32BE(0, 36);
  return { first, rest: Buffer.concat(rest) };
}
