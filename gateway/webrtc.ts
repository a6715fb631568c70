/**
 * WebRTC, wired: mediasoup's worker, the cameras that publish over WHIP, the viewers over WHEP, and
 * where they go to and come from, which is the relay of cameras. Nothing of it runs before somebody
 * asks for it.
 */
import { networkInterfaces } from 'node:os';
import { isIP } from 'node:net';
import { WebRtcError } from '../ingest/webrtc/errors.ts';
import { WebRtcPublisher } from '../ingest/webrtc/publisher.ts';
import { MediaWorker } from '../ingest/webrtc/worker.ts';
import type { Publication } from '../ingest/rtsp/publication.ts';
import type { RtspServer } from '../ingest/rtsp/server.ts';
import { SourceError } from '../ingest/source.ts';
import type { Clock, Logger, Metrics } from '../storage/ports.ts';
import { Feed } from './api/webrtc/feed.ts';
import type { Remote, WebRtc } from './api/webrtc/routes.ts';
import { Sessions } from './api/webrtc/sessions.ts';
import { WebRtcViewer } from './api/webrtc/viewer.ts';
import type { Config } from './config/schema.ts';
import type { Substream } from './substreams.ts';

export interface WebRtcOptions {
  readonly config: Config['webrtc'];
  /** Literal addresses to listen on. */
  readonly hosts: readonly string[];
  /** The cameras of the configuration that is in force. */
  readonly cameras: () => Config['cameras'];
  readonly relay: () => Promise<RtspServer>;
  /** What is fetched only while it is watched; null: it is no such camera. */
  readonly substream: (camera: string) => Substream | null;
  readonly ffmpegPath: string;
  /** mediasoup's worker; where mediasoup looks for it when left out. */
  readonly workerPath?: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

export interface RunningWebRtc extends WebRtc {
  /** Of mediasoup's worker; null: it does not run. */
  processId(): Promise<number | null>;
  /** Ends every session, and the worker. */
  close(): Promise<void>;
}

export function startWebRtc(options: WebRtcOptions): RunningWebRtc {
  const { config, hosts, clock, metrics } = options;
  const logger = options.logger.child({ part: 'webrtc' });
  const worker = new MediaWorker({
    ...{ hosts, port: config.port, clock, logger, metrics },
    ...(options.workerPath === undefined ? {} : { workerPath: options.workerPath }),
  });
  const sessions = new Sessions(config.maxSessions, metrics);
  const feeds = new Map<Publication, Feed>();

  const feedOf = (publication: Publication): Feed => {
    const known = feeds.get(publication);
    if (known !== undefined) return known;
    const feed = new Feed({
      ...{ publication, worker, clock, logger, ffmpegPath: options.ffmpegPath },
      closed: () => feeds.delete(publication),
    });
    feeds.set(publication, feed);
    return feed;
  };
  const cameraOf = (camera: string): Config['cameras'][string] => {
    const cameras = options.cameras();
    const found = Object.hasOwn(cameras, camera) ? cameras[camera] : undefined;
    if (found !== undefined) return found;
    throw new WebRtcError('not-found', `There is no camera named ${camera.slice(0, 64)}.`);
  };
  const publisherOf: WebRtc['publisherOf'] = (camera) => {
    const { source } = cameraOf(camera);
    if ('push' in source) return source.push;
    throw new WebRtcError('not-found', `The camera ${camera} takes no push.`);
  };

  const publish = async (camera: string, offer: string, remote: Remote, closed: () => void) => {
    publisherOf(camera);
    return WebRtcPublisher.open({
      ...{ camera, offer, worker, clock, closed },
      remote: remote.address,
      addresses: addressesFor(remote, config.announcedAddresses),
      relay: await options.relay(),
      logger,
    });
  };
  const sending = async (camera: string): Promise<Watched> => {
    const substream = options.substream(camera);
    if (substream !== null) return watching(substream);
    if ('putMedia' in cameraOf(camera).source) {
      throw new WebRtcError(
        'not-acceptable',
        `The camera ${camera} comes by PutMedia, in whole fragments: watch it over HLS.`,
      );
    }
    const publication = (await options.relay()).publication(camera);
    if (publication === null) {
      throw new WebRtcError('not-found', `The camera ${camera} is not sending now.`);
    }
    return { publication, left: () => undefined };
  };
  const view = async (camera: string, offer: string, remote: Remote, closed: () => void) => {
    const { publication, left } = await sending(camera);
    try {
      return await WebRtcViewer.open({
        ...{ offer, clock },
        closed: () => {
          left();
          closed();
        },
        feed: () => feedOf(publication),
        addresses: addressesFor(remote, config.announcedAddresses),
      });
    } catch (error) {
      left();
      throw error;
    }
  };

  return {
    publisherOf,
    open: (kind, camera, offer, remote) =>
      sessions.open(kind, camera, offer, (closed) =>
        kind === 'whip'
          ? publish(camera, offer, remote, closed)
          : view(camera, offer, remote, closed),
      ),
    patch: (name, fragment, ifMatch) => sessions.patch(name, fragment, ifMatch),
    end: (name) => {
      sessions.end(name);
    },
    processId: () => worker.processId(),
    close: async () => {
      sessions.close();
      for (const feed of [...feeds.values()]) feed.close();
      await worker.close();
    },
  };
}

interface Watched {
  readonly publication: Publication;
  /** Of a viewer; twice is harmless. */
  readonly left: () => void;
}

/** @throws WebRtcError `unavailable` */
async function watching(substream: Substream): Promise<Watched> {
  try {
    return await substream.watch();
  } catch (error) {
    if (!(error instanceof SourceError)) throw error;
    throw new WebRtcError('unavailable', `It can not be fetched now: ${error.message}.`, {
      cause: error,
    });
  }
}

/** On every address, also of IPv6 where there is that. */
export function webRtcHosts(host: string): readonly string[] {
  if (host === '::') return ['0.0.0.0', '::'];
  return [host === 'localhost' ? '127.0.0.1' : host];
}

const addressesMax = 16;

/**
 * What a client is told to reach us by, where we listen on every address: what the configuration
 * announces, the address that it has used already, and those that this machine has now.
 */
function addressesFor({ host, address }: Remote, announced: readonly string[]): readonly string[] {
  const own = Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    .filter((one) => !/^fe80:/i.test(one.address))
    // Loopback is for who is here already.
    .filter(({ internal }) => !internal || isLoopbackAddress(address))
    .sort((a, b) => a.family.localeCompare(b.family))
    .map((one) => one.address);
  const used = isIP(host) === 0 ? [] : [host];
  return [...new Set([...announced, ...used, ...own])].slice(0, addressesMax);
}

function isLoopbackAddress(address: string): boolean {
  return address === '::1' || /^(::ffff:)?127\./.test(address);
}
