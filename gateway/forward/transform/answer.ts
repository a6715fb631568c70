/**
 * What a function answers to a call: for each record `{recordId, result, data, metadata}`, `result`
 * being Ok, Dropped or ProcessingFailed
 * (docs.aws.amazon.com/firehose/latest/dev/data-transformation-status-model.html).
 *
 * One record that is answered wrongly spoils no other. Records that were never asked for are passed
 * over.
 */
import { setImmediate } from 'node:timers/promises';
import { z } from 'zod';
import { FunctionError } from '../../functions/function.ts';

/** After which others have their turn. */
const pieceRecords = 1000;

/** Why a record can't go on; codes as Firehose has them. */
export interface Failure {
  readonly errorCode: string;
  readonly errorMessage: string;
}

export type Verdict =
  | {
      readonly type: 'ok';
      readonly data: Buffer;
      /** null: the function names no partition. */
      readonly partitionKeys: Readonly<Record<string, string>> | null;
    }
  | { readonly type: 'dropped' }
  /** The function says so: it is not asked again. */
  | { readonly type: 'refused'; readonly failure: Failure }
  /** Not answered as agreed. */
  | { readonly type: 'wrong'; readonly failure: Failure };

const metadata = z
  .object({
    partitionKeys: z
      .record(z.string(), z.union([z.string(), z.number(), z.boolean()]).transform(String))
      .nullish(),
  })
  .nullish();

const missing = wrong(
  'Lambda.MissingRecordId',
  'The function did not return this record: it has to return each that it gets, by its recordId.',
);
const duplicated = wrong(
  'Lambda.DuplicatedRecordId',
  'The function returned more than one record with this recordId.',
);
const noResult = wrong(
  'Lambda.InvalidReturnFormat',
  'The result of this record is none of Ok, Dropped and ProcessingFailed.',
);
const noData = wrong(
  'Lambda.InvalidReturnFormat',
  'This record is Ok, and its data is no text, or its metadata.partitionKeys are no map of texts.',
);
const noBase64 = wrong('Lambda.InvalidReturnFormat', 'The data of this record is not Base64.');
const refused: Verdict = {
  type: 'refused',
  failure: {
    errorCode: 'Lambda.ProcessingFailedStatus',
    errorMessage: 'The function set the result ProcessingFailed for this record.',
  },
};

/**
 * @returns for each id, in order, what is said of it
 * @throws FunctionError `bad-answer`: it is no JSON
 */
export async function readAnswer(
  answer: Buffer,
  ids: readonly string[],
): Promise<readonly Verdict[]> {
  const items = new Map<string, unknown>();
  const twice = new Set<string>();
  for (const item of itemsOf(answer)) {
    const { recordId } = fields(item);
    if (typeof recordId !== 'string') continue;
    if (items.has(recordId)) twice.add(recordId);
    items.set(recordId, item);
  }
  const verdicts: Verdict[] = [];
  for (const id of ids) {
    verdicts.push(twice.has(id) ? duplicated : items.has(id) ? verdictOf(items.get(id)) : missing);
    if (verdicts.length % pieceRecords === 0) await setImmediate();
  }
  return verdicts;
}

function itemsOf(answer: Buffer): readonly unknown[] {
  let value: unknown;
  try {
    value = JSON.parse(answer.toString());
  } catch (cause) {
    throw new FunctionError('bad-answer', 'the answer is no JSON', { cause });
  }
  const { records } = fields(value);
  return Array.isArray(records) ? records : [];
}

function verdictOf(item: unknown): Verdict {
  const { result, data: text, metadata: about } = fields(item);
  if (result === 'Dropped') return { type: 'dropped' };
  if (result === 'ProcessingFailed') return refused;
  if (result !== 'Ok') return noResult;
  const named = about === undefined ? null : metadata.safeParse(about);
  if (typeof text !== 'string' || named?.success === false) return noData;
  const data = fromBase64(text);
  if (data === null) return noBase64;
  return { type: 'ok', data, partitionKeys: named?.data?.partitionKeys ?? null };
}

function fields(item: unknown): Readonly<Record<string, unknown>> {
  return typeof item === 'object' && item !== null ? (item as Record<string, unknown>) : {};
}

/** Node's decoder leaves out what it does not know. */
function fromBase64(text: string): Buffer | null {
  if (text.length % 4 !== 0) return null;
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
  const data = Buffer.from(text, 'base64');
  return data.length === (text.length / 4) * 3 - padding && !/[-_]/.test(text) ? data : null;
}

function wrong(errorCode: string, errorMessage: string): Verdict {
  return { type: 'wrong', failure: { errorCode, errorMessage } };
}
