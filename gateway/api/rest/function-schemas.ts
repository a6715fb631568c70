/** What our own API says of functions that get the records of streams. */
import { z } from '@hono/zod-openapi';
import { BacklogSchema, NewestFailedSchema, countedSince } from './flow-schemas.ts';
import { count } from './leaves.ts';

const FailedBatchesSchema = z
  .object({
    batches: count.describe('Kept in deadLetter and not done since; one in parts counts each'),
    newest: NewestFailedSchema.nullable().describe('null: there is none, or it can not be told'),
    isReplaying: z.boolean().describe('They are being handed over again'),
  })
  .nullable();

const GivenUpSchema = z.object({
  batches: count,
  records: count.describe('A last call of a window has none'),
});

export const FunctionSchema = z
  .object({
    name: z.string(),
    stream: z.string().describe('Whose records it gets'),
    function: z.object({
      kind: z.enum(['lambda', 'http', 'module']),
      description: z.string().describe('Which it is, without secrets'),
    }),
    deadLetter: z.string().nullable().describe('Where batches go that are given up'),
    failed: FailedBatchesSchema.describe(
      'What was given up; null: without deadLetter nothing is kept, or lastError tells why it is unknown',
    ),
    givenUp: z
      .object({
        kept: GivenUpSchema.describe('In deadLetter'),
        gone: GivenUpSchema.describe('Kept nowhere, as there was no deadLetter'),
        newest: NewestFailedSchema.nullable().describe('null: nothing was given up'),
      })
      .describe('Since sinceTime; what fails again after a replay counts again'),
    held: z
      .object({
        by: z
          .enum(['pause', 'configuration'])
          .describe('What holds it back: a pause, or functions.*.paused'),
        reason: z.string(),
      })
      .nullable()
      .describe('Why no call is begun now; null: it is not held back'),
    required: z.boolean().describe('Pins what it has not had yet'),
    state: z
      .enum(['starting', 'running', 'backing-off', 'waiting'])
      .describe('backing-off: failed, and will be tried again; waiting: held back, see held'),
    lastError: z
      .string()
      .nullable()
      .describe('What goes wrong now; null: nothing. What was given up is in givenUp'),
    advice: z.string().nullable().describe('What to do about lastError; null: nothing but to wait'),
    sinceTime: countedSince,
    records: count.describe('Done, or given up, since sinceTime'),
    backlog: BacklogSchema,
    metrics: z
      .object({
        Invocations: count,
        Errors: count.describe('Calls that the function failed'),
        Throttles: count.describe('Calls that did not reach the function, or that it put off'),
        Duration: z.object({ Average: z.number().min(0), Maximum: z.number().min(0) }),
        IteratorAge: z.number().min(0).describe('Of the last record of the last batch'),
        DeadLetterErrors: count,
        FilteredOutEventCount: count,
        DroppedEventCount: count.describe('Records given up, kept or not'),
      })
      .describe('Under the names of Lambda, since sinceTime; times in milliseconds'),
  })
  .openapi('Function');

export const FunctionReplaySchema = z
  .object({ name: z.string(), batches: count.describe('That had failed by then') })
  .openapi('FunctionReplay');

export const RemovedFunctionSchema = z
  .object({
    name: z.string(),
    backlog: BacklogSchema,
    deadLetter: z
      .string()
      .nullable()
      .describe('Where it kept what it gave up; null: nowhere, or its stream is gone'),
    failed: FailedBatchesSchema.describe('null: nothing was kept, or it can not be read'),
  })
  .openapi('RemovedFunction');

export const FunctionsSchema = z
  .object({
    functions: z.array(FunctionSchema),
    removed: z
      .array(RemovedFunctionSchema)
      .describe('No longer configured: they go on where they were, until they are forgotten'),
  })
  .openapi('Functions');

export type StreamFunction = z.infer<typeof FunctionSchema>;
export type Functions = z.infer<typeof FunctionsSchema>;
