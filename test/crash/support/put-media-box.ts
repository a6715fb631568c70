/**
 * A store with PutMedia in front of it, to be killed. Prints what it found when it began, whole and
 * readable, then where it listens.
 *
 * Usage: put-media-box FOLDER
 */
import { putMediaHandler } from '../../../gateway/api/kinesis-video/put-media.ts';
import { createHttpServer } from '../../../gateway/http/server.ts';
import { createAwsAuthenticator } from '../../../gateway/security/aws-authenticator.ts';
import { createAuthorizer } from '../../../gateway/security/policies.ts';
import { PutMediaEntrance } from '../../../ingest/mkv/entrance.ts';
import { systemClock as clock } from '../../../storage/clock.ts';
import { openStore } from '../../../storage/store.ts';
import { MemoryLogger } from '../../support/memory-logger.ts';
import { MemoryMetrics } from '../../support/memory-metrics.ts';

const [folder = ''] = process.argv.slice(2);
const [logger, metrics] = [new MemoryLogger(), new MemoryMetrics()];
const { video } = await openStore({ folder, clock, logger, metrics, video: { minFreeBytes: 0 } });
await video.ensureCamera({ name: 'gate', retentionMs: null, maxBytes: null, events: null });

const all = { camera: 'gate', fromUs: 0, toUs: Number.MAX_SAFE_INTEGER, limit: 100_000 };
const held: string[] = [];
for (const fragment of await video.fragments(all)) {
  await video.readFragment(fragment);
  held.push(`${fragment.number}:${fragment.plainBytes}`);
}
process.stdout.write(`HELD ${held.join(' ')}\n`);

const entrance = new PutMediaEntrance(clock);
void entrance.serve('gate', new AbortController().signal);
const server = await createHttpServer({
  ...{ host: '127.0.0.1', port: 0, clock, logger, metrics },
  fetch: () => new Response(null, { status: 404 }),
  streaming: putMediaHandler({
    ...{ entrance, video, clock, logger, metrics },
    limits: { fragmentsPerSecond: 1_000 },
    authenticator: createAwsAuthenticator({
      ...{ mode: 'permissive', accountId: '000000000000', region: null, clock },
      keys: { find: () => Promise.resolve({ name: 'camera', secretAccessKey: '' }) },
    }),
    authorizer: createAuthorizer({ keys: { policiesOf: () => [] }, clock }),
    arnOf: (camera) =>
      Promise.resolve(`arn:aws:kinesisvideo:us-east-1:000000000000:stream/${camera}/0`),
    fragmentNumber: String,
  }),
});
process.stdout.write(`LISTENS ${server.address.port}\n`);
