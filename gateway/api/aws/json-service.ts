/**
 * An AWS API in JSON over HTTP: `POST /` with `X-Amz-Target: <Service>.<Operation>`, on the port of
 * everything else. What differs between services comes in as options; the Kinesis API, which speaks
 * CBOR too and answers in streams, has routes of its own (../kinesis/routes.ts), whose preflights
 * serve all.
 *
 * In which order things are found wrong: who asks, how long it is, what is asked, whether it is
 * well-formed, its types and constraints, whether it is allowed, whether it can be done.
 */
import { Hono, type Context } from 'hono';
import type { Logger } from '../../../storage/ports.ts';
import { ByteBudget } from '../../http/byte-budget.ts';
import type { AppEnv } from '../../http/authentication.ts';
import type { AwsAuthenticator, Caller } from '../../security/aws-authenticator.ts';
import type { Authorizer } from '../../security/policies.ts';
import { readBody } from './body.ts';
import { Calls, type CallsOptions } from './calls.ts';
import { RequestError } from './errors.ts';
import type { AnyOperationOf, PreparedCallOf } from './operation.ts';
import { bindingsOf, claimsSomebody, pageHeaders, requestFacts, signedRequest } from './request.ts';

export interface ErrorAnswer {
  /** Without what the service may write before it. */
  readonly type: string;
  readonly status: number;
  readonly body: object;
  /** It is ours to mend, and so belongs in the log. */
  readonly ours: boolean;
  readonly cause: unknown;
}

export interface JsonServiceOptions<Service> extends CallsOptions {
  /** What stands before the dot of `X-Amz-Target`. */
  readonly target: string;
  /** What whoever asks is told while it is switched off; null, or left out: it is not. */
  readonly switchedOff?: () => Error | null;
  readonly contentType: string;
  /** By name; what they need permission for are ARNs. */
  readonly operations: ReadonlyMap<string, AnyOperationOf<Service, readonly string[]>>;
  readonly context: Service;
  /** Of one request, and of all that are being read or worked on. */
  readonly bodyBytesMax: number;
  readonly bodiesBytesMax: number;
  /** Any thrown value as an answer. */
  readonly toErrorAnswer: (thrown: unknown) => ErrorAnswer;
  /** Is thrown where a request does not even claim to come from somebody. */
  readonly missingToken: () => Error;
  readonly unknownOperation: (name: string) => Error;
  readonly requestId: () => string;
  /** What the service sends beside the usual. */
  readonly headersOf?: (body: string) => Readonly<Record<string, string>>;
  /** For pages of other sites. */
  readonly exposedHeaders: string;
  /** The sentence that the log has where a request failed here. */
  readonly failure: string;
  readonly authenticator: AwsAuthenticator;
  readonly authorizer: Authorizer;
  readonly logger: Logger;
}

/** To be mounted at `/`, before the Kinesis API, which answers all that names a target. */
export function jsonServiceRoutes<Service>(options: JsonServiceOptions<Service>): Hono<AppEnv> {
  const service = new JsonService(options);
  const app = new Hono<AppEnv>();
  app.post('/', async (c, next) => {
    const [target, operation = '', ...more] = (c.req.header('x-amz-target') ?? '').split('.');
    if (target === options.target) return service.answer(c, more.length === 0 ? operation : '');
    await next();
    return undefined;
  });
  return app;
}

/** One request, and what has become known of it. */
interface Call {
  readonly c: Context<AppEnv>;
  readonly name: string;
  readonly requestId: string;
  caller: Caller | null;
  resources: readonly string[];
}

class JsonService<Service> {
  readonly #options: JsonServiceOptions<Service>;
  readonly #bodies: ByteBudget;
  readonly #calls: Calls;

  constructor(options: JsonServiceOptions<Service>) {
    this.#options = options;
    this.#bodies = new ByteBudget(options.bodiesBytesMax);
    this.#calls = new Calls(options);
  }

  async answer(c: Context<AppEnv>, name: string): Promise<Response> {
    const requestId = this.#options.requestId();
    const call: Call = { c, name, requestId, caller: null, resources: [] };
    try {
      const answer = await this.#respond(call);
      this.#tell(call, 'ok');
      return this.#response(call, answer, 200);
    } catch (thrown) {
      const { toErrorAnswer, logger, failure } = this.#options;
      const error = toErrorAnswer(thrown);
      this.#tell(call, error.type);
      if (error.ours) logger.error({ error: error.cause ?? thrown, operation: name }, failure);
      return this.#response(call, error.body, error.status);
    }
  }

  async #respond(call: Call): Promise<object> {
    const { c, name } = call;
    const { context, authenticator, authorizer, service, missingToken, switchedOff } =
      this.#options;
    if (!claimsSomebody(c)) throw missingToken();
    this.#checkLength(Number(c.req.header('content-length') ?? 0));
    const body = await readBody(c.req.raw, bindingsOf(c), this.#bodies);
    try {
      this.#checkLength(body.bytes.length);
      call.caller = await authenticator.authenticate(signedRequest(c, body), service);
      const off = switchedOff?.() ?? null;
      if (off !== null) throw off;
      const prepared = this.#prepare(name, body.bytes);
      call.resources = prepared.resources(context);
      for (const arn of call.resources) {
        authorizer.authorize(call.caller, `${service}:${name}`, arn, requestFacts(c));
      }
      return await prepared.run(context);
    } finally {
      body.release();
    }
  }

  /** @throws RequestError `RequestEntityTooLargeException` */
  #checkLength(bytes: number): void {
    const { bodyBytesMax } = this.#options;
    if (bytes <= bodyBytesMax) return;
    const message = `The body of a request has at most ${bodyBytesMax} bytes.`;
    throw new RequestError('RequestEntityTooLargeException', message);
  }

  #prepare(name: string, body: Buffer): PreparedCallOf<Service, readonly string[]> {
    const operation = this.#options.operations.get(name);
    if (operation === undefined) throw this.#options.unknownOperation(name);
    let value: unknown;
    try {
      value = JSON.parse(body.toString('utf8'));
    } catch {
      throw new RequestError('SerializationException', 'The body is not JSON');
    }
    return operation.prepare(value);
  }

  #tell({ c, name, caller, resources, requestId }: Call, outcome: string): void {
    const operation = this.#options.operations.has(name) ? name : null;
    const resource = resources[0] ?? null;
    this.#calls.tell({ c, operation, caller, resource, requestId, outcome });
  }

  #response({ c, requestId }: Call, answer: object, status: number): Response {
    const { contentType, headersOf, exposedHeaders } = this.#options;
    const body = JSON.stringify(answer);
    return new Response(body, {
      status,
      headers: {
        'content-type': contentType,
        'x-amzn-requestid': requestId,
        ...headersOf?.(body),
        ...pageHeaders(c, exposedHeaders),
      },
    });
  }
}
