/**
 * A camera that we fetch from, as a source: one run is one connection to it. When it breaks, the
 * supervisor comes again.
 *
 * What it sends passes through our own server, like what a camera pushes: it is recorded from there
 * and played from there, over the one connection. The recorder may begin again (it finds out about
 * audio by trying) without the camera noticing.
 */
import type { Clock } from '../../storage/ports.ts';
import { SourceError, type Source, type SourceContext } from '../source.ts';
import { parseCameraUrl, plainUrl } from './client/address.ts';
import { openCamera, type CameraSession, type PacketSink } from './client/camera-session.ts';
import { anywhere, onlyNetworks, privateNetworks, type AddressGuard } from './client/guard.ts';
import type { Publication } from './publication.ts';
import { recordPublication, refusalOf } from './record-publication.ts';
import type { RecordRun } from './recording.ts';
import type { RtspServer } from './server.ts';

export interface RtspPullOptions {
  readonly camera: string;
  /** `rtsp://` or `rtsps://`, with user and password where the camera wants them. */
  readonly url: string;
  /** How packets come. Default `tcp`; `udp` for cameras that know nothing else. */
  readonly transport?: 'tcp' | 'udp';
  /** Whether an `rtsps` camera needs a certificate that this machine trusts. Default true. */
  readonly verifyTls?: boolean;
  /** Where it may be; anywhere by default. Asked at each connection. */
  readonly guard?: AddressGuard;
  /** Where it may redirect to beside its own host; private networks by default. */
  readonly redirectGuard?: AddressGuard;
  /** Through which it is recorded and played. */
  readonly server: RtspServer;
  readonly record: RecordRun;
  readonly clock: Clock;
}

/**
 * After a refused password. Cameras lock an account after five to seven guesses within half an
 * hour, and ours would lock out its owner too. A changed configuration is tried at once.
 */
export const retryAfterRefusalMs = 10 * 60_000;
/** A counter takes longer than a packet: it is told of many at once. */
const countedAtBytes = 1024 * 1024;

/**
 * @example
 * rtspPullSource({ camera: 'gate', url: 'rtsp://viewer:pw@192.0.2.10/stream1', server, record, clock });
 */
export function rtspPullSource(options: RtspPullOptions): Source {
  return {
    name: `camera/${options.camera}`,
    async run(context) {
      try {
        await fetchOnce(options, context);
      } catch (error) {
        if (context.signal.aborted && error instanceof SourceError) return;
        throw named(error, options.url);
      }
    },
  };
}

async function fetchOnce(options: RtspPullOptions, context: SourceContext): Promise<void> {
  const { url, server, record, clock } = options;
  const session = await openCamera({
    url,
    transport: options.transport ?? 'tcp',
    verifyTls: options.verifyTls ?? true,
    guard: options.guard ?? anywhere,
    redirectGuard: options.redirectGuard ?? onlyNetworks(privateNetworks),
    clock,
    signal: context.signal,
  });
  const { publication, sink } = relayed(session, options);
  const hungUp = session.closed.then((failure) => {
    publication.close('left');
    return failure;
  });
  let failure: SourceError | null;
  try {
    await play(session, options, context.signal, sink);
    const description = `RTSP from ${session.remote}`;
    failure = await recordPublication({ server, publication, record, description }, context);
  } finally {
    session.close();
    publication.revokeTicket();
  }
  const broken = await hungUp;
  if (failure?.code === 'storage') throw failure;
  const refusal = refusalOf(publication);
  if (refusal !== null) throw refusal;
  if (publication.recorderDropped) {
    throw new SourceError('storage', 'the recorder did not keep up with the camera', {
      cause: failure ?? undefined,
    });
  }
  // A camera that hangs up in an orderly way came to its end, however ffmpeg took that.
  if (broken !== null) throw broken;
  if (failure !== null && failure.code !== 'ended') throw failure;
}

/** The camera's session as the server relays it, and what takes its packets there. */
function relayed(
  session: CameraSession,
  { camera, server }: RtspPullOptions,
): { readonly publication: Publication; readonly sink: PacketSink } {
  let publication: Publication;
  try {
    publication = server.relay(camera, session.session, session.tracks, {
      remote: session.remote,
      report: (track, frame) => {
        session.report(track, frame);
      },
      dismiss: () => {
        session.close();
      },
    });
  } catch (error) {
    session.close();
    throw new SourceError('unreachable', 'its earlier session is not over yet', { cause: error });
  }
  let uncountedBytes = 0;
  const count = (): void => {
    if (uncountedBytes > 0) server.fetched(camera, uncountedBytes);
    uncountedBytes = 0;
  };
  session.gather = (read) => {
    publication.gather(read);
    count();
  };
  session.mayRest = () => !publication.isAwaited;
  const sink: PacketSink = (track, isRtcp, frame) => {
    uncountedBytes += frame.length;
    publication.forward(track, isRtcp, frame);
    // Over UDP nothing is gathered.
    if (uncountedBytes > countedAtBytes) count();
  };
  return { publication, sink };
}

async function play(
  session: CameraSession,
  { clock }: RtspPullOptions,
  signal: AbortSignal,
  sink: PacketSink,
): Promise<void> {
  // It has described itself in time; what it does not do now, the watch for pictures finds out.
  const leave = (): void => {
    session.close();
  };
  signal.addEventListener('abort', leave, { once: true });
  let stop = (): void => undefined;
  const late = new Promise<never>((_, reject) => {
    stop = clock.setTimer(10_000, () => {
      reject(new SourceError('unreachable', 'no answer to PLAY within 10 s'));
    });
  });
  try {
    await Promise.race([session.play(sink), late]);
  } finally {
    stop();
    signal.removeEventListener('abort', leave);
  }
}

/** The error with the camera's address, and with patience where a password was refused. */
function named(error: unknown, url: string): unknown {
  if (!(error instanceof SourceError)) return error;
  const address = error.message.includes('the address of the camera') ? null : parseCameraUrl(url);
  const where = address === null ? '' : `${plainUrl(address)}: `;
  const isGuess = error.code === 'unauthorized' && address?.user != null;
  return new SourceError(error.code, `${where}${error.message}`, {
    cause: error,
    ...(isGuess ? { retryAfterMs: retryAfterRefusalMs } : {}),
  });
}
