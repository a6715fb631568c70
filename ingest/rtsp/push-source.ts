/**
 * A camera that pushes to us, over RTSP or WebRTC, as a source: waits until it does, and records
 * that session through ffmpeg as a reader over loopback.
 *
 * When the camera leaves, the run is over and the source has ended; the next session is the next
 * run. A session that could not be read is dismissed, so that the camera begins a new one: its
 * own repair is the only one there is. One that the store would not take is left: readers go on,
 * and recording joins again when the disk has room.
 */
import { SourceError, type Source, type SourceErrorCode } from '../source.ts';
import type { Publication } from './publication.ts';
import { recordPublication, refusalOf } from './record-publication.ts';
import type { RecordRun } from './recording.ts';
import type { RtspServer } from './server.ts';

export interface RtspPushOptions {
  /** Its path on the server. */
  readonly camera: string;
  readonly server: RtspServer;
  readonly record: RecordRun;
}

/**
 * @example
 * supervisor.start(
 *   rtspPushSource({
 *     camera: 'gate',
 *     server,
 *     record: (request) => recordSession({ camera: 'gate', video, ffmpegPath, …, ...request }),
 *   }),
 * );
 */
export function rtspPushSource({ camera, server, record }: RtspPushOptions): Source {
  return {
    name: `camera/${camera}`,
    async run(context) {
      const { signal } = context;
      const publication = await server.waitForPublication(camera, signal);
      if (publication === null) return;
      const { remote, protocol = 'RTSP' } = publication.publisher;
      const description = `${protocol} pushed from ${remote}`;
      const session = { server, publication, record, description };
      const failure = await recordPublication(session, context);
      // The camera was removed, or its settings changed: it may come again under the new ones.
      if (signal.aborted) publication.publisher.dismiss();
      settle(publication, failure);
    },
  };
}

const dismissedAfter: ReadonlySet<SourceErrorCode> = new Set(['malformed', 'stalled', 'ended']);

/** What the end of a recording means, now that it is known how the camera's session stands. */
function settle(publication: Publication, failure: SourceError | null): void {
  if (failure?.code === 'storage') throw failure;
  const options = { cause: failure ?? undefined };
  if (publication.recorderDropped) {
    throw new SourceError('storage', 'the recorder did not keep up with the camera', options);
  }
  const refusal = refusalOf(publication);
  if (refusal !== null) throw refusal;
  if (publication.end === 'timed-out') {
    throw new SourceError('stalled', 'the camera sent nothing any more', options);
  }
  if (publication.end === 'malformed') {
    throw new SourceError('malformed', 'the camera sent what is not RTSP', options);
  }
  // It left: how ffmpeg took that is of no interest.
  if (publication.end !== null || failure === null) return;
  if (dismissedAfter.has(failure.code)) publication.publisher.dismiss();
  throw failure;
}
