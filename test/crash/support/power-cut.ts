/**
 * Builds a folder as a power cut would have left it, from the journal that the shim kept.
 *
 * What a disk may do: of the bytes written to a file since its last sync any 4 KiB sectors may have
 * arrived and others not, in any order, and its length may be the old one or a new one. Names are
 * kept in order, as journaling file systems do: of the changes to a folder since its last sync a
 * beginning has arrived. What was synced is there.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';

const sectorBytes = 4096;
const headBytes = 17;

type Operation =
  'create' | 'open' | 'write' | 'truncate' | 'sync' | 'rename' | 'unlink' | 'mkdir' | 'rmdir';

const operations: readonly Operation[] = [
  ...(['create', 'open', 'write', 'truncate', 'sync', 'rename', 'unlink', 'mkdir'] as const),
  'rmdir',
];

export interface Entry {
  readonly operation: Operation;
  readonly file: number;
  readonly offset: number;
  readonly bytes: Buffer;
}

/** The entries of a journal; one that was being written when the program was killed is left out. */
export function parseJournal(journal: Buffer): readonly Entry[] {
  const entries: Entry[] = [];
  for (let at = 0; at + headBytes <= journal.length;) {
    const length = journal.readUInt32LE(at + 13);
    const end = at + headBytes + length;
    const operation = operations[journal.readUInt8(at) - 1];
    if (operation === undefined) throw new Error(`no journal entry begins at ${at}`);
    if (end > journal.length) break;
    entries.push({
      operation,
      file: journal.readUInt32LE(at + 1),
      offset: Number(journal.readBigUInt64LE(at + 5)),
      bytes: journal.subarray(at + headBytes, end),
    });
    at = end;
  }
  return entries;
}

/** What of a file is on the disk for certain, and what may be. */
interface File {
  readonly durable: Content;
  pending: { readonly offset: number; readonly bytes: Buffer | null }[];
}

/** A change of names in one folder. */
interface NameChange {
  readonly name: string;
  /** null: it is gone. */
  readonly file: File | 'folder' | null;
}

interface Folder {
  readonly durable: Map<string, File | 'folder'>;
  pending: NameChange[];
}

/** A disk with what the entries so far have done to it. */
export class Disk {
  readonly #root: string;
  /** By number. */
  readonly #files = new Map<number, File>();
  readonly #folders = new Map<string, Folder>();
  readonly #folderOfNumber = new Map<number, string>();
  readonly #ignoreSyncs: boolean;

  /** @param options.ignoreSyncs a disk that lies: nothing is ever certain */
  constructor(root: string, options: { readonly ignoreSyncs?: boolean } = {}) {
    this.#root = root;
    this.#ignoreSyncs = options.ignoreSyncs ?? false;
    this.#folders.set(root, { durable: new Map(), pending: [] });
  }

  apply({ operation, file: number, offset, bytes }: Entry): void {
    const path = bytes.toString();
    switch (operation) {
      case 'create': {
        const file: File = { durable: new Content(), pending: [] };
        this.#files.set(number, file);
        this.#change(path, file);
        break;
      }
      case 'open':
        if (this.#folders.has(path)) this.#folderOfNumber.set(number, path);
        break;
      case 'write':
        this.#file(number).pending.push({ offset, bytes });
        break;
      case 'truncate':
        this.#file(number).pending.push({ offset, bytes: null });
        break;
      case 'sync':
        if (!this.#ignoreSyncs) this.#sync(number);
        break;
      case 'rename': {
        const [from = '', to = ''] = path.split('\0');
        this.#change(from, null);
        this.#change(to, this.#file(number));
        break;
      }
      case 'mkdir':
        this.#folders.set(path, { durable: new Map(), pending: [] });
        this.#change(path, 'folder');
        break;
      case 'unlink':
      case 'rmdir':
        this.#change(path, null);
        break;
    }
  }

  /** Writes what a cut at this moment may leave into an empty folder. */
  async cut(random: () => number, target: string): Promise<void> {
    await mkdir(target, { recursive: true });
    await this.#cutFolder(random, this.#root, target);
  }

  async #cutFolder(random: () => number, path: string, target: string): Promise<void> {
    const folder = this.#folders.get(path);
    if (folder === undefined) return;
    const names = new Map(folder.durable);
    const arrived = Math.floor(random() * (folder.pending.length + 1));
    for (const change of folder.pending.slice(0, arrived)) applyName(names, change);
    for (const [name, file] of names) {
      const inner = join(path, name);
      const to = join(target, relative(this.#root, inner));
      if (file === 'folder') {
        await mkdir(to, { recursive: true });
        await this.#cutFolder(random, inner, target);
      } else await writeFile(to, contentAfterCut(random, file));
    }
  }

  #sync(number: number): void {
    const path = this.#folderOfNumber.get(number);
    const folder = path === undefined ? undefined : this.#folders.get(path);
    if (folder !== undefined) {
      for (const change of folder.pending) applyName(folder.durable, change);
      folder.pending = [];
      return;
    }
    const file = this.#files.get(number);
    if (file === undefined) return;
    for (const { offset, bytes } of file.pending) {
      if (bytes === null) file.durable.truncate(offset);
      else file.durable.write(offset, bytes);
    }
    file.pending = [];
  }

  #file(number: number): File {
    const file = this.#files.get(number);
    if (file === undefined) throw new Error(`file ${number} was never created`);
    return file;
  }

  #change(path: string, file: File | 'folder' | null): void {
    const folder = this.#folders.get(dirname(path));
    if (folder === undefined) throw new Error(`${path} has no folder`);
    folder.pending.push({ name: path.slice(dirname(path).length + 1), file });
  }
}

function applyName(names: Map<string, File | 'folder'>, { name, file }: NameChange): void {
  if (file === null) names.delete(name);
  else names.set(name, file);
}

function contentAfterCut(random: () => number, file: File): Buffer {
  const content = file.durable.copy();
  // Each cut has a mood of its own: nearly all arrived, nearly nothing, or half.
  const share = random();
  for (const { offset, bytes } of file.pending) {
    if (bytes === null) {
      if (random() < share) content.truncate(offset);
      continue;
    }
    for (let at = 0; at < bytes.length;) {
      const sectorEnd = at + sectorBytes - ((offset + at) % sectorBytes);
      if (random() < share) content.write(offset + at, bytes.subarray(at, sectorEnd));
      at = Math.min(sectorEnd, bytes.length);
    }
  }
  return content.bytes;
}

/** The bytes of a file. */
class Content {
  #buffer = Buffer.alloc(0);
  #length = 0;

  get bytes(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  write(offset: number, bytes: Buffer): void {
    this.truncate(Math.max(this.#length, offset + bytes.length));
    bytes.copy(this.#buffer, offset);
  }

  /** Also makes it longer, by zeros. */
  truncate(length: number): void {
    if (length > this.#buffer.length) {
      // Twice as much as is needed: a file of many appends is not copied for each.
      const larger = Buffer.alloc(2 * length);
      this.bytes.copy(larger);
      this.#buffer = larger;
    } else if (length < this.#length) this.#buffer.fill(0, length, this.#length);
    this.#length = length;
  }

  copy(): Content {
    const copy = new Content();
    copy.write(0, this.bytes);
    return copy;
  }
}
