/**
 * The Firehose API over HTTP: `POST /` with `X-Amz-Target: Firehose_20150804.<Operation>`, in AWS
 * JSON 1.1. Who may ask, how bodies are read and in which order things are found wrong is in
 * ../aws/json-service.ts.
 */
import { randomUUID } from 'node:crypto';
import type { Hono } from 'hono';
import type { AppEnv } from '../../http/authentication.ts';
import { jsonServiceRoutes } from '../aws/json-service.ts';
import type { ServiceRoutesOptions } from '../aws/service.ts';
import { FirehoseError, switchedOff, toErrorAnswer } from './errors.ts';
import type { FirehoseContext } from './operation.ts';
import { operations } from './operations/operations.ts';

/** 4 MiB of records in base64, and what is around them. */
const bodyBytesMax = 6 * 2 ** 20;
const bodiesBytesMax = 48 * 2 ** 20;

/** To be mounted at `/`, before the Kinesis API, which answers all that names a target. */
export function firehoseRoutes({
  isServed = () => true,
  ...options
}: ServiceRoutesOptions<FirehoseContext> & {
  /** Whether it is, now; left out: it is. */
  readonly isServed?: () => boolean;
}): Hono<AppEnv> {
  return jsonServiceRoutes({
    ...options,
    switchedOff: () => (isServed() ? null : switchedOff()),
    ...{ target: 'Firehose_20150804', service: 'firehose' },
    contentType: 'application/x-amz-json-1.1',
    metric: [
      'headgate_firehose_requests_total',
      'Requests of the Firehose API, by operation and outcome.',
    ],
    ...{ operations, bodyBytesMax, bodiesBytesMax, toErrorAnswer },
    // By its name: reading, and putting records, is no operation of control.
    changesSomething: (operation) => !/^(Describe|List|PutRecord)/.test(operation),
    missingToken: () =>
      new FirehoseError('MissingAuthenticationTokenException', 'Missing Authentication Token'),
    unknownOperation: (name) =>
      new FirehoseError('UnknownOperationException', `${name} is no operation of Firehose.`),
    requestId: randomUUID,
    exposedHeaders: 'x-amzn-RequestId',
    failure: 'A request of the Firehose API failed',
  });
}
