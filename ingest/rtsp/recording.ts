/** What the RTSP sources need of whoever records: `recordSession`, with all else filled in. */
import type { CameraInput } from '../camera/session.ts';

export interface RecordingRequest {
  readonly input: CameraInput;
  readonly signal: AbortSignal;
  /** Called when the first fragment of the run is stored. */
  readonly onFirstFragment: () => void;
  /** Packets missing so far: a fragment in which there are more is marked as damaged. */
  readonly missingPackets: () => number;
  /** When the camera sent its newest packet, on the clock's monotonic side. */
  readonly lastMediaMs: () => number;
  /** Aborted when the camera's session is over: nothing more comes. */
  readonly over: AbortSignal;
  /** As in `SessionOptions`. */
  readonly firstPictureSeconds: () => readonly number[];
  /** As in `SessionOptions`. */
  readonly hasLeaptBack: () => boolean;
  /** As in `SessionOptions`. */
  readonly isLive: boolean;
}

/**
 * Records one run: resolves when the input ended or the signal was aborted.
 *
 * @throws SourceError
 */
export type RecordRun = (request: RecordingRequest) => Promise<void>;
