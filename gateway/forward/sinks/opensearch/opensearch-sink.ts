/**
 * Documents into OpenSearch, a domain or a collection of Amazon OpenSearch Service, or a server that
 * speaks like it: `_bulk`, in requests of limited size.
 *
 * A document is called as its record by default, so that one that is sent again replaces itself.
 * Of several documents of one name in a batch the one that counts is sent (`oneOfEachKey`).
 */
import { setImmediate } from 'node:timers/promises';
import type { Clock } from '../../../../storage/ports.ts';
import { SinkError, type BatchItem, type BatchSink, type Outcomes } from '../../sink.ts';
import type { AwsOptions } from '../aws.ts';
import { AwsSigner } from '../aws-signer.ts';
import {
  HttpClient,
  jsonOf,
  type Connecting,
  type HttpAnswer,
  type HttpRequest,
} from '../http-client.ts';
import { oneOfEachKey, Pieces } from '../pieces.ts';
import {
  documentOf,
  outcomesOf,
  refusalIn,
  type BulkDocument,
  type DocumentOptions,
} from './bulk.ts';

export interface OpenSearchSinkOptions extends Connecting, DocumentOptions {
  /** Such as `https://search.example.net:9200`; a path in it is kept. */
  readonly endpoint: string;
  /** null: whoever comes is let in. */
  readonly access:
    | { readonly username: string; readonly password: string }
    | ({ readonly service: 'es' | 'aoss' } & AwsOptions)
    | null;
  /** Of a request. */
  readonly maxBytes: number;
}

const recordsMax = 10_000;
/** An outcome of each document comes back; without reasons it is about 200 bytes. */
const answerBytesMax = 32 * 1024 ** 2;
/** Documents of about this many bytes are looked through at once, so that others have their turn. */
const turnBytes = 256 * 1024;
const turnMs = 10;

export function openSearchSink(options: OpenSearchSinkOptions): BatchSink {
  const server = new Server(options);
  const pieces = new Pieces(options.maxBytes, { isolating: true });
  const { maxBytes } = options;
  const deliver = async (items: readonly BatchItem[], signal: AbortSignal): Promise<Outcomes> => {
    const prepared = await prepare(items, options, options.clock);
    const documents = prepared.flatMap((one) => (one instanceof SinkError ? [] : one));
    const send = (some: readonly BulkDocument[]): Promise<Outcomes> =>
      pieces.send(
        some,
        ({ lines }) => lines.length,
        (piece) => server.bulk(piece, signal),
      );
    const sent =
      typeof options.documentId === 'function'
        ? await oneOfEachKey(
            documents,
            ({ index, id }) => `${index}/${id ?? ''}`,
            options.operation === 'create' ? 'first' : 'last',
            send,
          )
        : await send(documents);
    const outcomes = new Map(documents.map((document, at) => [document, sent[at] ?? null]));
    return prepared.map((one) => (one instanceof SinkError ? one : (outcomes.get(one) ?? null)));
  };
  return {
    kind: 'opensearch',
    description: `${server.place} index ${options.index}`,
    limits: { records: recordsMax, bytes: maxBytes, recordBytes: maxBytes },
    deliver: ({ items }, signal) => deliver(items, signal),
    check: (signal) => server.check(signal),
    close: () => {
      server.close();
      return Promise.resolve();
    },
  };
}

async function prepare(
  items: readonly BatchItem[],
  options: DocumentOptions,
  clock: Clock,
): Promise<readonly (BulkDocument | SinkError)[]> {
  const prepared: (BulkDocument | SinkError)[] = [];
  let bytes = 0;
  let sinceMs = clock.monotonicMs();
  for (const item of items) {
    prepared.push(documentOf(item, options));
    bytes += item.data.length;
    // A query for ids may take its time over each.
    if (bytes < turnBytes && clock.monotonicMs() - sinceMs < turnMs) continue;
    bytes = 0;
    await setImmediate();
    sinceMs = clock.monotonicMs();
  }
  return prepared;
}

class Server {
  readonly #options: OpenSearchSinkOptions;
  readonly #client: HttpClient;
  readonly #signer: AwsSigner | null;
  readonly #authorization: string | null;
  readonly #base: string;
  readonly place: string;

  constructor(options: OpenSearchSinkOptions) {
    const { endpoint, access, clock } = options;
    this.#options = options;
    const url = new URL(endpoint);
    this.place = `${url.origin}${url.pathname.replace(/\/+$/, '')}`;
    this.#base = this.place;
    const login = access !== null && 'username' in access ? access : null;
    const basic =
      login === null ? null : Buffer.from(`${login.username}:${login.password}`).toString('base64');
    this.#authorization = basic === null ? null : `Basic ${basic}`;
    const secrets = [login?.password ?? '', basic ?? ''];
    this.#client = new HttpClient({ ...options, service: 'opensearch', secrets }, answerBytesMax);
    this.#signer =
      access !== null && 'service' in access
        ? new AwsSigner('opensearch', access.service, access, clock)
        : null;
  }

  /** @throws SinkError */
  async bulk(documents: readonly BulkDocument[], signal: AbortSignal): Promise<Outcomes> {
    const answer = await this.#ask(
      {
        url: new URL(`${this.#base}/_bulk`),
        headers: { 'content-type': 'application/x-ndjson' },
        body: documents.map(({ lines }) => lines),
      },
      signal,
    );
    return outcomesOf(jsonOf(answer), documents, this.#options.operation);
  }

  async check(signal: AbortSignal): Promise<string> {
    // A collection has no page of its own; its indexes can be asked for.
    const path = this.#signer === null ? '/' : '/_cat/indices';
    const url = new URL(`${this.#base}${path}`);
    await this.#ask({ method: 'GET', url, headers: {} }, signal);
    return `${url.host} lets us in`;
  }

  /** @throws SinkError for anything but 200 */
  #ask(request: HttpRequest, signal: AbortSignal): Promise<HttpAnswer> {
    const signer = this.#signer;
    if (signer !== null) {
      return signer.use(signal, ({ sign }, abortSignal) => this.#send(sign(request), abortSignal));
    }
    const authorization = this.#authorization;
    const headers = { ...request.headers, ...(authorization !== null && { authorization }) };
    return this.#send({ ...request, headers }, signal);
  }

  async #send(request: HttpRequest, signal: AbortSignal): Promise<HttpAnswer> {
    const answer = await this.#client.ask(request, signal);
    if (answer.status === 200) return answer;
    throw this.#client.refusal(answer, refusalIn(jsonOf(answer)));
  }

  close(): void {
    this.#client.close();
    this.#signer?.close();
  }
}
