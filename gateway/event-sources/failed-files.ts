/**
 * Failed batches that are kept in a folder. One whose replay was asked for has another ending, until
 * it is done: so it is neither counted twice nor replaced by what fails once more.
 */
import { readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../storage/ports.ts';
import { InTurn } from '../forward/in-turn.ts';
import { SinkError } from '../forward/sink.ts';
import { codeOf } from '../security/access-files.ts';
import { letterEnding } from './dead-letters.ts';
import type { FailedBatches, FailedStatus, NewestFailure, ReplayPorts } from './failed-batches.ts';
import { readLetter } from './letters.ts';

const askedEnding = `${letterEnding}.replay`;
/** So long what was found there is told again, unless it was changed from here. */
const lookEveryMs = 10_000;

export class FolderBatches implements FailedBatches {
  /** That of the event source. */
  readonly #folder: string;
  readonly #clock: Clock;
  readonly #turns = new InTurn();
  #looked: { readonly atMs: number; readonly status: Promise<FailedStatus> } | null = null;

  constructor(folder: string, clock: Clock) {
    this.#folder = folder;
    this.#clock = clock;
  }

  status(): Promise<FailedStatus> {
    const nowMs = this.#clock.monotonicMs();
    if (this.#looked === null || nowMs - this.#looked.atMs >= lookEveryMs) {
      this.#looked = { atMs: nowMs, status: this.#look() };
    }
    return this.#looked.status;
  }

  changed(): void {
    this.#looked = null;
  }

  /** One after the other: of two at once, the second finds what the first has left. */
  askForReplay(): Promise<number> {
    return this.#turns.run(() => this.#ask());
  }

  async #ask(): Promise<number> {
    const waiting = await this.#files(letterEnding);
    const asked = new Set(await this.#files(askedEnding));
    let batches = 0;
    for (const file of waiting) {
      const askedFile = `${file.slice(0, -letterEnding.length)}${askedEnding}`;
      // It has failed once more just now: once the other is removed, it can be asked for.
      if (asked.has(askedFile)) continue;
      // Somebody else may have removed it.
      if ((await unlessMissing(rename(file, askedFile).then(() => true))) === true) batches += 1;
    }
    this.changed();
    return batches;
  }

  async replay({ settle, signal }: ReplayPorts): Promise<void> {
    for (const file of await this.#files(askedEnding)) {
      signal.throwIfAborted();
      const letter = readLetter(await readFile(file), this.#clock.nowMs());
      if (letter === null || letter.batch === null) {
        await rename(file, `${file.slice(0, -askedEnding.length)}${letterEnding}`);
      } else {
        await settle(letter.batch);
        await rm(file);
      }
      this.changed();
    }
    // Also if there was none: somebody else may have removed them.
    this.changed();
  }

  async #look(): Promise<FailedStatus> {
    const [waiting, asked] = [await this.#files(letterEnding), await this.#files(askedEnding)];
    return {
      batches: waiting.length + asked.length,
      newest: await this.#newestOf(waiting),
      isReplaying: asked.length > 0,
    };
  }

  /** Of each shard the file with the highest numbers, which is the latest. */
  async #newestOf(files: readonly string[]): Promise<NewestFailure | null> {
    const last = new Map(files.map((file) => [join(file, '..'), file]));
    let newest: NewestFailure | null = null;
    for (const file of last.values()) {
      const data = await unlessMissing(readFile(file));
      // It was renamed meanwhile, or removed.
      if (data === null) continue;
      const letter = readLetter(data, this.#clock.nowMs());
      if (letter === null || letter.atMs < (newest?.atMs ?? 0)) continue;
      newest = { atMs: letter.atMs, reason: letter.reason };
    }
    return newest;
  }

  /** @throws SinkError that says which folder it is, and why */
  async #names(): Promise<readonly string[]> {
    try {
      return await readdir(this.#folder, { recursive: true });
    } catch (error) {
      if (codeOf(error) === 'ENOENT') throw error;
      // `EACCES: permission denied, scandir '…'`
      const [reason] = error instanceof Error ? error.message.split(', ', 1) : [String(error)];
      throw new SinkError('denied', `${reason}: ${this.#folder}`, { cause: error });
    }
  }

  /** In order. */
  async #files(ending: string): Promise<readonly string[]> {
    const names = (await unlessMissing(this.#names())) ?? [];
    const own = names.filter((name) => name.endsWith(ending));
    return own.sort().map((name) => join(this.#folder, name));
  }
}

/** null: what it is about is not there. */
async function unlessMissing<T>(work: Promise<T>): Promise<T | null> {
  try {
    return await work;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return null;
    throw error;
  }
}
