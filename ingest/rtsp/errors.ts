/**
 * What can be wrong with what an RTSP peer sends, as one error class with a closed list of codes;
 * the status code that each is answered with is in this table and nowhere else.
 */

const codes = {
  /** The bytes or the message are not RTSP, or not meaningful. */
  'bad-request': { status: 400, reason: 'Bad Request' },
  unauthorized: { status: 401, reason: 'Unauthorized' },
  'not-found': { status: 404, reason: 'Not Found' },
  'method-not-allowed': { status: 405, reason: 'Method Not Allowed' },
  'body-too-large': { status: 413, reason: 'Request Entity Too Large' },
  'uri-too-long': { status: 414, reason: 'Request-URI Too Long' },
  /** A codec that is not recorded, or a body that is not SDP. */
  'unsupported-media': { status: 415, reason: 'Unsupported Media Type' },
  'session-not-found': { status: 454, reason: 'Session Not Found' },
  'wrong-state': { status: 455, reason: 'Method Not Valid in This State' },
  'unsupported-transport': { status: 461, reason: 'Unsupported Transport' },
  'not-implemented': { status: 501, reason: 'Not Implemented' },
  /** The path has a publisher, or the server has all the connections it may have. */
  busy: { status: 503, reason: 'Service Unavailable' },
  'unsupported-version': { status: 505, reason: 'RTSP Version Not Supported' },
} as const;

export type RtspErrorCode = keyof typeof codes;

export class RtspError extends Error {
  override readonly name = 'RtspError';
  readonly code: RtspErrorCode;
  /**
   * Whether the connection can go on afterwards: after malformed bytes nobody knows where the
   * next message starts.
   */
  readonly fatal: boolean;
  /** The CSeq of the request at fault, where it could be read. */
  readonly cseq: string | null;

  constructor(
    code: RtspErrorCode,
    message: string,
    options: { fatal?: boolean; cseq?: string | null; cause?: unknown } = {},
  ) {
    super(message, { cause: options.cause });
    this.code = code;
    this.fatal = options.fatal ?? false;
    this.cseq = options.cseq ?? null;
  }

  /** The status code of the answer (RFC 2326 section 7.1.1). */
  get status(): number {
    return codes[this.code].status;
  }

  get reason(): string {
    return codes[this.code].reason;
  }
}
