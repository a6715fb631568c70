/**
 * Routes of applications outside of the gateway: leases and checkpoints for clients that have no
 * table of their own for them.
 *
 * Promises
 * - A lease is held until its duration has passed without a renewal, on the gateway's monotonic
 *   clock. Then any worker may take it, and the one before gets `lease-lost` for whatever it tries.
 *   Nobody takes it by force before: a worker may ask for it (`wanted`), and the holder hands over.
 * - After a restart of the gateway a lease stands for its last duration once more, so that a
 *   worker that goes on renewing keeps it.
 * - `counter`, as `acquire` gives it, rises from holder to holder: where emissions go, it tells
 *   the superseded worker's from its successor's.
 * - A shard is given out when its parents have been read to their end: order per key survives
 *   splits and merges.
 * - An application outside never pins: what retention deletes before it is read is skipped, and
 *   the answer to the read counts it.
 *
 * The gateway's own applications have a colon in their names and can't be reached from here.
 */
import { createRoute, z } from '@hono/zod-openapi';
import type { Lease, Log, ShardDescription } from '../../../storage/model.ts';
import type { Clock } from '../../../storage/ports.ts';
import { HttpError } from '../../http/errors.ts';
import { streamNamed } from './absent.ts';
import {
  AcquireSchema,
  ApplicationSchema,
  ApplicationsSchema,
  CheckpointSchema,
  ConsumedShardsSchema,
  DeletedSchema,
  HeldLeaseSchema,
  ReleaseSchema,
  RenewSchema,
  WishSchema,
  applicationName,
  type AcquireRequest,
  type HeldLease,
} from './application-schemas.ts';
import { consumedShards, startOf } from './consumed-shards.ts';
import { LeaseWishes } from './lease-wishes.ts';
import { answers, type RestRouter } from './router.ts';

const applicationsMax = 1_000;

export interface ApplicationRoutesOptions {
  readonly log: Log;
  readonly clock: Clock;
}

const applicationParameter = z.object({ application: applicationName });
const streamParameter = applicationParameter.extend({ stream: z.string().max(128) });
const shardParameter = streamParameter.extend({ shard: z.coerce.number().int().min(0) });
const streamPath = '/applications/{application}/streams/{stream}';
const shardPath = `${streamPath}/shards/{shard}`;

function body<T extends z.ZodType>(schema: T) {
  return { required: true, content: { 'application/json': { schema } } } as const;
}

const list = createRoute({
  method: 'get',
  path: '/applications',
  summary: "The applications, without the gateway's own",
  responses: answers(ApplicationsSchema, 'By name'),
});

const put = createRoute({
  method: 'put',
  path: '/applications/{application}',
  summary: 'Makes an application; one that is there stays as it is',
  request: { params: applicationParameter },
  responses: answers(ApplicationSchema, 'The application'),
});

const remove = createRoute({
  method: 'delete',
  path: '/applications/{application}',
  summary: 'Forgets an application with its leases and checkpoints',
  request: { params: applicationParameter },
  responses: answers(DeletedSchema, 'It is forgotten'),
});

const shards = createRoute({
  method: 'get',
  path: `${streamPath}/shards`,
  summary: "A stream's shards, and how far the application is with each",
  request: { params: streamParameter },
  responses: answers(ConsumedShardsSchema, 'By index'),
});

const acquire = createRoute({
  method: 'post',
  path: `${shardPath}/acquire`,
  summary: 'Takes the lease of a shard',
  description:
    '409 `lease-held` while another worker has it, 409 `parents-first` while a parent is not read to its end.',
  request: { params: shardParameter, body: body(AcquireSchema) },
  responses: answers(HeldLeaseSchema, 'The lease'),
});

const renew = createRoute({
  method: 'post',
  path: `${shardPath}/renew`,
  summary: 'Begins the duration of a lease anew: the heartbeat of a worker',
  description: '409 `lease-lost` once another worker has it.',
  request: { params: shardParameter, body: body(RenewSchema) },
  responses: answers(HeldLeaseSchema, 'The lease'),
});

const checkpoint = createRoute({
  method: 'post',
  path: `${shardPath}/checkpoint`,
  summary: 'Says that everything before a sequence number is done',
  description: '409 `lease-lost` once another worker has the lease. A checkpoint never goes back.',
  request: { params: shardParameter, body: body(CheckpointSchema) },
  responses: answers(HeldLeaseSchema, 'The lease'),
});

const release = createRoute({
  method: 'post',
  path: `${shardPath}/release`,
  summary: 'Gives a lease back; one that was lost already is no error',
  request: { params: shardParameter, body: body(ReleaseSchema) },
  responses: answers(z.object({ shard: z.number() }), 'It is given back'),
});

const wanted = createRoute({
  method: 'post',
  path: `${shardPath}/wanted`,
  summary: 'Asks the holder of a lease to hand it over',
  description: 'The holder is told when it renews. Said again until it is taken, or forgotten.',
  request: { params: shardParameter, body: body(WishSchema) },
  responses: answers(
    z.object({ wantedBy: z.string().nullable() }),
    'Who asked first; null: nobody holds it, so it can be taken',
  ),
});

export function applicationRoutes(
  router: RestRouter,
  { log, clock }: ApplicationRoutesOptions,
): void {
  const { applications } = log;
  const wishes = new LeaseWishes(clock);

  router.openapi(list, (c) => {
    const outside = applications.list().filter(({ name }) => !name.includes(':'));
    const sorted = outside.sort((a, b) => a.name.localeCompare(b.name));
    return c.json(
      { applications: sorted.map(({ name, leases }) => ({ name, leases: leases.length })) },
      200,
    );
  });

  router.openapi(put, async (c) => {
    const name = c.req.valid('param').application;
    const known = applications.list();
    if (known.length >= applicationsMax && !known.some((one) => one.name === name)) {
      throw new HttpError(
        'conflict',
        `There are ${applicationsMax} applications already: delete one first.`,
      );
    }
    await applications.ensure({ name, required: false });
    return c.json({ name, leases: leasesOf(log, name).length }, 200);
  });

  router.openapi(remove, async (c) => {
    const name = c.req.valid('param').application;
    await applications.remove(name);
    return c.json({ name }, 200);
  });

  router.openapi(shards, (c) => {
    const { application, stream } = c.req.valid('param');
    leasesOf(log, application);
    return c.json({ shards: consumedShards(log, wishes, application, stream) }, 200);
  });

  router.openapi(acquire, async (c) => {
    const { application, stream, shard } = c.req.valid('param');
    const request = c.req.valid('json');
    await begin(log, application, stream, request);
    const { id, trimSequence } = shardOf(log, stream, shard);
    const consumed = consumedShards(log, wishes, application, stream);
    if (consumed.find((one) => one.shard === shard)?.state === 'waiting') {
      throw new HttpError(
        'parents-first',
        `Shard ${shard} of ${stream} has a parent that ${application} has not read to its end.`,
      );
    }
    const { owner, durationMs } = request;
    const source = { kind: 'shard', id } as const;
    const lease = await applications.acquire(
      ...([application, source, owner, durationMs, trimSequence, true] as const),
    );
    wishes.fulfil(application, id);
    return c.json(heldLease(shard, lease, lease.counter, null), 200);
  });

  router.openapi(renew, async (c) => {
    const { application, stream, shard } = c.req.valid('param');
    const { owner, counter, durationMs } = c.req.valid('json');
    const { id } = shardOf(log, stream, shard);
    const lease = await applications.renew(given(application, id, owner, counter), durationMs);
    return c.json(heldLease(shard, lease, counter, wishes.of(application, id)), 200);
  });

  router.openapi(checkpoint, async (c) => {
    const { application, stream, shard } = c.req.valid('param');
    const { owner, counter, checkpoint: position } = c.req.valid('json');
    const { id } = shardOf(log, stream, shard);
    const lease = await applications.checkpoint(given(application, id, owner, counter), position);
    return c.json(heldLease(shard, lease, counter, wishes.of(application, id)), 200);
  });

  router.openapi(release, async (c) => {
    const { application, stream, shard } = c.req.valid('param');
    const { owner, counter } = c.req.valid('json');
    const { id } = shardOf(log, stream, shard);
    await applications.release(given(application, id, owner, counter));
    return c.json({ shard }, 200);
  });

  router.openapi(wanted, (c) => {
    const { application, stream, shard } = c.req.valid('param');
    leasesOf(log, application);
    const { id } = shardOf(log, stream, shard);
    const heldForMs = applications.heldForMs(application, { kind: 'shard', id });
    if (heldForMs === 0) return c.json({ wantedBy: null }, 200);
    wishes.add(application, id, c.req.valid('json').owner, heldForMs);
    return c.json({ wantedBy: wishes.of(application, id) }, 200);
  });
}

/** @throws HttpError `not-found` when there is no such application */
function leasesOf(log: Log, application: string): readonly Lease[] {
  const found = log.applications.list().find(({ name }) => name === application);
  if (found !== undefined) return found.leases;
  throw new HttpError('not-found', `There is no application ${application}.`);
}

/** @throws HttpError `not-found` when there is no such stream or shard */
function shardOf(log: Log, stream: string, index: number): ShardDescription {
  const found = streamNamed(log, stream).shards.find((shard) => shard.index === index);
  if (found !== undefined) return found;
  throw new HttpError('not-found', `${stream} has no shard ${index}.`);
}

/**
 * Where an application that comes to a stream for the first time begins with each of its shards,
 * said in one step: a shard that is not among them later was made by a split or a merge since, and
 * is read from its beginning.
 */
async function begin(
  log: Log,
  application: string,
  streamName: string,
  request: AcquireRequest,
): Promise<void> {
  const { shards: all } = streamNamed(log, streamName);
  const ids = new Set(all.map(({ id }) => id));
  const known = leasesOf(log, application).some(
    ({ source }) => source.kind === 'shard' && ids.has(source.id),
  );
  if (known) return;
  const starts = all.map(async (shard) => ({
    source: { kind: 'shard', id: shard.id } as const,
    position: await startOf(log, shard, request),
  }));
  await log.applications.begin(application, await Promise.all(starts));
}

/** A lease as its holder knows it; the store looks at nothing else of it. */
function given(application: string, shardId: number, owner: string, counter: number): Lease {
  const source = { kind: 'shard', id: shardId } as const;
  return { application, source, owner, counter, start: 0, checkpoint: 0 };
}

function heldLease(
  shard: number,
  { owner, checkpoint: position }: Lease,
  counter: number,
  wantedBy: string | null,
): HeldLease {
  return { shard, owner, counter, checkpoint: position, wantedBy };
}
