/** What a hook answers: `{"labels": [{"name": "person", "confidence": 0.97, "box": [x, y, w, h]}]}`. */
import { z } from 'zod';
import { HookError } from './hook-error.ts';

const labelsMax = 100;
/** Of lists and objects in each other: more of them cost far more time than they have bytes. */
const depthMax = 32;
/** As a tag of a fragment may have. */
const tagBytesMax = 256;

const label = z.looseObject({
  name: z
    .string()
    .regex(/^\P{Cc}*$/u)
    .min(1)
    .max(128),
  confidence: z.number().min(0).max(1).optional(),
  box: z.array(z.number()).length(4).optional(),
});

const answerSchema = z.looseObject({ labels: z.array(label).max(labelsMax).default([]) });

export type Label = z.output<typeof label>;

export interface Answer {
  readonly labels: readonly Label[];
  /** All of it, also what we know nothing of, as JSON. */
  readonly text: string;
}

/**
 * @returns null: there is nothing in it, which is an answer, too
 * @throws HookError `bad-answer`
 */
export function readAnswer(bytes: Buffer): Answer | null {
  const text = bytes.toString().trim();
  if (text === '') return null;
  if (isTooDeep(text)) throw new HookError('bad-answer', 'the answer is nested too deep');
  try {
    const { labels, ...others } = answerSchema.parse(JSON.parse(text));
    return { labels, text: JSON.stringify({ labels, ...others }) };
  } catch (cause) {
    const why = cause instanceof z.ZodError ? placeOf(cause) : 'it is no JSON';
    throw new HookError('bad-answer', `the answer is not {"labels": […]}: ${why}`, { cause });
  }
}

/**
 * Labels as the text of a tag, the surest first, each name once; those that find no room in 256
 * bytes are left out.
 * @returns `person 0.97, car 0.81`; null where there are none
 */
export function tagOf(labels: readonly Label[]): string | null {
  const surest = new Map<string, number | undefined>();
  const sorted = [...labels].sort((a, b) => (b.confidence ?? 0) - (a.confidence ?? 0));
  for (const { name, confidence } of sorted) {
    if (!surest.has(name)) surest.set(name, confidence);
  }
  let tag = '';
  for (const [name, confidence] of surest) {
    const shown = confidence === undefined ? name : `${name} ${confidence.toFixed(2)}`;
    const longer = tag === '' ? shown : `${tag}, ${shown}`;
    if (Buffer.byteLength(longer) <= tagBytesMax) tag = longer;
  }
  return tag === '' ? null : tag;
}

/** In one pass, whatever is in it: who answers may mean no good. */
function isTooDeep(text: string): boolean {
  let depth = 0;
  for (let at = 0; at < text.length; at += 1) {
    const character = text[at];
    if (character === '"') at = endOfString(text, at);
    else if (character === '[' || character === '{') depth += 1;
    else if (character === ']' || character === '}') depth -= 1;
    if (depth > depthMax) return true;
  }
  return false;
}

function endOfString(text: string, from: number): number {
  let at = from + 1;
  while (at < text.length && text[at] !== '"') at += text[at] === '\\' ? 2 : 1;
  return at;
}

function placeOf({ issues: [issue] }: z.ZodError): string {
  return issue === undefined ? '' : `${issue.path.join('.')} ${issue.message}`.trim();
}
