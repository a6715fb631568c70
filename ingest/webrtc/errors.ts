/** What can be wrong with a WebRTC session, for whoever asked for it. */
export type WebRtcErrorCode =
  /** What came is no offer, or contradicts itself. */
  | 'malformed'
  /** An offer without anything that can be taken, or of something that can't be sent. */
  | 'not-acceptable'
  /** There is no such camera, or it takes no push. */
  | 'not-found'
  /** The camera has a publisher already. */
  | 'conflict'
  /** As many sessions as there may be. */
  | 'full'
  /** WebRTC does not work on this machine just now; the message says why. */
  | 'unavailable';

/** Why mediasoup would not do something, in words for the client. */
export function asWebRtcError(error: unknown): WebRtcError {
  if (error instanceof WebRtcError) return error;
  const reason = error instanceof Error ? error.message : String(error);
  const isTheirs =
    error instanceof TypeError || (error instanceof Error && error.name === 'UnsupportedError');
  return new WebRtcError(
    isTheirs ? 'not-acceptable' : 'unavailable',
    isTheirs ? `The offer can't be taken: ${reason}.` : `WebRTC does not work just now: ${reason}.`,
    { cause: error },
  );
}

export class WebRtcError extends Error {
  override readonly name = 'WebRtcError';
  readonly code: WebRtcErrorCode;

  constructor(code: WebRtcErrorCode, message: string, options: { cause?: unknown } = {}) {
    super(message, options);
    this.code = code;
  }
}
