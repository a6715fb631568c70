/** Functions that somebody else wrote, wherever they are called from: where they are. */
import { z } from 'zod';
import { awsCredentials, endpoint, region } from './aws-access.ts';
import { keyNotes, line, oneOf, path, secret, url, whole } from './leaves.ts';

export const httpTarget = z.strictObject({
  url: url(['http', 'https']).describe('Where it is posted to. Redirects are not followed.'),
  authorization: secret()
    .nullable()
    .default(null)
    .describe('The Authorization header, such as "Bearer …"; null: none.'),
});

export const lambdaTarget = z.strictObject({
  function: line(170, 'the name or ARN of a function').describe(
    'The function, by name or ARN; perhaps with ":" and an alias.',
  ),
  region: region.describe(
    "Where the function is; nothing else says it, neither AWS_REGION nor a profile. null: the region in the function's ARN.",
  ),
  endpoint,
  ...awsCredentials,
});

const moduleTarget = z.strictObject({
  path: path('a JavaScript module')
    .register(keyNotes, { allowed: 'a JavaScript module', path: true })
    .describe(
      'The module (.mjs, .cjs or .js). It is read anew once this file has changed, and runs with the rights of the gateway.',
    ),
  export: line(128, 'the name of an export')
    .default('handler')
    .describe("The function, among the module's exports: (event, context) as Lambda calls it."),
  memoryMaxMiB: whole(16, 4096)
    .default(128)
    .describe('Of the heap of one thread; a call that needs more ends.'),
  concurrency: whole(1, 16)
    .default(1)
    .describe('Calls at once, each in a thread of its own. More wait.'),
});

export const functionTarget = oneOf({
  lambda: lambdaTarget.describe(
    'A function of AWS Lambda, or of a server that speaks its Invoke: at most 6 MB of JSON each way.',
  ),
  http: httpTarget.describe('An HTTP endpoint: gets the event as a POST, and answers in JSON.'),
  module: moduleTarget.describe('A JavaScript module on this machine, in threads of its own.'),
}).describe('Which function: lambda, http or module.');
