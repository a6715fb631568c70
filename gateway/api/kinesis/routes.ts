/**
 * The Kinesis Data Streams API over HTTP: `POST /` with `X-Amz-Target: Kinesis_20131202.<Operation>`,
 * in AWS JSON 1.1 or CBOR, on the port of everything else.
 *
 * In which order things are found wrong: who asks, what is asked, whether it is well-formed, its
 * types, its constraints, whether it is allowed, whether it can be done. Requests here carry a
 * signature instead of a token or a session, and no page of another site can make one, so what
 * app.ts holds against such pages is not asked for; CORS is answered as the service does.
 *
 * A request that names no target is not ours, and goes on to the rest of the app.
 */
import { randomFillSync, randomUUID } from 'node:crypto';
import { Hono, type Context } from 'hono';
import { whenAnswered, type AppEnv } from '../../http/authentication.ts';
import { ByteBudget } from '../../http/byte-budget.ts';
import type { Caller } from '../../security/aws-authenticator.ts';
import { AwsAuthError } from '../../security/aws-error.ts';
import { Calls } from '../aws/calls.ts';
import {
  bindingsOf,
  claimsSomebody,
  pageHeaders,
  requestFacts,
  signedRequest,
} from '../aws/request.ts';
import { answerResponse, errorResponse, fallbackFormat, toErrorAnswer } from './answers.ts';
import { readBody, type ReadBody } from '../aws/body.ts';
import type { ServiceRoutesOptions } from '../aws/service.ts';
import { KinesisError } from './errors.ts';
import { eventResponse } from './event-answers.ts';
import type { KinesisContext, PreparedCall, Resource } from './operation.ts';
import { operations } from './operations/operations.ts';
import { Subscription } from './subscription.ts';
import { takeTurn } from '../../turns.ts';
import { answerBytes, decodeBody, formatOf, type Format } from './wire.ts';

const service = 'Kinesis_20131202';
/** Bodies of requests that are being read or worked on, and answers that are being sent. */
const bodiesBytesMax = 96 * 2 ** 20;
const answersBytesMax = 128 * 2 ** 20;
const largeBodyBytes = 2 ** 20;
const corsMaxAgeSeconds = 172_800;
const exposedHeaders =
  'x-amzn-RequestId,x-amzn-ErrorType,x-amz-request-id,x-amz-id-2,x-amzn-ErrorMessage,Date';

/** To be mounted at `/`, before what looks at hosts, origins and bodies. */
export function kinesisRoutes(options: ServiceRoutesOptions<KinesisContext>): Hono<AppEnv> {
  const api = new KinesisApi(options);
  const app = new Hono<AppEnv>();
  app.post('/', async (c, next) => {
    const target = c.req.header('x-amz-target');
    if (target !== undefined) return api.answer(c, target);
    await next();
    return undefined;
  });
  app.options('/', async (c, next) => {
    const asked = c.req.header('access-control-request-headers');
    if (asked?.toLowerCase().includes('x-amz-target') === true) return preflight(c, asked);
    await next();
    return undefined;
  });
  return app;
}

function preflight(c: Context<AppEnv>, asked: string): Response {
  return new Response('', {
    headers: {
      ...requestIds(),
      'access-control-allow-origin': '*',
      'access-control-allow-headers': asked,
      'access-control-allow-methods': c.req.header('access-control-request-method') ?? 'POST',
      'access-control-max-age': String(corsMaxAgeSeconds),
    },
  });
}

const longIdBytes = 54;
/** Random bytes for many ids: getting a few takes as long as getting thousands. */
const longIds = Buffer.alloc(64 * longIdBytes);
let longIdAt = longIds.length;

function requestIds(): { 'x-amzn-requestid': string; 'x-amz-id-2': string } {
  if (longIdAt === longIds.length) {
    randomFillSync(longIds);
    longIdAt = 0;
  }
  longIdAt += longIdBytes;
  return {
    'x-amzn-requestid': randomUUID(),
    'x-amz-id-2': longIds.toString('base64', longIdAt - longIdBytes, longIdAt),
  };
}

/** One request, and what has become known of it. */
interface Call {
  readonly c: Context<AppEnv>;
  /** null: unknown. */
  readonly name: string | null;
  readonly format: Format | null;
  readonly headers: Readonly<Record<string, string>>;
  caller: Caller | null;
  resources: readonly Resource[];
}

class KinesisApi {
  readonly #options: ServiceRoutesOptions<KinesisContext>;
  readonly #bodies = new ByteBudget(bodiesBytesMax);
  readonly #answers = new ByteBudget(answersBytesMax);
  readonly #calls: Calls;

  constructor(options: ServiceRoutesOptions<KinesisContext>) {
    this.#options = options;
    this.#calls = new Calls({
      ...{ service: 'kinesis', audit: options.audit, metrics: options.metrics, changesSomething },
      metric: [
        'headgate_kinesis_requests_total',
        'Requests of the Kinesis API, by operation and outcome.',
      ],
    });
  }

  async answer(c: Context<AppEnv>, target: string): Promise<Response> {
    const ids = requestIds();
    const call: Call = {
      c,
      name: operationName(target),
      format: formatOf(c.req.header('content-type') ?? ''),
      headers: { ...ids, ...pageHeaders(c, exposedHeaders) },
      caller: null,
      resources: [],
    };
    const operation = call.name ?? 'unknown';
    try {
      const response = await this.#respond(call);
      this.#tell(call, ids['x-amzn-requestid'], 'ok');
      return response;
    } catch (thrown) {
      const error = toErrorAnswer(thrown);
      this.#tell(call, ids['x-amzn-requestid'], error.type);
      if (error.ours) this.#failed(error.cause ?? thrown, operation);
      return errorResponse(error, call.format, call.headers);
    }
  }

  async #respond(call: Call): Promise<Response> {
    const { c, name, format } = call;
    checkClaimsSomebody(c);
    const body = await readBody(c.req.raw, bindingsOf(c), this.#bodies);
    const turn = turnsFor(body.bytes);
    try {
      await turn();
      call.caller = await this.#authenticate(c, body);
      const prepared = await prepare(name, format, body.bytes, turn);
      const { context } = this.#options;
      call.resources = prepared.resources(context);
      for (const resource of call.resources) this.#authorize(call, call.caller, resource);
      const answer = await prepared.run({ ...context, caller: call.caller });
      if (answer instanceof Subscription) return this.#events(answer, call);
      return answerResponse(answer, format ?? fallbackFormat, call.headers, () => {
        whenAnswered(c.env, this.#answers.take(answerBytes(answer)));
      });
    } finally {
      body.release();
    }
  }

  /** @throws AwsAuthError; KinesisError `KMSAccessDeniedException` */
  #authorize({ c, name }: Call, caller: Caller, resource: Resource): void {
    const { arn, policies, action = `kinesis:${name ?? ''}`, facts = {} } = resource;
    try {
      const all = { ...requestFacts(c), ...facts };
      this.#options.authorizer.authorize(caller, action, arn, all, policies);
    } catch (error) {
      if (!(error instanceof AwsAuthError) || !action.startsWith('kms:')) throw error;
      throw new KinesisError('KMSAccessDeniedException', error.message, { cause: error });
    }
  }

  #events(subscription: Subscription, { c, name, format, headers }: Call): Response {
    return eventResponse(subscription, {
      ...{ format: format ?? fallbackFormat, headers, env: c.env },
      failed: (error) => {
        this.#failed(error, name ?? 'unknown');
      },
    });
  }

  #failed(error: unknown, operation: string): void {
    this.#options.logger.error({ error, operation }, 'A request of the Kinesis API failed');
  }

  #authenticate(c: Context<AppEnv>, body: ReadBody): Promise<Caller> {
    return this.#options.authenticator.authenticate(signedRequest(c, body), 'kinesis');
  }

  #tell({ c, name, caller, resources }: Call, requestId: string, outcome: string): void {
    const resource = resources[0]?.arn ?? null;
    this.#calls.tell({ c, operation: name, caller, resource, requestId, outcome });
  }
}

/** By its name: reading, and writing records, is no operation of control. */
function changesSomething(operation: string): boolean {
  return !/^(Describe|Get|List|PutRecord|SubscribeToShard)/.test(operation);
}

/** null: it is not of this service, or unknown. */
function operationName(target: string): string | null {
  const [named, operation, ...more] = target.split('.');
  const isKnown = operation !== undefined && operations.has(operation) && more.length === 0;
  return named === service && isKnown ? operation : null;
}

/** Nothing is read from whom does not even claim to be somebody. @throws KinesisError */
function checkClaimsSomebody(c: Context<AppEnv>): void {
  if (claimsSomebody(c)) return;
  throw new KinesisError('MissingAuthenticationTokenException', 'Missing Authentication Token');
}

/** Ten megabytes take about 10 ms in each step; between two, others have their turn. */
function turnsFor(body: Buffer): () => Promise<void> {
  return body.length > largeBodyBytes ? takeTurn : () => Promise.resolve();
}

/** @throws KinesisError */
async function prepare(
  name: string | null,
  format: Format | null,
  body: Buffer,
  turn: () => Promise<void>,
): Promise<PreparedCall> {
  const operation = name === null ? undefined : operations.get(name);
  if (operation === undefined) throw new KinesisError('UnknownOperationException');
  if (body.length === 0) throw new KinesisError('SerializationException');
  if (format === null) throw new KinesisError('UnknownOperationException');
  await turn();
  let value: unknown;
  try {
    value = await decodeBody(format.encoding, body, turn);
  } catch (cause) {
    throw new KinesisError('SerializationException', '', { cause });
  }
  if (typeof value !== 'object' || value === null) throw new KinesisError('SerializationException');
  await turn();
  return operation.prepare(value);
}
