/** What the RTSP sources need of whoever records: `recordSession`, with all else filled in. */

export interface RecordingRequest {
  readonly input: {
    /** ffmpeg's input options, with `-i` and the address. */
    readonly args: readonly string[];
    /** The input as it may be shown: without credentials. */
    readonly description: string;
  };
  readonly signal: AbortSignal;
  /** Called when the first fragment of the run is stored. */
  readonly onFirstFragment: () => void;
}

/**
 * Records one run: resolves when the input ended or the signal was aborted.
 *
 * @throws SourceError
 */
export type RecordRun = (request: RecordingRequest) => Promise<void>;
