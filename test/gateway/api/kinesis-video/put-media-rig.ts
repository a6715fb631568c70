/** A store behind PutMedia over HTTP, and producers. */
import type { TestContext } from 'node:test';
import {
  putMediaHandler,
  type PutMediaLimits,
} from '../../../../gateway/api/kinesis-video/put-media.ts';
import { createHttpServer, type HttpLimits } from '../../../../gateway/http/server.ts';
import { createAwsAuthenticator } from '../../../../gateway/security/aws-authenticator.ts';
import { createAuthorizer } from '../../../../gateway/security/policies.ts';
import { parsePolicyText } from '../../../../gateway/security/policy-document.ts';
import { PutMediaEntrance } from '../../../../ingest/mkv/entrance.ts';
import { systemClock } from '../../../../storage/clock.ts';
import type { Fragment } from '../../../../storage/model.ts';
import type { Clock } from '../../../../storage/ports.ts';
import { cameraOptions, openVideo } from '../../../storage/video/footage.ts';
import { memoryFolder } from '../../../support/temporary-folder.ts';
import { Producer } from './producer.ts';

export const secretAccessKey = 'secret-of-the-producer';
export const relative = {
  'x-amzn-stream-name': 'gate',
  'x-amzn-fragment-timecode-type': 'RELATIVE',
};

export interface Box {
  readonly url: string;
  readonly port: number;
  readonly entrance: PutMediaEntrance;
  fragments(): Promise<readonly Fragment[]>;
  read(fragment: Fragment): Promise<Buffer>;
  init(id: number): Promise<Buffer>;
  producer(headers?: Readonly<Record<string, string>>): Producer;
  /** Resolves when no connection of the camera is open any more. */
  idle(): Promise<void>;
  /** Ends the camera. */
  stop(): Promise<void>;
}

export interface BoxOptions {
  readonly clock?: Clock;
  readonly mode?: 'sigv4' | 'permissive';
  readonly policies?: readonly string[];
  readonly limits?: PutMediaLimits;
  readonly http?: HttpLimits;
}

export async function box(t: TestContext, options: BoxOptions = {}): Promise<Box> {
  const { clock = systemClock, mode = 'permissive', policies = [], limits = {} } = options;
  const { store, logger, metrics } = await openVideo(t, await memoryFolder(t), { clock });
  const { video } = store;
  await video.ensureCamera(cameraOptions('gate'));
  const entrance = new PutMediaEntrance(clock);
  const abort = new AbortController();
  const served = entrance.serve('gate', abort.signal);
  const stop = async (): Promise<void> => {
    abort.abort();
    await served;
  };
  const server = await createHttpServer({
    ...{ host: '127.0.0.1', port: 0, clock: systemClock, logger, metrics },
    limits: { drainMs: 1_000, ...options.http },
    fetch: async (request) => new Response(`app: ${(await request.text()).length}`),
    streaming: putMediaHandler({
      ...{ entrance, video, clock, logger, metrics, limits },
      authenticator: createAwsAuthenticator({
        ...{ mode, accountId: '000000000000', region: null, clock: systemClock },
        keys: {
          find: (keyId) =>
            Promise.resolve(keyId === 'AKIAPRODUCER' ? { name: 'camera', secretAccessKey } : null),
        },
      }),
      authorizer: createAuthorizer({
        keys: { policiesOf: () => policies.map((text) => parsePolicyText(text, 'identity')) },
        clock,
      }),
      arnOf: (camera) =>
        Promise.resolve(`arn:aws:kinesisvideo:us-east-1:000000000000:stream/${camera}/0`),
      fragmentNumber: String,
    }),
  });
  t.after(async () => {
    await stop();
    await server.close();
  });
  return {
    ...{
      url: `http://localhost:${server.address.port}`,
      port: server.address.port,
      entrance,
      stop,
    },
    fragments: () =>
      video.fragments({ camera: 'gate', fromUs: 0, toUs: Number.MAX_SAFE_INTEGER, limit: 1000 }),
    read: (fragment) => video.readFragment(fragment),
    init: async (id) => (await video.init(id)).bytes,
    producer: (headers = relative) => {
      const producer = new Producer(`http://localhost:${server.address.port}`, headers);
      t.after(() => {
        producer.cut();
      });
      return producer;
    },
    idle: async () => {
      while (entrance.status('gate')?.isSending === true) {
        await new Promise((wake) => setTimeout(wake, 5));
      }
    },
  };
}
