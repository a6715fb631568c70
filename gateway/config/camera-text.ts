/**
 * Puts a camera into the text of headgate.yaml, or takes one out, and leaves every other line as its
 * owner wrote it: comments, order, quotes, empty lines. (A YAML library that writes the whole file
 * anew moves comments about.)
 *
 * The places are found by the parser. Where the text is not of a kind that is known here, which the
 * comparison at the end would show, the library does write it anew.
 */
import { isDeepStrictEqual } from 'node:util';
import {
  isMap,
  isScalar,
  isSeq,
  parseDocument,
  stringify,
  type Document,
  type Node,
  type Pair,
  type YAMLMap,
} from 'yaml';

/** A camera as it is written: what is left out has its default. */
export type CameraEntry = Readonly<Record<string, unknown>>;

/** The text is not YAML, or not one that can be changed. */
export class TextNotEditable extends Error {
  override readonly name = 'TextNotEditable';
}

interface Place {
  /** Of `cameras`, as it was found; null: there is none, or nothing in it. */
  readonly cameras: YAMLMap | null;
  /** Behind the line of a `cameras:` with nothing in it; null: there is no such key. */
  readonly emptyAt: number | null;
}

/** The text with this camera in it, in the place of one of the same name if there is one. */
export function withCamera(text: string, camera: string, entry: CameraEntry): string {
  const document = parsed(text);
  const wanted = plain(document);
  wanted.cameras = { ...wanted.cameras, [camera]: entry };
  const changed = added(text, document, camera, entry);
  if (changed !== null && means(changed, wanted)) return changed;
  const cameras: unknown = document.get('cameras');
  if (isMap(cameras)) cameras.set(camera, document.createNode(entry));
  else document.set('cameras', document.createNode({ [camera]: entry }));
  return document.toString({ lineWidth: 0 });
}

/** The text without this camera; as it was when it has no such camera. */
export function withoutCamera(text: string, camera: string): string {
  const document = parsed(text);
  const wanted = plain(document);
  if (!Object.hasOwn(wanted.cameras ?? {}, camera)) return text;
  wanted.cameras = Object.fromEntries(
    Object.entries(wanted.cameras ?? {}).filter(([name]) => name !== camera),
  );
  const changed = removed(text, document, camera);
  if (changed !== null && means(changed, wanted)) return changed;
  const cameras: unknown = document.get('cameras');
  if (isMap(cameras)) cameras.delete(camera);
  return document.toString({ lineWidth: 0 });
}

/** Whether a camera is written in this text, rather than in a variable of the environment. */
export function hasCamera(text: string, camera: string): boolean {
  return Object.hasOwn(plainOf(text).cameras ?? {}, camera);
}

// ---------------------------------------------------------------- adding and removing

function added(
  text: string,
  document: Document.Parsed,
  camera: string,
  entry: CameraEntry,
): string | null {
  const { cameras, emptyAt } = placeOf(text, document);
  if (cameras === null) {
    if (emptyAt !== null) return insertLines(text, emptyAt, linesOf(camera, entry, 2));
    if (isMap(document.contents) && document.contents.flow === true) return null;
    return insertLines(text, text.length, ['', 'cameras:', ...linesOf(camera, entry, 2)]);
  }
  const existing = pairOf(cameras, camera);
  const isInFlow = isMap(document.contents) && document.contents.flow === true;
  if (cameras.flow === true && cameras.items.length === 0 && !isInFlow) {
    // `cameras: {}` is where people begin: the braces go.
    const [start, end] = [startOf(cameras), contentEnd(cameras)];
    const opened = splice(text, text.slice(0, start).trimEnd().length, end, '');
    return insertLines(opened, lineEnd(opened, start - 1), linesOf(camera, entry, 2));
  }
  if (cameras.flow === true) {
    const value = JSON.stringify(entry);
    const node = existing?.value ?? null;
    if (node !== null) return splice(text, startOf(node), contentEnd(node), value);
    const end = (cameras.range?.[1] ?? 1) - 1;
    const before = text.slice(startOf(cameras) + 1, end).trimEnd();
    const comma = before === '' || before.endsWith(',') ? '' : ',';
    return splice(text, end, end, `${comma} ${JSON.stringify(camera)}: ${value} `);
  }
  const first = cameras.items[0];
  if (first === undefined) return null;
  const indent = startOf(first.key as Node) - lineStart(text, startOf(first.key as Node));
  if (existing !== null) {
    const without = cutLines(text, existing);
    return insertLines(
      without,
      lineStart(text, startOf(existing.key as Node)),
      linesOf(camera, entry, indent),
    );
  }
  const last = cameras.items.at(-1) ?? first;
  return insertLines(text, linesEnd(text, last), linesOf(camera, entry, indent));
}

function removed(text: string, document: Document.Parsed, camera: string): string | null {
  const { cameras } = placeOf(text, document);
  const pair = cameras === null ? null : pairOf(cameras, camera);
  if (cameras === null || pair === null) return null;
  if (cameras.flow !== true) return cutLines(text, pair);
  const index = cameras.items.indexOf(pair);
  const next = cameras.items[index + 1];
  const before = cameras.items[index - 1];
  if (next !== undefined) {
    return splice(text, startOf(pair.key as Node), startOf(next.key as Node), '');
  }
  if (before !== undefined) return splice(text, endOfPair(before), endOfPair(pair), '');
  return splice(text, startOf(cameras), contentEnd(cameras), '{}');
}

function linesOf(camera: string, entry: CameraEntry, indent: number): readonly string[] {
  const written = stringify({ [camera]: entry }, { lineWidth: 0, singleQuote: true }).trimEnd();
  return written.split('\n').map((line) => `${' '.repeat(indent)}${line}`);
}

// ---------------------------------------------------------------- places in the text

function placeOf(text: string, document: Document.Parsed): Place {
  const none = { cameras: null, emptyAt: null };
  if (!isMap(document.contents)) return none;
  const pair = pairOf(document.contents, 'cameras');
  if (pair === null) return none;
  const { value } = pair;
  if (isMap(value)) return { cameras: value, emptyAt: null };
  const isNothing = value === null || (isScalar(value) && value.source === '');
  return isNothing ? { cameras: null, emptyAt: lineEnd(text, startOf(pair.key as Node)) } : none;
}

function pairOf(map: YAMLMap, key: string): Pair<unknown, Node | null> | null {
  const found = map.items.find(({ key: node }) => isScalar(node) && String(node.value) === key);
  return (found as Pair<unknown, Node | null> | undefined) ?? null;
}

function startOf(node: Node): number {
  return node.range?.[0] ?? 0;
}

function endOfPair(pair: Pair): number {
  return pair.value === null ? contentEnd(pair.key as Node) : contentEnd(pair.value as Node);
}

/** Where the last value within a node ends, the comments behind it left out. */
function contentEnd(node: Node): number {
  if ((isMap(node) || isSeq(node)) && node.flow !== true) {
    const last = node.items.at(-1);
    if (isMap(node) && last !== undefined) return endOfPair(last as Pair);
    if (isSeq(node) && last !== undefined) return contentEnd(last as Node);
  }
  return node.range?.[1] ?? 0;
}

function lineStart(text: string, at: number): number {
  return text.lastIndexOf('\n', at - 1) + 1;
}

/** Behind the end of the line that a position is in. */
function lineEnd(text: string, at: number): number {
  const end = text.indexOf('\n', at);
  return end === -1 ? text.length : end + 1;
}

/** Behind the line that a pair ends in; a block of text ends behind its own line end already. */
function linesEnd(text: string, pair: Pair): number {
  const end = endOfPair(pair);
  return lineEnd(text, text[end - 1] === '\n' ? end - 1 : end);
}

function cutLines(text: string, pair: Pair): string {
  return splice(text, lineStart(text, startOf(pair.key as Node)), linesEnd(text, pair), '');
}

function insertLines(text: string, at: number, lines: readonly string[]): string {
  const newLine = text.includes('\r\n') ? '\r\n' : '\n';
  const isOpen = at > 0 && text[at - 1] !== '\n';
  const inserted = (at === 0 && lines[0] === '' ? lines.slice(1) : lines).map(
    (line) => `${line}${newLine}`,
  );
  return splice(text, at, at, `${isOpen ? newLine : ''}${inserted.join('')}`);
}

function splice(text: string, from: number, to: number, by: string): string {
  return text.slice(0, from) + by + text.slice(to);
}

// ---------------------------------------------------------------- what a text means

type Plain = Record<string, unknown> & { cameras?: Record<string, unknown> | null };

function parsed(text: string): Document.Parsed {
  const document = parseDocument(text, { schema: 'core', prettyErrors: false });
  const isUsable = document.contents === null || isMap(document.contents);
  if (document.errors.length > 0 || !isUsable) {
    throw new TextNotEditable('the configuration file is not YAML that can be changed');
  }
  return document;
}

/** Whether a text says this. A `cameras:` with nothing behind it has no cameras. */
function means(text: string, wanted: Plain): boolean {
  try {
    const found = plainOf(text);
    found.cameras ??= {};
    return isDeepStrictEqual(found, wanted);
  } catch (error) {
    if (error instanceof TextNotEditable) return false;
    throw error;
  }
}

function plain(document: Document.Parsed): Plain {
  return (document.toJS({ maxAliasCount: 1000 }) ?? {}) as Plain;
}

function plainOf(text: string): Plain {
  return plain(parsed(text));
}
