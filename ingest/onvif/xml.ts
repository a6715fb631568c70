/**
 * Reads the XML of cameras: small documents from strangers. Namespaces are dropped from names
 * (every maker has prefixes of its own, and no two elements that are read here differ by theirs
 * alone), and document types are refused, so there are no entities to blow up.
 */
import { SourceError } from '../source.ts';

export interface XmlElement {
  /** Without its namespace's prefix. */
  readonly name: string;
  /** By name as it was written. */
  readonly attributes: ReadonlyMap<string, string>;
  readonly children: readonly XmlElement[];
  /** Its own text, without that of its children, trimmed. */
  readonly text: string;
}

const depthMax = 32;
const elementsMax = 10_000;
const shownMax = 128;

interface Building {
  readonly name: string;
  readonly attributes: ReadonlyMap<string, string>;
  readonly children: XmlElement[];
  text: string;
}

/**
 * The root of a document, which takes time in proportion to its length; the caller limits that.
 *
 * @throws SourceError `malformed`
 */
export function parseXml(text: string): XmlElement {
  const root: Building = { name: '', attributes: new Map(), children: [], text: '' };
  const open: Building[] = [root];
  let count = 0;
  let at = 0;
  while (at < text.length) {
    const inner = open.at(-1) ?? root;
    const start = text.indexOf('<', at);
    inner.text += unescaped(text.slice(at, start === -1 ? text.length : start));
    if (start === -1) break;
    if (text.startsWith('<!--', start)) at = after(text, '-->', start + 4);
    else if (text.startsWith('<?', start)) at = after(text, '?>', start + 2);
    else if (text.startsWith('<![CDATA[', start)) {
      at = after(text, ']]>', start + 9);
      inner.text += text.slice(start + 9, at - 3);
    } else if (text.startsWith('<!', start)) throw malformed('it has a document type');
    else {
      const end = tagEnd(text, start + 1);
      at = end + 1;
      const tag = text.slice(start + 1, end);
      if (tag.startsWith('/')) {
        if (open.length === 1 || localName(tag.slice(1).trim()) !== inner.name) {
          throw malformed('its elements are not nested');
        }
        open.pop();
        (open.at(-1) ?? root).children.push({ ...inner, text: inner.text.trim() });
        continue;
      }
      count += 1;
      if (count > elementsMax || open.length > depthMax)
        throw malformed('it has too many elements');
      const isEmpty = tag.endsWith('/');
      const element = opened(isEmpty ? tag.slice(0, -1) : tag);
      if (isEmpty) inner.children.push(element);
      else open.push(element);
    }
  }
  const [only, ...more] = root.children;
  if (open.length > 1) throw malformed('it ends too early');
  if (only === undefined || more.length > 0) throw malformed('it is no XML document');
  return only;
}

/** The first element of this name, at any depth, in the order of the document. */
export function find(element: XmlElement, name: string): XmlElement | null {
  for (const child of element.children) {
    const found = child.name === name ? child : find(child, name);
    if (found !== null) return found;
  }
  return null;
}

/** All elements of this name that are not within one another. */
export function findAll(element: XmlElement, name: string): readonly XmlElement[] {
  return element.children.flatMap((child) =>
    child.name === name ? [child] : findAll(child, name),
  );
}

/** The text of the first element of this name; empty where there is none. */
export function textOf(element: XmlElement | null, name: string): string {
  return element === null ? '' : (find(element, name)?.text ?? '');
}

/** What a stranger says of itself, fit to be shown in a terminal: cut, without control characters. */
export function printable(text: string): string {
  return text.replaceAll(/[\p{C}\p{Zl}\p{Zp}]/gu, '?').slice(0, shownMax);
}

export function escapeXml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}

function opened(tag: string): Building {
  const name = /^\S+/.exec(tag)?.[0] ?? '';
  const attributes = new Map<string, string>();
  const attribute = /\s*([^\s=]+)\s*=\s*(?:"([^"]*)"|'([^']*)')/y;
  attribute.lastIndex = name.length;
  for (;;) {
    const match = attribute.exec(tag);
    if (match === null) break;
    attributes.set(match[1] ?? '', unescaped(match[2] ?? match[3] ?? ''));
  }
  if (!/^[\p{L}_]/u.test(name)) throw malformed('an element has no name');
  return { name: localName(name), attributes, children: [], text: '' };
}

function localName(name: string): string {
  return name.slice(name.indexOf(':') + 1);
}

/** Where a tag ends; a `>` within quotes does not end it. */
function tagEnd(text: string, from: number): number {
  let quote = '';
  for (let at = from; at < text.length; at += 1) {
    const char = text[at] ?? '';
    if (quote !== '') {
      if (char === quote) quote = '';
    } else if (char === '"' || char === "'") quote = char;
    else if (char === '>') return at;
  }
  throw malformed('it ends too early');
}

function after(text: string, end: string, from: number): number {
  const found = text.indexOf(end, from);
  if (found === -1) throw malformed('it ends too early');
  return found + end.length;
}

const entities: ReadonlyMap<string, string> = new Map([
  ['amp', '&'],
  ['lt', '<'],
  ['gt', '>'],
  ['quot', '"'],
  ['apos', "'"],
]);

function unescaped(text: string): string {
  if (!text.includes('&')) return text;
  return text.replaceAll(/&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|([a-z]{2,4}));/gi, (whole, ...found) => {
    const [decimal, hex, name] = found as (string | undefined)[];
    if (name !== undefined) return entities.get(name) ?? whole;
    const code = decimal === undefined ? parseInt(hex ?? '', 16) : Number(decimal);
    const isCharacter = code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
    return isCharacter ? String.fromCodePoint(code) : '\ufffd';
  });
}

function malformed(reason: string): SourceError {
  return new SourceError('malformed', `what it answered can't be read: ${reason}`);
}
