/** `functions`: functions that get the records of a stream, batch by batch. */
import { z } from 'zod';
import { patternProblem } from '../event-sources/pattern.ts';
import { functionTarget } from './functions.ts';
import { choice, decimal, flag, keyNotes, name, oneOf, path, whole } from './leaves.ts';

const pattern = z
  .string()
  .min(1)
  .max(4096)
  .superRefine((text, context) => {
    const problem = patternProblem(text);
    if (problem !== null) context.addIssue({ code: 'custom', message: problem });
  })
  .register(keyNotes, { allowed: 'a pattern of Lambda, as JSON text between single quotes' });

const instant = z.iso
  .datetime({ offset: true })
  .register(keyNotes, { allowed: 'a time, such as 2026-01-31T12:00:00Z' });

const eventSource = z.strictObject({
  from: z
    .strictObject({ stream: name().describe('A stream of this file.') })
    .describe('Whose records it gets.'),
  function: functionTarget,
  batchSize: whole(1, 10_000)
    .default(100)
    .describe('How many records a call gets at most; all of a call are 6 MB of JSON at most.'),
  batchWindowSeconds: decimal(0, 300)
    .default(0)
    .describe('How long records wait for a full batch. 0: what is there is handed over at once.'),
  parallelization: whole(1, 10)
    .default(1)
    .describe('Calls at once for each shard. Records of one partition key stay in order.'),
  bisectOnError: flag()
    .default(false)
    .describe('Halves a batch that failed, until the record is found that is to blame.'),
  retries: whole(0, 10_000)
    .nullable()
    .default(null)
    .describe(
      "How often a batch goes again that the function failed; then it goes to deadLetter. null: until it is older than the stream's retention. A function that can't be reached is waited for, and not counted.",
    ),
  maxRecordAgeSeconds: whole(60, 604_800)
    .nullable()
    .default(null)
    .describe('Older records go to deadLetter without a call. null: no limit.'),
  reportBatchItemFailures: flag()
    .default(false)
    .describe(
      'The function may answer with batchItemFailures; the batch goes again from the first of them.',
    ),
  tumblingWindowSeconds: whole(0, 900)
    .default(0)
    .describe(
      'Windows of so long, by time of arrival, in which the function keeps a state from call to call, of 1 MB at most; 0: none. Not with parallelization.',
    ),
  filter: z
    .array(pattern)
    .max(10)
    .register(keyNotes, {
      allowed: 'a list of patterns',
      example: ['{"data":{"celsius":[{"numeric":[">",30]}]}}'],
    })
    .default([])
    .describe(
      "Lambda's event patterns over data (JSON) and partitionKey: exact values, prefix, suffix, equals-ignore-case, anything-but, numeric, exists and $or. A record that fits none is passed over; an empty list takes all.",
    ),
  startAt: oneOf({
    edge: choice(['earliest', 'latest']).describe(
      'With all that is stored, or with what comes next.',
    ),
    time: instant.describe('With what has arrived since.'),
  })
    .prefault({ edge: 'earliest' })
    .describe('Where it begins when it is new: edge or time.'),
  deadLetter: oneOf({
    stream: name().describe(
      'A stream of this file, another than from, and of this function alone.',
    ),
    folder: path('the path of a folder').describe(
      'A folder on this machine, a file for each batch.',
    ),
  })
    .nullable()
    .default(null)
    .describe(
      'Where batches go that are given up, with the reason and the records themselves; "headgate function replay" hands them over again. null: they are passed over, and logged.',
    ),
  timeoutSeconds: decimal(0.1, 900).default(60).describe('How long one call may take.'),
  required: flag()
    .default(true)
    .describe('Keeps what it has not had yet, as long as the byte limit of its stream allows.'),
  paused: flag()
    .default(false)
    .describe('It gets nothing until this is false again; "headgate function pause" does it live.'),
});

export const functions = z.record(name(), eventSource).register(keyNotes, {
  allowed: 'a map of functions by name',
  example: {
    alarms: {
      from: { stream: 'readings' },
      function: { module: { path: './alarms.mjs' } },
      batchSize: 500,
      bisectOnError: true,
      retries: 3,
      filter: ['{"data":{"celsius":[{"numeric":[">",30]}]}}'],
      deadLetter: { folder: './not-done' },
    },
    averages: {
      from: { stream: 'readings' },
      function: { lambda: { function: 'averages', region: 'eu-central-1' } },
      tumblingWindowSeconds: 60,
      startAt: { edge: 'latest' },
    },
    inventory: {
      from: { stream: 'readings' },
      function: {
        http: {
          url: 'http://127.0.0.1:9000/inventory',
          authorization: '${INVENTORY_TOKEN:-Bearer x}',
        },
      },
      startAt: { time: '2026-01-31T12:00:00Z' },
      deadLetter: { stream: 'camera-events' },
    },
  },
});
