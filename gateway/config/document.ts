/**
 * From YAML text to a tree of values that remember where they were written.
 *
 * Whatever the text is, the answer is a tree or problems, in bounded time and memory: the text, the
 * depth and the number of values (aliases expanded) are limited. Nothing is known here of which
 * keys there are.
 */
import {
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  type Alias,
  type Document,
  type ErrorCode,
  type Node,
  type YAMLError,
  type YAMLMap,
} from 'yaml';
import { problem, type Origin, type Problem } from './problems.ts';
import { showPath, type KeyPath } from './tree.ts';

const textMaxLength = 2 ** 19;
const depthMax = 32;
const valuesMax = 100_000;
const charactersMax = 2 ** 24;
const syntaxProblemsMax = 20;

export type RawNode = RawMap | RawList | RawScalar;

export interface RawMap {
  readonly kind: 'map';
  readonly origin: Origin;
  readonly entries: Map<string, RawNode>;
  /** Where the keys themselves are written. */
  readonly keyOrigins: Map<string, Origin>;
}

export interface RawList {
  readonly kind: 'list';
  readonly origin: Origin;
  readonly items: RawNode[];
}

export interface RawScalar {
  readonly kind: 'scalar';
  readonly origin: Origin;
  readonly value: string | number | boolean | null;
  /** As it was written, for keys that hold text: `0123` is a password, not a number. */
  readonly text: string;
  /** The text came from a variable or a file, and takes the type that its key has. */
  readonly substituted: boolean;
}

/** Replaces what stands for something else in a text; tells of what can't be. */
export type Substitute = (
  text: string,
  report: (message: string, allowed?: string) => void,
) => { readonly text: string; readonly substituted: boolean };

/** Where in its source a position is: an offset into a file, or a variable as a whole. */
type Locate = (offset: number) => Origin;

export interface ParsedDocument {
  /** null when it is empty, or when there are problems of syntax. */
  readonly root: RawNode | null;
  readonly problems: readonly Problem[];
}

/** Parses a file. `name` is how it is called in problems. */
export function parseFile(name: string, text: string, substitute: Substitute): ParsedDocument {
  const lines = new LineCounter();
  const locate: Locate = (offset) => {
    const { line, col } = lines.linePos(offset);
    return { kind: 'file', name, line: Math.max(1, line), column: Math.max(1, col) };
  };
  return parse(text, locate, [], substitute, lines);
}

/** Parses the value of a variable that holds a whole part of the configuration, as YAML or JSON. */
export function parseVariable(name: string, path: KeyPath, text: string): ParsedDocument {
  return parse(
    text,
    () => ({ kind: 'variable', name }),
    path,
    (same) => ({ text: same, substituted: false }),
    new LineCounter(),
  );
}

function parse(
  text: string,
  locate: Locate,
  path: KeyPath,
  substitute: Substitute,
  lineCounter: LineCounter,
): ParsedDocument {
  const failed = (message: string, allowed?: string): ParsedDocument => ({
    root: null,
    problems: [problem(locate(0), showPath(path), message, { allowed: allowed ?? null })],
  });
  if (text.length > textMaxLength) {
    return failed('is too large', `at most ${textMaxLength / 1024} KiB of text`);
  }
  let document: Document.Parsed;
  try {
    // Duplicate keys are looked for below: the parser's own check takes quadratic time.
    const options = {
      lineCounter,
      prettyErrors: false,
      uniqueKeys: false,
      schema: 'core',
    } as const;
    document = parseDocument(text, options);
  } catch (error) {
    // The parser recurses, and the stack ends before a megabyte of brackets does.
    if (error instanceof RangeError) return failed('is nested too deeply');
    throw error;
  }
  if (document.errors.length + document.warnings.length > 0) {
    const found = firstCauses([...document.errors, ...document.warnings]);
    const problems = found.map(({ code, pos: [at] }) =>
      isExpression(text, at)
        ? problem(locate(at - 1), showPath(path), expressionMessage)
        : problem(locate(at), showPath(path), syntaxMessages[code]),
    );
    return { root: null, problems };
  }
  const builder = new Builder(locate, substitute);
  const root = document.contents === null ? null : builder.build(document.contents, path, 0);
  return { root, problems: builder.problems };
}

/**
 * The errors that say something: after the first, the parser stumbles over much of what follows, and
 * after a bracket that is not closed over every line.
 */
function firstCauses(errors: readonly YAMLError[]): readonly YAMLError[] {
  const inOrder = [...errors].sort((a, b) => a.pos[0] - b.pos[0]);
  const firstIndent = inOrder.find(({ code }) => code === 'BAD_INDENT');
  const told = inOrder.filter(
    (error, index) =>
      index === 0 ||
      (error.code === 'BAD_INDENT' ? error === firstIndent : error.code !== 'UNEXPECTED_TOKEN'),
  );
  return told.slice(0, syntaxProblemsMax);
}

/** A prefix that begins with an expression, as Firehose has them: YAML takes `!` for a tag. */
function isExpression(text: string, at: number): boolean {
  return text.startsWith('!{', at - 1);
}

const expressionMessage =
  'a value that begins with !{ needs quotes, as in "!{timestamp:yyyy/MM/dd}/"';

/** Our own words: the parser's messages quote the text, which may be a secret. */
const syntaxMessages: Readonly<Record<ErrorCode, string>> = {
  ALIAS_PROPS: 'an alias can have neither anchor nor tag',
  BAD_ALIAS:
    'the name of an anchor or alias is wrong (a value that begins with & or * needs quotes)',
  BAD_COLLECTION_TYPE: 'the tag does not fit the value',
  BAD_DIRECTIVE: 'the directive is not known (a value that begins with % needs quotes)',
  BAD_DQ_ESCAPE:
    'the escape after the backslash is not known (in single quotes it stands for itself)',
  BAD_INDENT: 'the indentation is wrong, or a bracket is not closed',
  BAD_PROP_ORDER: 'anchors and tags come before the value',
  BAD_SCALAR_START: 'the value begins with a character that needs quotes',
  BLOCK_AS_IMPLICIT_KEY:
    'there is a second key on the line (a value with a colon and a space needs quotes)',
  BLOCK_IN_FLOW: 'within [ ] and { } there can be no indented block',
  DUPLICATE_KEY: 'the key is there twice',
  IMPOSSIBLE: 'is not YAML',
  KEY_OVER_1024_CHARS: 'the key is longer than 1024 characters',
  MISSING_CHAR: 'a character is missing here: a colon, a comma, a quote or a bracket',
  MULTILINE_IMPLICIT_KEY: 'a key goes over several lines (is there a colon missing?)',
  MULTIPLE_ANCHORS: 'there are two anchors',
  MULTIPLE_DOCS: 'there is a second document (---)',
  MULTIPLE_TAGS: 'there are two tags',
  NON_STRING_KEY: 'the key is not a text',
  RESOURCE_EXHAUSTION: 'is nested too deeply',
  TAB_AS_INDENT: 'a tab is used to indent; YAML takes only spaces',
  TAG_RESOLVE_FAILED: 'the tag is not known (a value that begins with ! needs quotes)',
  UNEXPECTED_TOKEN: 'this is not expected here (a ${…} inside { } or [ ] needs quotes)',
};

/** Builds the tree of one document, in document order. */
class Builder {
  readonly problems: Problem[] = [];
  readonly #locate: Locate;
  readonly #substitute: Substitute;
  readonly #anchors = new Map<string, Node>();
  /** What an alias stood for when it was first met: an anchor's name may be used again later. */
  readonly #aliased = new Map<Alias, Node | undefined>();
  #valuesLeft = valuesMax;
  #charactersLeft = charactersMax;
  #full = false;

  constructor(locate: Locate, substitute: Substitute) {
    this.#locate = locate;
    this.#substitute = substitute;
  }

  build(node: Node, path: KeyPath, depth: number): RawNode | null {
    const origin = this.#locate(node.range?.[0] ?? 0);
    if (this.#full) return null;
    if (this.#valuesLeft-- <= 0 || depth > depthMax) return this.#overflow(origin, path);
    if (isAlias(node)) return this.#buildAlias(node, origin, path, depth);
    if (node.anchor !== undefined) this.#anchors.set(node.anchor, node);
    if (isMap(node)) return this.#buildMap(node, origin, path, depth);
    if (isSeq(node)) {
      const items: RawNode[] = [];
      node.items.forEach((item, index) => {
        const built = this.build(item as Node, [...path, index], depth + 1);
        if (built !== null) items.push(built);
      });
      return { kind: 'list', origin, items };
    }
    return this.#buildScalar(node, origin, path);
  }

  #buildAlias(node: Alias, origin: Origin, path: KeyPath, depth: number): RawNode | null {
    if (!this.#aliased.has(node)) this.#aliased.set(node, this.#anchors.get(node.source));
    const target = this.#aliased.get(node);
    if (target !== undefined) return this.build(target, path, depth + 1);
    this.#report(origin, path, 'refers to an anchor that is not there', {
      allowed: 'quotes around a value that begins with *',
    });
    return null;
  }

  #buildMap(node: YAMLMap, origin: Origin, path: KeyPath, depth: number): RawMap {
    const entries = new Map<string, RawNode>();
    const keyOrigins = new Map<string, Origin>();
    for (const pair of node.items) {
      const keyNode = pair.key as Node | null;
      const keyOrigin = this.#locate(keyNode?.range?.[0] ?? node.range?.[0] ?? 0);
      if (!isScalar(keyNode)) {
        this.#report(keyOrigin, path, 'has a key that is not a simple name');
        continue;
      }
      const key = typeof keyNode.value === 'string' ? keyNode.value : (keyNode.source ?? '');
      if (key === '__proto__') {
        this.#report(keyOrigin, path, 'has a key called __proto__');
        continue;
      }
      const before = keyOrigins.get(key);
      if (before !== undefined) {
        const line = before.kind === 'file' ? ` (first in line ${before.line})` : '';
        this.#report(keyOrigin, [...path, key], `is there twice${line}`);
        continue;
      }
      keyOrigins.set(key, keyOrigin);
      const value = pair.value as Node | null;
      const built = value === null ? null : this.build(value, [...path, key], depth + 1);
      // A key with nothing after it, as when all that is below is commented out, is left out.
      if (
        built === null ||
        (built.kind === 'scalar' && built.value === null && built.text === '')
      ) {
        continue;
      }
      // A part of the configuration is where its key is; a value is where it is itself.
      entries.set(key, built.kind === 'scalar' ? built : { ...built, origin: keyOrigin });
    }
    return { kind: 'map', origin, entries, keyOrigins };
  }

  #buildScalar(node: Node, origin: Origin, path: KeyPath): RawScalar | null {
    if (!isScalar(node)) return null;
    const { value, source } = node;
    if (typeof value === 'string') {
      const { text, substituted } = this.#substitute(value, (message, allowed) => {
        this.#report(origin, path, message, { allowed: allowed ?? null });
      });
      this.#charactersLeft -= text.length;
      if (this.#charactersLeft < 0) return this.#overflow(origin, path);
      return { kind: 'scalar', origin, value: text, text, substituted };
    }
    const text = source ?? '';
    const simple = typeof value === 'number' || typeof value === 'boolean' || value === null;
    return { kind: 'scalar', origin, value: simple ? value : text, text, substituted: false };
  }

  /** Says so once: everything that follows is left out for the same reason. */
  #overflow(origin: Origin, path: KeyPath): null {
    this.#full = true;
    this.#report(origin, path, 'holds too much', {
      allowed: `${valuesMax} values (aliases expanded), ${depthMax} levels, ${charactersMax / 2 ** 20} MiB of text`,
    });
    return null;
  }

  #report(origin: Origin, path: KeyPath, message: string, rest: { allowed?: string | null } = {}) {
    this.problems.push(problem(origin, showPath(path), message, rest));
  }
}
