/**
 * The Kinesis Video API over HTTP: a path for each operation, posted to in JSON, on the port of
 * everything else. Requests are signed as those of Data Streams are, for the service `kinesisvideo`.
 *
 * In which order things are found wrong: who asks, whether it is well-formed, its types and
 * constraints, whether it is allowed, whether it can be done.
 */
import { randomUUID } from 'node:crypto';
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
import { readBody, type ReadBody } from '../aws/body.ts';
import type { ServiceRoutesOptions } from '../aws/service.ts';
import { KinesisVideoError, toKinesisVideoError } from './errors.ts';
import { MediaAnswer, type AnyOperation, type KinesisVideoContext } from './operation.ts';
import { operations } from './operations/operations.ts';

const bodiesBytesMax = 16 * 2 ** 20;
const corsMaxAgeSeconds = 172_800;
const exposedHeaders = 'x-amzn-RequestId,x-amzn-ErrorType,x-amzn-ErrorMessage,Date';

/** Whether requests to a path are ours, and signed. */
export function isKinesisVideoPath(path: string): boolean {
  return operations.has(path);
}

/** To be mounted at `/`, before what looks at hosts, origins and bodies. */
export function kinesisVideoRoutes(
  options: ServiceRoutesOptions<KinesisVideoContext>,
): Hono<AppEnv> {
  const api = new KinesisVideoApi(options);
  const app = new Hono<AppEnv>();
  for (const operation of operations.values()) {
    app.post(operation.path, (c) => api.answer(c, operation));
    app.options(operation.path, preflight);
  }
  return app;
}

function preflight(c: Context<AppEnv>): Response {
  return new Response('', {
    headers: {
      'x-amzn-requestid': randomUUID(),
      'access-control-allow-origin': '*',
      'access-control-allow-headers': c.req.header('access-control-request-headers') ?? '*',
      'access-control-allow-methods': 'POST',
      'access-control-max-age': String(corsMaxAgeSeconds),
    },
  });
}

/** One request, and what has become known of it. */
interface Call {
  readonly c: Context<AppEnv>;
  readonly operation: AnyOperation;
  readonly headers: Readonly<Record<string, string>>;
  readonly requestId: string;
  caller: Caller | null;
  arn: string | null;
}

class KinesisVideoApi {
  readonly #options: ServiceRoutesOptions<KinesisVideoContext>;
  readonly #bodies = new ByteBudget(bodiesBytesMax);
  readonly #calls: Calls;

  constructor(options: ServiceRoutesOptions<KinesisVideoContext>) {
    this.#options = options;
    this.#calls = new Calls({
      ...{ service: 'kinesisvideo', audit: options.audit, metrics: options.metrics },
      metric: [
        'headgate_kinesis_video_requests_total',
        'Requests of the Kinesis Video API, by operation and outcome.',
      ],
      changesSomething: (name) => !/^(Describe|Get|List)/.test(name),
    });
  }

  async answer(c: Context<AppEnv>, operation: AnyOperation): Promise<Response> {
    const requestId = randomUUID();
    const headers = { 'x-amzn-requestid': requestId, ...pageHeaders(c, exposedHeaders) };
    const call: Call = { c, operation, headers, requestId, caller: null, arn: null };
    try {
      const response = await this.#respond(call);
      this.#tell(call, 'ok');
      return response;
    } catch (thrown) {
      const { type, message, status } = this.#errorOf(thrown, operation);
      this.#tell(call, type);
      return Response.json(
        { Message: message },
        { status, headers: { ...headers, 'x-amzn-errortype': type } },
      );
    }
  }

  async #respond(call: Call): Promise<Response> {
    const { c, operation, headers } = call;
    const { context, authorizer } = this.#options;
    checkClaimsSomebody(c);
    const body = await readBody(c.req.raw, bindingsOf(c), this.#bodies);
    try {
      call.caller = await this.#authenticate(c, body);
      const prepared = operation.prepare(parse(body.bytes));
      call.arn = await prepared.resources(context);
      const action = `kinesisvideo:${operation.name}`;
      authorizer.authorize(call.caller, action, call.arn, requestFacts(c));
      const endpoint = new URL(c.req.url).origin;
      const answer = await prepared.run({ ...context, caller: call.caller, endpoint });
      if (answer instanceof MediaAnswer) return mediaResponse(answer, c, headers);
      return new Response(jsonOf(answer), {
        headers: { ...headers, 'content-type': 'application/json' },
      });
    } finally {
      body.release();
    }
  }

  #errorOf(
    thrown: unknown,
    { name }: AnyOperation,
  ): { type: string; message: string; status: number } {
    if (thrown instanceof AwsAuthError) {
      return { type: thrown.type, message: thrown.message, status: 403 };
    }
    const error = toKinesisVideoError(thrown);
    if (error.ours) {
      const { logger } = this.#options;
      logger.error(
        { error: error.cause ?? error, operation: name },
        'A request of the Kinesis Video API failed',
      );
    }
    return { type: error.type, message: error.message, status: error.status };
  }

  #authenticate(c: Context<AppEnv>, body: ReadBody): Promise<Caller> {
    return this.#options.authenticator.authenticate(signedRequest(c, body), 'kinesisvideo');
  }

  #tell({ c, operation: { name }, caller, arn, requestId }: Call, outcome: string): void {
    this.#calls.tell({ c, operation: name, caller, resource: arn, requestId, outcome });
  }
}

/** Nothing is read from whom does not even claim to be somebody. @throws KinesisVideoError */
function checkClaimsSomebody(c: Context<AppEnv>): void {
  if (claimsSomebody(c)) return;
  throw new KinesisVideoError(
    'MissingAuthenticationTokenException',
    'Missing Authentication Token',
  );
}

/** An operation whose members may all be left out may come without a body. */
function parse(body: Buffer): unknown {
  if (body.length === 0) return {};
  try {
    return JSON.parse(body.toString('utf8')) as unknown;
  } catch (cause) {
    throw new KinesisVideoError('SerializationException', 'The body is not JSON.', { cause });
  }
}

/** Instants are seconds since 1970, as rest-json has them. */
function jsonOf(answer: object): string {
  return JSON.stringify(answer, function (this: Record<string, unknown>, key, value: unknown) {
    const raw = this[key];
    return raw instanceof Date ? raw.getTime() / 1000 : value;
  });
}

/** Each piece is made when the client has taken the one before. */
function mediaResponse(
  { contentType, body, end, sizeBytes }: MediaAnswer,
  c: Context<AppEnv>,
  headers: Readonly<Record<string, string>>,
): Response {
  const ended = async (): Promise<void> => {
    end();
    await body.return();
  };
  whenAnswered(c.env, () => {
    void ended().catch(() => undefined);
  });
  const stream = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await body.next();
        if (done !== true) {
          controller.enqueue(value);
          return;
        }
        end();
        controller.close();
      },
      cancel: ended,
    },
    { highWaterMark: 0 },
  );
  const answer = new Response(stream, { headers: { ...headers, 'content-type': contentType } });
  if (sizeBytes !== null) answer.headers.set('content-length', String(sizeBytes));
  return answer;
}
