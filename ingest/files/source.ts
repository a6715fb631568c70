/**
 * Follows files and appends what comes to them to a stream, as an agent for logs does.
 *
 * Invariants
 * - The place in a file is moved in the transaction of the records that were read before it
 *   (`storage/places.ts`): kill -9 at any moment neither loses a line nor stores one twice.
 * - Nothing is kept in memory but what one append takes: half a line, or a record of several lines
 *   that may go on, stays in its file and is read again.
 * - What the log does not take now (full, overloaded) waits in the files, while they are still
 *   looked after: those that lose their names stay open.
 * - One loop does it all, in turns: look at what changed, read what is new, wait. So nothing
 *   is renamed under a reader by ourselves.
 *
 * Which file is which is in `registry.ts`, lines and records in `split.ts`, conversions in
 * `convert.ts`.
 */
import { StorageError } from '../../storage/errors.ts';
import type { RecordInput } from '../../storage/model.ts';
import type { Places } from '../../storage/places.ts';
import type { Clock, Logger, Metrics } from '../../storage/ports.ts';
import { SourceError, type Source, type SourceContext } from '../source.ts';
import { UnfitFile } from './content.ts';
import {
  compileConverter,
  compilePattern,
  type ConversionOptions,
  type Converter,
} from './convert.ts';
import { codeOf, isOfSystem } from './errors.ts';
import { FolderWatch } from './folder-watch.ts';
import { recordsMaxDefault, type FollowedFile } from './followed-file.ts';
import { defaultTiming, Loop, type Timing } from './loop.ts';
import { compileFileKey, type RecordKey } from './partition-key.ts';
import { readTurn, type ReadingOptions, type Turn } from './reading.ts';
import { Registry } from './registry.ts';
import { FileCounts, type FilesStatus } from './status.ts';
import { Wakes } from './wakes.ts';

export interface FileSourceOptions extends ConversionOptions {
  readonly name: string;
  /** Absolute: a file, a folder (all files in it), or a pattern (glob.ts). */
  readonly path: string;
  readonly stream: string;
  /** Where to begin with files that are there when it runs for the first time ever. */
  readonly from: 'beginning' | 'end';
  readonly multiline: {
    /** What the first line of a record matches; null: every line is a record. */
    readonly startPattern: string | null;
    /** A record is complete when nothing was added to it for this long. */
    readonly flushSeconds: number;
  };
  /** A template: see partition-key.ts. */
  readonly partitionKey: string;
  /** A longer record is cut, and counted. */
  readonly maxLineBytes: number;
  readonly places: Pick<Places, 'of' | 'move'>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** 0 inclusive to 1 exclusive. */
  readonly random: () => number;
  readonly timing?: Partial<Timing>;
}

/** Less than what the log takes at once. */
const appendBytesMax = 20 * 1024 * 1024;
/** Files that are read at a time. */
const lanesMax = 4;

export class FileSource implements Source {
  readonly name: string;
  readonly #options: FileSourceOptions;
  readonly #timing: Timing;
  readonly #converter: Converter;
  readonly #recordKey: RecordKey;
  readonly #reading: ReadingOptions;
  readonly #counts: FileCounts;
  #registry: Registry | null = null;

  /** @throws FilesError `invalid-options` */
  constructor(options: FileSourceOptions) {
    this.#options = options;
    this.name = `files/${options.name}`;
    this.#timing = { ...defaultTiming, ...options.timing };
    this.#converter = compileConverter(options);
    this.#recordKey = compileFileKey(options.partitionKey, options.random);
    this.#reading = {
      maxLineBytes: options.maxLineBytes,
      starts: compileStart(options.multiline.startPattern),
      converter: this.#converter,
      csvDelimiter: options.csv.delimiter,
    };
    this.#counts = new FileCounts(options);
  }

  status(): FilesStatus {
    return this.#counts.status(this.#registry);
  }

  /** @throws SourceError `storage` when the log will not take it however long one waits */
  async run(context: SourceContext): Promise<void> {
    const { signal } = context;
    const { clock, logger, path, name, from, maxLineBytes, places } = this.#options;
    const registry = new Registry({
      ...{ source: name, pattern: path, from, maxLineBytes, places, clock, logger },
    });
    this.#registry = registry;
    const wakes = new Wakes(clock, signal);
    const watch = new FolderWatch((changed, named) => {
      wakes.changed(changed, named);
    }, logger);
    try {
      await registry.load();
      const loop = new Loop(registry, watch, wakes, this.#timing, clock);
      while (!signal.aborted) {
        await loop.look();
        if (loop.isScanDue) await this.#log(loop, () => loop.scan());
        const more = !loop.isRefused && (await this.#round(registry, loop, signal));
        context.ready();
        this.#counts.update(registry);
        if (more) continue;
        await wakes.wait(loop.restMs(this.#nextEndMs(registry)), this.#timing.gatherMs);
      }
    } catch (error) {
      if (!signal.aborted || !isClosed(error)) throw asSourceError(error);
    } finally {
      watch.close();
      await registry.close();
      this.#registry = null;
    }
  }

  /** A turn for every file that has something new; whether there is more to read at once. */
  async #round(registry: Registry, loop: Loop, signal: AbortSignal): Promise<boolean> {
    const due = [...registry.files.values()].filter((file) => this.#isDue(file));
    const lane = async (): Promise<boolean> => {
      let more = false;
      for (let file = due.shift(); file !== undefined; file = due.shift()) {
        if (signal.aborted || loop.isRefused) return false;
        if (await this.#turn(file, registry, loop)) more = true;
      }
      return more;
    };
    const lanes = await Promise.all(Array.from({ length: lanesMax }, lane));
    return !loop.isRefused && lanes.includes(true);
  }

  /** Whether there is more to read at once. */
  async #turn(file: FollowedFile, registry: Registry, loop: Loop): Promise<boolean> {
    const end = this.#endOf(file);
    const turn = await this.#read(file, registry, end);
    if (turn === null) {
      // The next scan tries it again.
      file.dirty = false;
      return false;
    }
    if (turn.kind !== 'read') {
      // Without a name, what was read is nowhere any more.
      if (file.path === null) await file.close();
      loop.scanSoon();
      return false;
    }
    if (turn.next !== file.place) {
      if (!(await this.#log(loop, () => this.#store(file, turn)))) return false;
      loop.taken();
    }
    // What was too much for one append is read again.
    if (turn.next.offset !== file.place.offset) return true;
    file.unfinished = turn.unfinished;
    if (!turn.atEnd && !turn.unfinished) return true;
    file.dirty = false;
    if (end.endLine) {
      file.ended = 'line';
      if (file.path === null) {
        await file.close();
        loop.scanSoon();
      }
    } else if (end.endRecord) {
      file.ended = 'record';
    }
    return false;
  }

  /** Does what the log may refuse; false: it has, and takes nothing for a while. */
  async #log(loop: Loop, work: () => Promise<void>): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (error) {
      if (!this.#counts.refused(error)) throw error;
      loop.refused();
      return false;
    }
  }

  async #read(
    file: FollowedFile,
    registry: Registry,
    end: { endRecord: boolean; endLine: boolean },
  ): Promise<Turn | null> {
    try {
      return await readTurn(file, end, this.#reading);
    } catch (error) {
      if (!(error instanceof UnfitFile) && !isOfSystem(error)) throw error;
      registry.note(file.lastPath, error instanceof UnfitFile ? error.message : codeOf(error));
      return null;
    }
  }

  /** Stores what was read, or has less read at a time where that is too much for one append. */
  async #store(file: FollowedFile, turn: Extract<Turn, { kind: 'read' }>): Promise<void> {
    const { stream, name, places, clock } = this.#options;
    const { path } = file.place;
    const converted = this.#converter.convert(turn.texts, file.header?.names ?? []);
    const records: readonly RecordInput[] = converted.map(({ data, value }) => ({
      partitionKey: this.#recordKey({ path, value }),
      data,
    }));
    const bytes = records.reduce((sum, { data }) => sum + data.length, 0);
    if (bytes > appendBytesMax && records.length > 1) {
      file.recordsMax = Math.ceil(records.length / 4);
      return;
    }
    file.recordsMax = recordsMaxDefault;
    const place = { ...turn.next, seenMs: clock.nowMs() };
    await places.move(name, new Map([[file.key, place]]), { stream, records, cut: turn.cut });
    file.place = place;
    this.#counts.stored(converted, turn.cut);
  }

  /** How the end of a file is to be taken, after it has been quiet for as long. */
  #endOf(file: FollowedFile): { endRecord: boolean; endLine: boolean } {
    const { clock, multiline } = this.#options;
    const quietMs = clock.monotonicMs() - file.quietSinceMs;
    const isWhole = file.isRotated || file.content?.compressed === true;
    return {
      endRecord: quietMs >= multiline.flushSeconds * 1000,
      endLine: isWhole && quietMs >= this.#timing.rotatedQuietMs,
    };
  }

  #isDue(file: FollowedFile): boolean {
    return !file.isLost && (file.dirty || this.#endDueMs(file) <= 0);
  }

  /** Milliseconds until something is to be done about the end of a file; Infinity: nothing is. */
  #endDueMs(file: FollowedFile): number {
    if (file.isLost || file.ended === 'line') return Infinity;
    const { clock, multiline } = this.#options;
    const quietMs = clock.monotonicMs() - file.quietSinceMs;
    const isWhole = file.isRotated || file.content?.compressed === true;
    const lineMs =
      isWhole && (file.unfinished || file.path === null)
        ? this.#timing.rotatedQuietMs - quietMs
        : Infinity;
    if (file.ended === 'record' || !file.unfinished || this.#reading.starts === null) return lineMs;
    return Math.min(lineMs, multiline.flushSeconds * 1000 - quietMs);
  }

  #nextEndMs(registry: Registry): number {
    let nextMs = Infinity;
    for (const file of registry.files.values()) nextMs = Math.min(nextMs, this.#endDueMs(file));
    return nextMs;
  }
}

/** @throws FilesError `invalid-options` */
function compileStart(source: string | null): ReadingOptions['starts'] {
  if (source === null) return null;
  const pattern = compilePattern(source);
  // One that takes too long says nothing: then every line begins a record, so that none is lost.
  return (lines) => pattern.match(lines)?.map((match) => match !== null) ?? lines.map(() => true);
}

function isClosed(error: unknown): boolean {
  return error instanceof StorageError && error.code === 'closed';
}

function asSourceError(error: unknown): unknown {
  if (!(error instanceof StorageError)) return error;
  return new SourceError('storage', error.message, { cause: error });
}
