/**
 * What a function answers to a call: for each record `{recordId, result, data, metadata}`, `result`
 * being Ok, Dropped or ProcessingFailed
 * (docs.aws.amazon.com/firehose/latest/dev/data-transformation-status-model.html).
 *
 * One record that is answered wrongly spoils no other. Records that were never asked for are passed
 * over.
 */
import { z } from 'zod';
import { FunctionError } from '../../functions/function.ts';

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

const named = z.object({ recordId: z.string() });
const result = z.object({ result: z.enum(['Ok', 'Dropped', 'ProcessingFailed']) });
const ok = z.object({
  data: z.string(),
  metadata: z
    .object({
      partitionKeys: z
        .record(z.string(), z.union([z.string(), z.number(), z.boolean()]).transform(String))
        .nullish(),
    })
    .nullish(),
});

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
export function readAnswer(answer: Buffer, ids: readonly string[]): readonly Verdict[] {
  const items = new Map<string, unknown>();
  const twice = new Set<string>();
  for (const item of itemsOf(answer)) {
    const { data } = named.safeParse(item);
    if (data === undefined) continue;
    if (items.has(data.recordId)) twice.add(data.recordId);
    items.set(data.recordId, item);
  }
  return ids.map((id) => {
    if (twice.has(id)) return duplicated;
    return items.has(id) ? verdictOf(items.get(id)) : missing;
  });
}

function itemsOf(answer: Buffer): readonly unknown[] {
  let value: unknown;
  try {
    value = JSON.parse(answer.toString());
  } catch (cause) {
    throw new FunctionError('bad-answer', 'the answer is no JSON', { cause });
  }
  if (typeof value !== 'object' || value === null || !('records' in value)) return [];
  return Array.isArray(value.records) ? value.records : [];
}

function verdictOf(item: unknown): Verdict {
  const said = result.safeParse(item).data?.result;
  if (said === undefined) return noResult;
  if (said === 'Dropped') return { type: 'dropped' };
  if (said === 'ProcessingFailed') return refused;
  const made = ok.safeParse(item).data;
  if (made === undefined) return noData;
  const data = fromBase64(made.data);
  if (data === null) return noBase64;
  return { type: 'ok', data, partitionKeys: made.metadata?.partitionKeys ?? null };
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
