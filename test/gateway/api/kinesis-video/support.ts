/** A real store with footage behind the real HTTP server, and clients of the real SDK. */
import { execFile } from 'node:child_process';
import type { Readable } from 'node:stream';
import type { TestContext } from 'node:test';
import { promisify } from 'node:util';
import { KinesisVideoClient } from '@aws-sdk/client-kinesis-video';
import { KinesisVideoArchivedMediaClient } from '@aws-sdk/client-kinesis-video-archived-media';
import { KinesisVideoMediaClient } from '@aws-sdk/client-kinesis-video-media';
import { Hono } from 'hono';
import { KinesisVideoService } from '../../../../gateway/api/kinesis-video/kinesis-video.ts';
import { putMediaCamera, type Config } from '../../../../gateway/config/schema.ts';
import type { Images } from '../../../../gateway/media/images.ts';
import type { AppEnv } from '../../../../gateway/http/authentication.ts';
import { createHttpServer } from '../../../../gateway/http/server.ts';
import { createAwsAuthenticator } from '../../../../gateway/security/aws-authenticator.ts';
import { createAuthorizer } from '../../../../gateway/security/policies.ts';
import { parsePolicyText } from '../../../../gateway/security/policy-document.ts';
import { StreamCameras } from '../../../../gateway/stream-cameras.ts';
import { systemClock } from '../../../../storage/clock.ts';
import type { Clock } from '../../../../storage/ports.ts';
import type { Fragment, VideoStore } from '../../../../storage/model.ts';
import { cameraOptions, openVideo } from '../../../storage/video/footage.ts';
import { memoryFolder } from '../../../support/temporary-folder.ts';
import { makeFootage, record, type Footage } from '../hls/footage.ts';

const run = promisify(execFile);

export const camera = 'gate';
export const ownerKey = { accessKeyId: 'AKIAOWNER', secretAccessKey: 'secret-of-the-owner' };
export const readerKey = { accessKeyId: 'AKIAREADER', secretAccessKey: 'secret-of-the-reader' };
const readerPolicy = `{"Statement": {"Effect": "Allow", "Action": "kinesisvideo:List*",
  "Resource": "arn:aws:kinesisvideo:*:*:stream/${camera}/*"}}`;
/** How long after it was made footage arrives. */
const delayMs = 40_000;

type Key = typeof ownerKey;

export interface Clients {
  readonly control: KinesisVideoClient;
  readonly archived: KinesisVideoArchivedMediaClient;
  readonly live: KinesisVideoMediaClient;
}

export interface Served {
  readonly url: string;
  readonly video: VideoStore;
  readonly delayMs: number;
  /** Of the first footage, in order. */
  readonly fragments: readonly Fragment[];
  readonly audited: readonly string[];
  clients(key?: Key): Clients;
  /** Records footage behind all there is. */
  record(footage?: Footage): Promise<readonly Fragment[]>;
  /** Names of the cameras that are to be recorded. */
  running(): readonly string[];
  /** Resolves when somebody next begins to watch the camera live. */
  watched(): Promise<void>;
}

export interface ServeOptions {
  readonly clock?: Clock;
  readonly images?: Pick<Images, 'imageOf'>;
  /** What is recorded; twelve seconds of a moving picture unless said otherwise. */
  readonly footage?: Footage;
}

/** Twelve seconds, encoded once for all tests of a file. */
let footageOnce: Promise<Footage> | null = null;

/** The store has the footage in fragments of two seconds, the first from a minute ago. */
export async function serveKinesisVideo(
  t: TestContext,
  options: ServeOptions = {},
): Promise<Served> {
  const { clock = systemClock } = options;
  const { store, logger, metrics } = await openVideo(t, await memoryFolder(t), { clock });
  const { video } = store;
  await video.ensureCamera(cameraOptions(camera, { retentionMs: 168 * 3_600_000 }));
  const footage = options.footage ?? (await (footageOnce ??= makeFootage(12)));
  let nextUs = (Math.floor(clock.nowMs() / 1000) - 60) * 1_000_000;
  const recordMore = async (more: Footage): Promise<readonly Fragment[]> => {
    const { fragments } = await record(video, camera, [more], nextUs, undefined, delayMs);
    const last = fragments.at(-1);
    nextUs = (last?.startUs ?? 0) + (last?.durationUs ?? 0);
    return fragments;
  };
  const fragments = await recordMore(footage);

  const configured: Config['cameras'] = { [camera]: putMediaCamera(168) };
  const cameras = new StreamCameras(video, () => configured);
  let running = await cameras.all(configured);
  cameras.start(async (all) => {
    running = all;
    for (const [name, { retentionHours }] of Object.entries(all)) {
      const retentionMs = (retentionHours ?? 0) * 3_600_000;
      await video.ensureCamera(cameraOptions(name, { retentionMs }));
    }
  });
  const audited: string[] = [];
  const keys = new Map([ownerKey, readerKey].map((key) => [key.accessKeyId, key]));
  const service = new KinesisVideoService({
    ...{ video, cameras, clock, logger, metrics },
    images: options.images ?? { imageOf: () => Promise.reject(new Error('no images')) },
    account: { region: 'us-east-1', accountId: '000000000000' },
    secret: Buffer.alloc(32, 7),
    authenticator: createAwsAuthenticator({
      ...{ mode: 'sigv4', accountId: '000000000000', region: null, clock: systemClock },
      keys: {
        find: (id) => {
          const key = keys.get(id);
          return Promise.resolve(
            key === undefined ? null : { name: id, secretAccessKey: key.secretAccessKey },
          );
        },
      },
    }),
    authorizer: createAuthorizer({
      keys: {
        policiesOf: (id) =>
          id === readerKey.accessKeyId ? [parsePolicyText(readerPolicy, 'identity')] : [],
      },
      clock,
    }),
    audit: {
      record: ({ action, outcome }) => audited.push(`${action} ${outcome}`),
      countStranger: () => audited.push('a stranger'),
    },
  });
  const server = await createHttpServer({
    ...{ host: '127.0.0.1', port: 0, clock: systemClock, logger, metrics },
    fetch: new Hono<AppEnv>().route('/', service.routes).fetch,
    limits: { drainMs: 1_000 },
  });
  t.after(async () => {
    service.close();
    await server.close();
  });
  let tellWatched: () => void = () => undefined;
  const watch = video.watch.bind(video);
  video.watch = (name, listener) => {
    tellWatched();
    return watch(name, listener);
  };
  return {
    ...{ url: server.url, video, delayMs, fragments, audited },
    clients: (credentials = ownerKey) => {
      const common = { region: 'us-east-1', endpoint: server.url, credentials, maxAttempts: 1 };
      const clients = {
        control: new KinesisVideoClient(common),
        archived: new KinesisVideoArchivedMediaClient(common),
        live: new KinesisVideoMediaClient(common),
      };
      t.after(() => {
        for (const client of Object.values(clients)) client.destroy();
      });
      return clients;
    },
    record: (more = footage) => recordMore(more),
    running: () => Object.keys(running),
    watched: () =>
      new Promise((resolve) => {
        tellWatched = resolve;
      }),
  };
}

export async function bytesOf(payload: unknown): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of payload as Readable) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

/** Pictures in media, as ffprobe counts them. */
export async function packetsIn(bytes: Buffer): Promise<number> {
  const probe = run(
    'ffprobe',
    [
      ...['-v', 'error', '-count_packets', '-select_streams', 'v', '-of', 'csv=p=0'],
      ...['-show_entries', 'stream=nb_read_packets', '-i', 'pipe:0'],
    ],
    { maxBuffer: 2 ** 24 },
  );
  probe.child.stdin?.on('error', () => undefined);
  probe.child.stdin?.end(bytes);
  return Number((await probe).stdout.trim());
}
