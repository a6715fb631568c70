/**
 * headgate.yaml and the environment in; a configuration out, or every problem at once.
 *
 * Whatever the file holds, the answer is one of the two, in bounded time. The steps: the text
 * becomes a tree that remembers lines (document.ts, substitute.ts), the environment is laid over
 * it (environment.ts), texts get the type that their key has, and the schema judges the whole.
 */
import { createHash } from 'node:crypto';
import { dirname, isAbsolute, resolve } from 'node:path';
import { parseFile, type RawMap, type RawNode } from './document.ts';
import { applyEnvironment } from './environment.ts';
import { explain, locate } from './explain.ts';
import { readFileText, readSecretFile } from './files.ts';
import { fileSchema } from './mistakes.ts';
import { problem, type Origin, type Problem } from './problems.ts';
import type { Config } from './schema.ts';
import { messageOf, substituteFrom, type Environment } from './substitute.ts';
import { childOf, configTree, isLeaf, mapLeaves, type KeyNode, type KeyPath } from './tree.ts';

const problemsShownMax = 100;

export interface ConfigSource {
  /** How the file is called in problems. */
  readonly name: string;
  readonly text: string;
  /** Relative files and folders are taken from here. Absolute. */
  readonly folder: string;
  readonly env: Environment;
}

/** A file that a configuration was made of; its content, as far as telling changes goes. */
export interface FileRead {
  /** Absolute. */
  readonly path: string;
  /** SHA-256; null: it could not be read. */
  readonly digest: string | null;
}

export type ConfigResult = {
  /** The file itself, and what it and the environment refer to. */
  readonly files: readonly FileRead[];
} & (
  | {
      readonly ok: true;
      readonly config: Config;
      /** The text holds nothing, or comments alone. */
      readonly isEmpty: boolean;
      /** Where the value of a key was set. */
      readonly originOf: (path: KeyPath) => Origin;
    }
  | { readonly ok: false; readonly problems: readonly Problem[] }
);

/**
 * Loads a configuration file; `null`: there is none, and only the environment counts.
 * @param folder where relative files are taken from when there is no file; absolute
 */
export async function loadConfig(options: {
  readonly file: string | null;
  readonly folder: string;
  readonly env: Environment;
}): Promise<ConfigResult> {
  const { file, folder, env } = options;
  if (file === null) return parseConfig({ name: '', text: '', folder, env });
  const path = resolve(folder, file);
  let text: string;
  try {
    text = await readFileText(path);
  } catch (error) {
    const message = `can't be read: ${messageOf(error)}`;
    const problems = [problem({ kind: 'default' }, '', `${file} ${message}`)];
    return { ok: false, problems, files: [{ path, digest: null }] };
  }
  const result = parseConfig({ name: file, text, folder: dirname(path), env });
  return { ...result, files: [{ path, digest: digestOf(text) }, ...result.files] };
}

function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** As `loadConfig`, with the text at hand. Reads only files that the text or a variable names. */
export function parseConfig({ name, text, folder, env }: ConfigSource): ConfigResult {
  const files: FileRead[] = [];
  const readText = (name: string): string => {
    const path = resolve(folder, name);
    try {
      const read = readSecretFile(path);
      files.push({ path, digest: digestOf(read) });
      return read;
    } catch (error) {
      files.push({ path, digest: null });
      throw error;
    }
  };
  const parsed = parseFile(name, text, substituteFrom(env, readText));
  const problems = new ProblemList();
  problems.add(parsed.problems);
  const fileOrigin: Origin = { kind: 'file', name, line: 1, column: 1 };
  if (parsed.root !== null && parsed.root.kind !== 'map') {
    problems.add([problem(parsed.root.origin, '', 'the file does not begin with a key')]);
  }
  const root: RawMap =
    parsed.root?.kind === 'map'
      ? parsed.root
      : { kind: 'map', origin: fileOrigin, entries: new Map(), keyOrigins: new Map() };
  problems.add(applyEnvironment(root, configTree, env, readText));

  // After an error of syntax nobody knows which keys the file has, and what is missing.
  const readable = parsed.root !== null || parsed.problems.length === 0;
  const result = readable ? fileSchema.safeParse(toPlain(root, configTree)) : null;
  for (const issue of result?.error?.issues ?? []) problems.add(explain(issue, root));
  if (result?.success !== true || problems.length > 0)
    return { ok: false, problems: problems.sorted(), files };
  return {
    ok: true,
    files,
    isEmpty: parsed.root === null,
    config: resolvePaths(result.data, folder),
    originOf: (path) => {
      const found = locate(root, path);
      return found.exact ? found.node.origin : { kind: 'default' };
    },
  };
}

/** Problems in the order of the file, one per key and place, and not more than anyone reads. */
class ProblemList {
  readonly #problems = new Map<string, Problem>();
  #left = 0;

  get length(): number {
    return this.#problems.size;
  }

  add(problems: readonly Problem[]): void {
    for (const found of problems) {
      const id = JSON.stringify([found.origin, found.key, found.key === '' ? found.message : '']);
      if (this.#problems.has(id)) continue;
      if (this.#problems.size >= problemsShownMax) this.#left += 1;
      else this.#problems.set(id, found);
    }
  }

  sorted(): readonly Problem[] {
    const line = ({ origin }: Problem): number =>
      origin.kind === 'file' ? origin.line * 1e6 + origin.column : Infinity;
    const sorted = [...this.#problems.values()].sort((a, b) => {
      const [first, second] = [line(a), line(b)];
      return first === second ? 0 : first - second;
    });
    if (this.#left === 0) return sorted;
    return [...sorted, problem({ kind: 'default' }, '', `and ${this.#left} more problems`)];
  }
}

/** The values of a tree; texts take the type of their key where they came from outside. */
function toPlain(raw: RawNode, node: KeyNode | undefined): unknown {
  if (raw.kind === 'map') {
    const entries = [...raw.entries].map(([key, child]) => [
      key,
      toPlain(child, node === undefined ? undefined : childOf(node, key)),
    ]);
    return Object.fromEntries(entries) as unknown;
  }
  if (raw.kind === 'list') {
    return raw.items.map((item, index) =>
      toPlain(item, node === undefined ? undefined : childOf(node, index)),
    );
  }
  const { value, text, substituted } = raw;
  if (node === undefined || !isLeaf(node)) return value;
  if (substituted && node.nullable && text === 'null') return null;
  // A password 0123 or a stream called 42 is a text, however YAML reads it.
  if (node.kind === 'text' || node.kind === 'choice') return value === null ? null : text;
  if (!substituted) return value;
  if (node.kind === 'number' && /^-?\d{1,15}(\.\d{1,15})?$/.test(text)) return Number(text);
  if (node.kind === 'flag' && (text === 'true' || text === 'false')) return text === 'true';
  return text;
}

function resolvePaths(config: Config, folder: string): Config {
  return mapLeaves(configTree, config, (leaf, value) => {
    // A program without a slash is looked for in PATH.
    if (!leaf.path || typeof value !== 'string' || isAbsolute(value)) return value;
    return leaf.program && !value.includes('/') ? value : resolve(folder, value);
  }) as Config;
}
