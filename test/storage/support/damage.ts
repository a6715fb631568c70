/** What happens to the files of a store: seeded, so that the same seed does the same damage. */
import { execFile } from 'node:child_process';
import { mkdir, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { promisify } from 'node:util';
import { randomBytes } from '../../support/load/mutate.ts';

const run = promisify(execFile);
const pageBytes = 4096;

type Random = () => number;
type Damage = (random: Random, path: string, others: readonly string[]) => Promise<string>;

/** Does one to three things to the files in a folder; answers what, in words. */
export async function damage(random: Random, folder: string): Promise<readonly string[]> {
  const all = await filesIn(folder);
  const media = all.filter((path) => path.endsWith('.mp4')).sort();
  const database = join(folder, 'headgate.db');
  const done: string[] = [];
  const count = 1 + below(random, 3);
  for (let index = 0; index < count; index += 1) {
    const [path, kinds] = chosen(random, database, media, all);
    const say = await pick(random, kinds)(random, path, media);
    done.push(`${relative(folder, path)} ${say}`);
  }
  return done;
}

function chosen(
  random: Random,
  database: string,
  media: readonly string[],
  all: readonly string[],
): readonly [string, readonly Damage[]] {
  const share = random();
  const wal = `${database}-wal`;
  if (share < 0.4) return [database, [...contents, gone]];
  if (share < 0.5 && all.includes(wal)) return [wal, [...contents, gone]];
  if (share < 0.9) return [pick(random, media), [...contents, gone, swapped, ...replaced]];
  // Something that is none of ours.
  return [join(pick(random, media), '..', `stranger-${below(random, 99)}.mp4`), replaced];
}

const flipped: Damage = async (random, path) => {
  const count = 1 + below(random, 20);
  await change(path, (bytes) => {
    for (let index = 0; index < count && bytes.length > 0; index += 1) {
      const at = below(random, bytes.length);
      bytes[at] = (bytes[at] ?? 0) ^ (1 << below(random, 8));
    }
    return bytes;
  });
  return `has ${count} flipped bits`;
};

const zeroed: Damage = async (random, path) => {
  const sector = random() < 0.5 ? 512 : pageBytes;
  let first = 0;
  await change(path, (bytes) => {
    first = sector * below(random, Math.ceil(bytes.length / sector));
    bytes.fill(0, first, Math.min(bytes.length, first + sector * (1 + below(random, 3))));
    return bytes;
  });
  return `has zeroed sectors of ${sector} from ${first} on`;
};

const overwritten: Damage = async (random, path) => {
  let at = 0;
  const rubbish = randomBytes(random, 512);
  await change(path, (bytes) => {
    at = below(random, bytes.length + 1);
    rubbish.copy(bytes, at);
    return bytes;
  });
  return `has rubbish at ${at}`;
};

const pagesSwapped: Damage = async (random, path) => {
  let [a, b] = [0, 0];
  await change(path, (bytes) => {
    const pages = Math.floor(bytes.length / pageBytes);
    [a, b] = [pageBytes * below(random, pages), pageBytes * below(random, pages)];
    const kept = Buffer.from(bytes.subarray(a, a + pageBytes));
    bytes.copyWithin(a, b, b + pageBytes);
    kept.copy(bytes, b);
    return bytes;
  });
  return `has its pages at ${a} and ${b} swapped`;
};

const truncated: Damage = async (random, path) => {
  let left = 0;
  await change(path, (bytes) => {
    left = random() < 0.2 ? 0 : below(random, bytes.length + 1);
    return bytes.subarray(0, left);
  });
  return `is cut to ${left} bytes`;
};

const grown: Damage = async (random, path) => {
  const rubbish = randomBytes(random, 1 + below(random, 20_000));
  await change(path, (bytes) => Buffer.concat([bytes, rubbish]));
  return `has ${rubbish.length} bytes of rubbish at its end`;
};

const gone: Damage = async (_random, path) => {
  await rm(path, { recursive: true, force: true });
  return 'is gone';
};

const swapped: Damage = async (random, path, others) => {
  const other = pick(random, others);
  const [mine, its] = await Promise.all([read(path), read(other)]);
  if (mine === null || its === null) return 'stays';
  await writeFile(path, its);
  await writeFile(other, mine);
  return `is swapped with ${other}`;
};

const contents: readonly Damage[] = [
  flipped,
  flipped,
  zeroed,
  overwritten,
  pagesSwapped,
  truncated,
  grown,
];

const replaced: readonly Damage[] = [
  async (_random, path) => {
    await clear(path);
    await mkdir(path);
    return 'is a folder';
  },
  async (_random, path) => {
    await clear(path);
    await symlink('/nowhere/at/all', path);
    return 'is a link to nothing';
  },
  async (random, path, others) => {
    const other = pick(random, others);
    if (other === path) return 'stays';
    await clear(path);
    await symlink(other, path);
    return `is a link to ${other}`;
  },
  async (_random, path) => {
    await clear(path);
    await run('mkfifo', [path]);
    return 'is a pipe';
  },
  async (random, path) => {
    await clear(path);
    await writeFile(path, randomBytes(random, below(random, 10_000)));
    return 'is rubbish';
  },
];

async function clear(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true });
}

/** What another damage made of it may be no file any more: then it stays as it is. */
async function change(path: string, alter: (bytes: Buffer) => Buffer): Promise<void> {
  const bytes = await read(path);
  if (bytes !== null) await writeFile(path, alter(bytes));
}

async function read(path: string): Promise<Buffer | null> {
  const isFile = await stat(path).then(
    (found) => found.isFile(),
    () => false,
  );
  return isFile ? readFile(path) : null;
}

async function filesIn(folder: string): Promise<readonly string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name));
}

function below(random: Random, limit: number): number {
  return Math.floor(random() * limit);
}

function pick<T>(random: Random, from: readonly T[]): T {
  const found = from[below(random, from.length)];
  if (found === undefined) throw new RangeError('there is nothing to pick from');
  return found;
}
