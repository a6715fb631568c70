/** What the routes of applications (`applications.ts`) take and answer. */
import { z } from '@hono/zod-openapi';
import { count, time } from './leaves.ts';

const sequence = z.int().min(0);
const owner = z.string().min(1).max(256);

/** A colon belongs to the names of the gateway's own applications, such as `delivery:archive`. */
export const applicationName = z
  .string()
  .regex(/^(?!\.{1,2}$)[a-zA-Z0-9_.-]{1,128}$/, '1 to 128 letters, digits, _ . -');

export const ApplicationSchema = z
  .object({
    name: z.string(),
    leases: count.describe('Shards that it has begun with'),
  })
  .openapi('Application');

export const ApplicationsSchema = z
  .object({ applications: z.array(ApplicationSchema) })
  .openapi('Applications');

export const DeletedSchema = z.object({ name: z.string() }).openapi('Deleted');

export const LeaseSchema = z
  .object({
    owner: z.string().nullable().describe('The worker that had it last; null: it was given back'),
    counter: count.describe('Rises with every holder and every renewal'),
    heldForMs: z.number().min(0).describe('Until another worker may take it; 0: now'),
    wantedBy: z.string().nullable().describe('A worker that asked for it to be handed over'),
    start: sequence.describe('Where the application began'),
    checkpoint: sequence.describe('Everything before this sequence number is done'),
  })
  .openapi('Lease');

export const ConsumedShardSchema = z
  .object({
    shard: count.describe('Its index'),
    parents: z.array(count),
    children: z.array(count),
    closedTime: time.nullable(),
    state: z
      .enum(['waiting', 'free', 'held', 'finished'])
      .describe('waiting: a parent is to be read first; finished: closed, and read to its end'),
    trimSequence: sequence,
    nextSequence: sequence,
    lease: LeaseSchema.nullable().describe('null: the application knows nothing of it yet'),
  })
  .openapi('ConsumedShard');

export const ConsumedShardsSchema = z
  .object({ shards: z.array(ConsumedShardSchema) })
  .openapi('ConsumedShards');

export const AcquireSchema = z
  .strictObject({
    owner: owner.describe('Names the worker; a worker that is started again takes a new name'),
    durationMs: z.int().min(1_000).max(300_000).describe('How long without renewal'),
    start: z
      .enum(['TRIM_HORIZON', 'LATEST', 'AT_TIMESTAMP'])
      .default('TRIM_HORIZON')
      .describe(
        'Where to begin; counts when the application has not begun with the stream. Shards that a split or a merge makes later are read from their beginning.',
      ),
    startTime: z.iso
      .datetime({ offset: true })
      .optional()
      .describe('With AT_TIMESTAMP, and only then'),
  })
  .refine(({ start, startTime }) => (start === 'AT_TIMESTAMP') === (startTime !== undefined), {
    path: ['startTime'],
    message: 'goes with AT_TIMESTAMP, and only with it',
  })
  .openapi('Acquire');

const holding = { owner, counter: z.int().min(1).describe('As `acquire` gave it') };

export const RenewSchema = z
  .strictObject({ ...holding, durationMs: AcquireSchema.shape.durationMs })
  .openapi('Renew');
export const CheckpointSchema = z
  .strictObject({ ...holding, checkpoint: sequence.describe('What is to be read next') })
  .openapi('Checkpoint');
export const ReleaseSchema = z.strictObject(holding).openapi('Release');
export const WishSchema = z.strictObject({ owner }).openapi('Wish');

export const HeldLeaseSchema = z
  .object({
    shard: count,
    owner: z.string(),
    counter: z
      .number()
      .int()
      .describe(
        'Names this holding in all further requests, and fences what is emitted: a later holder has a higher one',
      ),
    checkpoint: sequence.describe('Read from here'),
    wantedBy: z.string().nullable().describe('Another worker asks for it: release it when you can'),
  })
  .openapi('HeldLease');

export type ConsumedShard = z.infer<typeof ConsumedShardSchema>;
export type HeldLease = z.infer<typeof HeldLeaseSchema>;
export type AcquireRequest = z.infer<typeof AcquireSchema>;
