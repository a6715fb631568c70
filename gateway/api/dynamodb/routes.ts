/**
 * The lease tables over HTTP: `POST /` with `X-Amz-Target: DynamoDB_20120810.<Operation>`, in AWS
 * JSON 1.0. Who may ask, how bodies are read and in which order things are found wrong is in
 * ../aws/json-service.ts.
 */
import { randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';
import type { Hono } from 'hono';
import type { AppEnv } from '../../http/authentication.ts';
import { jsonServiceRoutes } from '../aws/json-service.ts';
import type { ServiceRoutesOptions } from '../aws/service.ts';
import { DynamoDbError, toErrorAnswer } from './errors.ts';
import type { DynamoDbContext } from './operation.ts';
import { operations } from './operations/operations.ts';
import { wireItem } from './values.ts';

/** An item with all its names, and the expressions of an update; all of it is parsed at once. */
const bodyBytesMax = 2 * 2 ** 20;
/** Bodies of requests that are being read or worked on. */
const bodiesBytesMax = 32 * 2 ** 20;

/** To be mounted at `/`, before the Kinesis API, which answers all that names a target. */
export function dynamoDbRoutes(options: ServiceRoutesOptions<DynamoDbContext>): Hono<AppEnv> {
  return jsonServiceRoutes({
    ...options,
    ...{ target: 'DynamoDB_20120810', service: 'dynamodb' },
    contentType: 'application/x-amz-json-1.0',
    metric: [
      'headgate_dynamodb_requests_total',
      'Requests for lease tables, by operation and outcome.',
    ],
    ...{ operations, changesSomething: changesTables, bodyBytesMax, bodiesBytesMax },
    toErrorAnswer: (thrown) => {
      const { fullType, type, message, item, ...answer } = toErrorAnswer(thrown);
      // The service writes this one word with a capital in errors of types.
      const key = type === 'SerializationException' ? 'Message' : 'message';
      const items = item === null ? {} : { Item: wireItem(item) };
      return { ...answer, type, body: { __type: fullType, [key]: message, ...items } };
    },
    missingToken: () =>
      new DynamoDbError(
        'MissingAuthenticationTokenException',
        'Request is missing Authentication Token',
      ),
    unknownOperation: (name) => {
      const message = `${name} is not served: of DynamoDB there is here what tables of leases need, and no more`;
      return new DynamoDbError('UnknownOperationException', message);
    },
    requestId: () => randomBytes(26).toString('hex').toUpperCase(),
    // Clients check the sum where it is sent.
    headersOf: (body) => ({ 'x-amz-crc32': String(crc32(body)) }),
    exposedHeaders: 'x-amzn-RequestId,x-amz-crc32',
    failure: 'A lease table failed',
  });
}

/** By its name: reading, and writing items, is no operation of control. */
function changesTables(operation: string): boolean {
  return /^((Create|Delete|Update)Table|(Tag|Untag)Resource|UpdateContinuousBackups)$/.test(
    operation,
  );
}
