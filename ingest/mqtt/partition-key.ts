/**
 * Partition keys from topics and payloads: `plant-{topic[1]}-{payload.device.id}`.
 *
 *     {topic}            the whole topic
 *     {topic[1]}         one of its levels, counted from 0
 *     {clientId}         the publisher's client identifier
 *     {payload}          the payload, where it is a text, number or boolean
 *     {payload.a.b[0]}   a field of a JSON or CBOR payload
 *     {{ and }}          braces
 *
 * A key is always 1 to 256 characters: longer ones end in the SHA-256 of the whole.
 */
import { createHash } from 'node:crypto';
import { MqttError } from './errors.ts';

const KEY_CHARACTERS_MAX = 256;

export interface KeyContext {
  readonly topic: string;
  readonly levels: readonly string[];
  readonly clientId: string;
  readonly payload: () => unknown;
}

type Part = (context: KeyContext) => string | null;

/** The key of a message, or null when the message lacks something that the template asks for. */
export type KeyTemplate = (context: KeyContext) => string | null;

/** @throws MqttError `invalid-options` that says what is wrong with the template. */
export function compileKeyTemplate(template: string): KeyTemplate {
  const parts: Part[] = [];
  const pattern = /\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+/g;
  for (const match of template.matchAll(pattern)) {
    const [text, reference] = match;
    if (reference !== undefined) parts.push(compileReference(reference, template));
    else if (text === '{{' || text === '}}') parts.push(() => text.charAt(0));
    else if (text === '{' || text === '}') throw problem(template, `a lone ${text}`);
    else parts.push(() => text);
  }
  if (parts.length === 0) throw problem(template, 'it is empty');
  return (context) => {
    let key = '';
    for (const part of parts) {
      const text = part(context);
      if (text === null) return null;
      key += text;
    }
    return key === '' ? null : fitKey(key);
  };
}

/** Makes any text a valid key: well-formed Unicode of at most 256 characters. */
export function fitKey(text: string): string {
  const wellFormed = text.replace(/\p{Surrogate}/gu, '\uFFFD');
  if (wellFormed.length <= KEY_CHARACTERS_MAX) return wellFormed;
  const digest = createHash('sha256').update(wellFormed).digest('hex');
  const kept = wellFormed.slice(0, KEY_CHARACTERS_MAX - digest.length - 1);
  return `${kept.replace(/\p{Surrogate}/gu, '')}-${digest}`;
}

function compileReference(reference: string, template: string): Part {
  if (reference === 'topic') return (context) => context.topic;
  if (reference === 'clientId') return (context) => context.clientId;
  const level = /^topic\[(\d{1,3})\]$/.exec(reference)?.[1];
  if (level !== undefined) return (context) => context.levels[Number(level)] ?? null;
  if (!/^payload((\.[^.[\]]+)|(\[\d{1,9}\]))*$/.test(reference)) {
    throw problem(
      template,
      `{${reference}} is none of {topic}, {topic[1]}, {clientId}, {payload.field}`,
    );
  }
  const path = reference.slice('payload'.length).match(/[^.[\]]+/g) ?? [];
  return (context) => textAt(context.payload(), path);
}

function textAt(value: unknown, path: readonly string[]): string | null {
  let at = value;
  for (const name of path) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, name)) return null;
    at = (at as Record<string, unknown>)[name];
  }
  if (typeof at === 'string') return at;
  return typeof at === 'number' || typeof at === 'boolean' ? String(at) : null;
}

function problem(template: string, what: string): MqttError {
  return new MqttError('invalid-options', `the partition key '${template}' is not right: ${what}`);
}
