/**
 * Records one session of a camera through ffmpeg, as a reader of our own server over loopback: what
 * cameras that push and cameras that are fetched from have in common.
 */
import { SourceError, type SourceContext } from '../source.ts';
import type { Publication } from './publication.ts';
import type { RecordRun } from './recording.ts';
import type { RtspServer } from './server.ts';

export interface PublicationRecording {
  readonly server: RtspServer;
  readonly publication: Publication;
  readonly record: RecordRun;
  /** For logs and errors; without credentials. */
  readonly description: string;
}

/**
 * Resolves when the recording is over, with what went wrong if anything did; what that means
 * depends on how the camera's session stands.
 */
export async function recordPublication(
  { server, publication, record, description }: PublicationRecording,
  context: SourceContext,
): Promise<SourceError | null> {
  const input = {
    args: ['-rtsp_transport', 'tcp', '-i', server.recorderUrl(publication)],
    description,
  };
  const onFirstFragment = (): void => {
    publication.confirmRecorded();
    context.ready();
  };
  const over = new AbortController();
  publication.onClosed(() => {
    over.abort();
  });
  try {
    await record({
      ...{ input, onFirstFragment, isLive: true, signal: context.signal, over: over.signal },
      missingPackets: () => publication.missingPackets,
      lastMediaMs: () => publication.lastMediaMs,
      firstPictureSeconds: () => publication.firstPictureSeconds,
      hasLeaptBack: () => publication.hasLeaptBack,
    });
    return null;
  } catch (error) {
    if (!(error instanceof SourceError)) throw error;
    return error;
  } finally {
    publication.revokeTicket();
  }
}

/** Why a session was given up that nobody can do anything with; null: it was not. */
export function refusalOf(publication: Publication): SourceError | null {
  if (publication.end !== 'flooded') return null;
  return new SourceError('unsupported', 'the camera sends more than any camera should');
}
