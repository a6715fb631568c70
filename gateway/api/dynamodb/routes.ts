/**
 * The lease tables over HTTP: `POST /` with `X-Amz-Target: DynamoDB_20120810.<Operation>`, in AWS
 * JSON 1.0, on the port of everything else. Who may ask, how bodies are read and in which order
 * things are found wrong is as in the Kinesis API (../kinesis/routes.ts), whose pages' preflights
 * serve both.
 *
 * A request for another service is not ours, and goes on.
 */
import { randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { Hono, type Context } from 'hono';
import type { Logger, Metrics } from '../../../storage/ports.ts';
import { ByteBudget } from '../../http/byte-budget.ts';
import type { AppEnv } from '../../http/authentication.ts';
import type { AuditLog } from '../../observe/audit.ts';
import type { AwsAuthenticator, Caller } from '../../security/aws-authenticator.ts';
import type { Authorizer } from '../../security/policies.ts';
import { Calls } from '../aws/calls.ts';
import { bindingsOf, claimsSomebody, requestFacts, signedRequest } from '../aws/request.ts';
import { readBody, type ReadBody } from '../aws/body.ts';
import { DynamoDbError, toErrorAnswer, type ErrorAnswer } from './errors.ts';
import type { DynamoDbContext, PreparedCall } from './operation.ts';
import { operations } from './operations/operations.ts';
import { wireItem } from './values.ts';

const service = 'DynamoDB_20120810';
const contentType = 'application/x-amz-json-1.0';
/** An item with all its names, and the expressions of an update; all of it is parsed at once. */
const bodyBytesMax = 2 * 2 ** 20;
/** Bodies of requests that are being read or worked on. */
const bodiesBytesMax = 32 * 2 ** 20;

export interface DynamoDbRoutesOptions {
  readonly context: DynamoDbContext;
  readonly authenticator: AwsAuthenticator;
  readonly authorizer: Authorizer;
  /** Is told of changes of tables, whatever came of them and whoever asked. */
  readonly audit: Pick<AuditLog, 'record' | 'countStranger'>;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** To be mounted at `/`, before the Kinesis API, which answers all that names a target. */
export function dynamoDbRoutes(options: DynamoDbRoutesOptions): Hono<AppEnv> {
  const api = new DynamoDbApi(options);
  const app = new Hono<AppEnv>();
  app.post('/', async (c, next) => {
    const [named, operation = '', ...more] = (c.req.header('x-amz-target') ?? '').split('.');
    if (named === service) return api.answer(c, more.length === 0 ? operation : '');
    await next();
    return undefined;
  });
  return app;
}

/** One request, and what has become known of it. */
interface Call {
  readonly c: Context<AppEnv>;
  readonly name: string;
  caller: Caller | null;
  resources: readonly string[];
}

class DynamoDbApi {
  readonly #options: DynamoDbRoutesOptions;
  readonly #bodies = new ByteBudget(bodiesBytesMax);
  readonly #calls: Calls;

  constructor(options: DynamoDbRoutesOptions) {
    this.#options = options;
    this.#calls = new Calls({
      ...{ service: 'dynamodb', audit: options.audit, metrics: options.metrics },
      metric: [
        'headgate_dynamodb_requests_total',
        'Requests for lease tables, by operation and outcome.',
      ],
      changesSomething: changesTables,
    });
  }

  async answer(c: Context<AppEnv>, name: string): Promise<Response> {
    const call: Call = { c, name, caller: null, resources: [] };
    const requestId = randomBytes(26).toString('hex').toUpperCase();
    try {
      const answer = await this.#respond(call);
      this.#tell(call, requestId, 'ok');
      return jsonResponse(answer, 200, requestId, c);
    } catch (thrown) {
      const error = toErrorAnswer(thrown);
      this.#tell(call, requestId, error.type);
      if (error.ours) {
        const { logger } = this.#options;
        logger.error({ error: error.cause ?? thrown, operation: name }, 'A lease table failed');
      }
      return jsonResponse(errorBody(error), error.status, requestId, c);
    }
  }

  async #respond(call: Call): Promise<object> {
    const { c, name } = call;
    checkClaimsSomebody(c);
    const { context, authorizer } = this.#options;
    checkLength(Number(c.req.header('content-length') ?? 0));
    const body = await readBody(c.req.raw, bindingsOf(c), this.#bodies);
    try {
      checkLength(body.bytes.length);
      call.caller = await this.#authenticate(c, body);
      const prepared = prepare(name, body.bytes);
      call.resources = prepared.resources(context);
      for (const arn of call.resources) {
        authorizer.authorize(call.caller, `dynamodb:${name}`, arn, requestFacts(c));
      }
      return await prepared.run(context);
    } finally {
      body.release();
    }
  }

  #authenticate(c: Context<AppEnv>, body: ReadBody): Promise<Caller> {
    return this.#options.authenticator.authenticate(signedRequest(c, body), 'dynamodb');
  }

  #tell({ c, name, caller, resources }: Call, requestId: string, outcome: string): void {
    const operation = operations.has(name) ? name : null;
    const resource = resources[0] ?? null;
    this.#calls.tell({ c, operation, caller, resource, requestId, outcome });
  }
}

/** By its name: reading, and writing items, is no operation of control. */
function changesTables(operation: string): boolean {
  return /^((Create|Delete|Update)Table|(Tag|Untag)Resource|UpdateContinuousBackups)$/.test(
    operation,
  );
}

/** Nothing is read from whom does not even claim to be somebody. @throws DynamoDbError */
function checkClaimsSomebody(c: Context<AppEnv>): void {
  if (claimsSomebody(c)) return;
  throw new DynamoDbError(
    'MissingAuthenticationTokenException',
    'Request is missing Authentication Token',
  );
}

/** @throws DynamoDbError */
function checkLength(bytes: number): void {
  if (bytes <= bodyBytesMax) return;
  const message = `The body of a request has at most ${bodyBytesMax} bytes.`;
  throw new DynamoDbError('RequestEntityTooLargeException', message);
}

/** @throws DynamoDbError */
function prepare(name: string, body: Buffer): PreparedCall {
  const operation = operations.get(name);
  if (operation === undefined) {
    const message = `${name} is not served: of DynamoDB there is here what tables of leases need, and no more`;
    throw new DynamoDbError('UnknownOperationException', message);
  }
  let value: unknown;
  try {
    value = JSON.parse(body.toString('utf8'));
  } catch (cause) {
    throw new DynamoDbError('SerializationException', 'The body is not JSON', { cause });
  }
  return operation.prepare(value);
}

function errorBody({ fullType, type, message, item }: ErrorAnswer): object {
  // The service writes this one word with a capital in errors of types.
  const key = type === 'SerializationException' ? 'Message' : 'message';
  return {
    __type: fullType,
    [key]: message,
    ...(item === null ? {} : { Item: wireItem(item) }),
  };
}

/** Clients check the sum where it is sent. */
function jsonResponse(
  answer: object,
  status: number,
  requestId: string,
  c: Context<AppEnv>,
): Response {
  const body = JSON.stringify(answer);
  return new Response(body, {
    status,
    headers: {
      'content-type': contentType,
      'x-amzn-requestid': requestId,
      'x-amz-crc32': String(crc32(body)),
      ...(c.req.header('origin') === undefined
        ? {}
        : {
            'access-control-allow-origin': '*',
            'access-control-expose-headers': 'x-amzn-RequestId,x-amz-crc32',
          }),
    },
  });
}
