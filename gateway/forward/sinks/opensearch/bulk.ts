/**
 * The bulk protocol of OpenSearch (and of what it came from): two lines for a document, what to do
 * and the document itself; answered with an outcome for each, in order.
 *
 * Source: OpenSearch documentation, "Bulk".
 */
import { z } from 'zod';
import { compileQuery } from '../../query/query.ts';
import { QueryError } from '../../query/values.ts';
import { SinkError, type BatchItem, type Outcomes, type SinkErrorCode } from '../../sink.ts';
import { adviceFor } from '../advice.ts';
import type { Said } from '../http-client.ts';
import { objectIn, onOneLine, utf8Of, type JsonObject } from '../json-text.ts';
import { indexName, type Rotation } from './index-name.ts';

export interface DocumentOptions {
  readonly index: string;
  readonly rotation: Rotation;
  /** `create` leaves alone what is there already; `index` replaces it. */
  readonly operation: 'index' | 'create';
  /** What a document is called: as its record, as something in it, or as the cluster likes. */
  readonly documentId: 'record' | 'none' | ((document: JsonObject) => unknown);
}

/** A document on its way. */
export interface BulkDocument {
  readonly index: string;
  /** null: the cluster gives it one. */
  readonly id: string | null;
  /** Two lines. */
  readonly lines: Buffer;
}

/**
 * Ids by a query in JMESPath; undefined: it gives none.
 * @throws QueryError that says what is wrong with the query
 */
export function idsBy(query: string): (document: JsonObject) => unknown {
  const compiled = compileQuery(query, 'jmespath');
  return (document) => {
    try {
      return compiled.run(document)[0];
    } catch (error) {
      if (error instanceof QueryError) return undefined;
      throw error;
    }
  };
}

/** Of an id; the cluster refuses a whole request for one that is longer. */
const idBytesMax = 512;

/** @returns why it can't be one, too */
export function documentOf(item: BatchItem, options: DocumentOptions): BulkDocument | SinkError {
  const text = utf8Of(item.data);
  const document = text === null ? null : objectIn(text);
  if (text === null || document === null) {
    return new SinkError('rejected', 'the record is not a JSON object');
  }
  const id = idOf(item, document, options.documentId);
  if (id instanceof SinkError) return id;
  const index = indexName(options.index, options.rotation, item.arrivalMs);
  const action = { [options.operation]: { _index: index, ...(id !== null && { _id: id }) } };
  return {
    ...{ index, id },
    lines: Buffer.from(`${JSON.stringify(action)}\n${onOneLine(text)}\n`),
  };
}

function idOf(
  item: BatchItem,
  document: JsonObject,
  documentId: DocumentOptions['documentId'],
): string | null | SinkError {
  if (documentId === 'none') return null;
  if (documentId === 'record') return item.id;
  const found = documentId(document);
  const id = ['string', 'number', 'boolean'].includes(typeof found) ? String(found) : '';
  if (id !== '' && Buffer.byteLength(id) <= idBytesMax) return id;
  return new SinkError('rejected', 'the record gives no id of 1 to 512 bytes');
}

const errorShape = z.object({ type: z.string(), reason: z.string().nullish() });
const outcomeShape = z.object({
  _id: z.string().nullish(),
  status: z.number(),
  error: z.union([z.string(), errorShape]).nullish(),
});
const refusalShape = z.object({ error: errorShape });
const answerShape = z.object({
  errors: z.boolean(),
  items: z.array(z.record(z.string(), outcomeShape)),
});

type Outcome = z.output<typeof outcomeShape>;

/**
 * What became of each document.
 * @param answer the JSON of the body
 * @throws SinkError `unavailable` for an answer to something else
 */
export function outcomesOf(
  answer: unknown,
  documents: readonly BulkDocument[],
  operation: 'index' | 'create',
): Outcomes {
  const { data } = answerShape.safeParse(answer);
  if (data === undefined) {
    throw new SinkError('unavailable', 'an answer that is not that of a bulk request');
  }
  if (data.items.length !== documents.length) {
    const message = `an answer for ${data.items.length} of ${documents.length} documents`;
    throw new SinkError('unavailable', message);
  }
  return documents.map(({ id }, index) => {
    const outcome = data.items[index]?.[operation];
    if (outcome === undefined || (id !== null && outcome._id !== id)) {
      return new SinkError('unavailable', 'an outcome of another document');
    }
    return errorOf(outcome, operation);
  });
}

/** What a request was refused with, as a whole; null: that is not said. */
export function refusalIn(answer: unknown): Said | null {
  const { data } = refusalShape.safeParse(answer);
  if (data === undefined) return null;
  const { type, reason } = data.error;
  return { name: type, message: `${type}: ${reason ?? ''}` };
}

/** By the type of the error where that says more than the status. */
const codeByType: Readonly<Record<string, SinkErrorCode>> = {
  security_exception: 'denied',
  index_not_found_exception: 'missing',
  index_closed_exception: 'missing',
  invalid_index_name_exception: 'missing',
  cluster_block_exception: 'full',
  // More shards than the cluster may have: a new index would be needed, which is nobody's document.
  validation_exception: 'full',
  process_cluster_event_timeout_exception: 'unavailable',
  // The document was changed by somebody else meanwhile.
  version_conflict_engine_exception: 'unavailable',
};

function errorOf({ status, error }: Outcome, operation: 'index' | 'create'): SinkError | null {
  const isError = error !== null && error !== undefined;
  if (!isError && (status === 200 || status === 201)) return null;
  const type = isError ? (typeof error === 'string' ? error : error.type) : `status ${status}`;
  // It is there: this is the second time, or another record has the same id.
  if (operation === 'create' && type === 'version_conflict_engine_exception') return null;
  const reason = isError && typeof error !== 'string' ? (error.reason ?? '') : '';
  const advice = adviceFor(type, { service: 'opensearch', region: null, clockOffsetMs: null });
  const message = reason === '' ? type : `${type}: ${reason.slice(0, 300)}`;
  return new SinkError(codeOf(type, status), message, { advice });
}

function codeOf(type: string, status: number): SinkErrorCode {
  const code = Object.hasOwn(codeByType, type) ? codeByType[type] : undefined;
  if (code !== undefined) return code;
  if (status === 429) return 'throttled';
  if (status === 404) return 'missing';
  if (status === 403) return 'denied';
  return status >= 400 && status < 500 ? 'rejected' : 'unavailable';
}
