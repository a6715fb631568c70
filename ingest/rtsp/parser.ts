/**
 * Reads what an RTSP peer sends (RFC 2326 sections 4, 6, 7 and 10.12) from bytes in any pieces:
 * requests, answers and interleaved frames.
 *
 * Invariants: never holds more than one unfinished message, at most `headBytesMax + bodyBytesMax`
 * or one frame (65 539 bytes); what was delivered does not depend on how the bytes were cut;
 * after an error the parser is finished, since nobody knows where the next message starts.
 * What a message means is not decided here (session.ts, client/).
 */
import { RtspError } from './errors.ts';

export interface RtspRequest {
  readonly method: string;
  readonly url: string;
  /** `1.0` in everything that is served. */
  readonly version: string;
  /** By name in lower case. A header sent more than once is joined by commas. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Buffer;
}

export interface RtspResponse {
  readonly status: number;
  readonly reason: string;
  /** By name in lower case. A header sent more than once is joined by commas. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Buffer;
}

export type RtspInput =
  | { readonly kind: 'request'; readonly request: RtspRequest }
  | { readonly kind: 'response'; readonly response: RtspResponse }
  | {
      readonly kind: 'frame';
      readonly channel: number;
      /** The whole frame with its four header bytes: `$`, channel, length (16 bits). */
      readonly frame: Buffer;
    };

export interface ParserLimits {
  /** Request line and headers together. */
  readonly headBytesMax: number;
  readonly headersMax: number;
  readonly bodyBytesMax: number;
}

export const defaultParserLimits: ParserLimits = {
  headBytesMax: 8192,
  headersMax: 64,
  bodyBytesMax: 32_768,
};

const dollar = 0x24;
const cr = 0x0d;
const lf = 0x0a;

interface Head {
  readonly line: string;
  readonly headers: ReadonlyMap<string, string>;
  readonly bodyBytes: number;
}

export class RtspParser {
  readonly #limits: ParserLimits;
  /** What has come and is not used yet; joined only once there is enough of it. */
  #pieces: Buffer[] = [];
  #size = 0;
  #needed = 1;
  /** Set while the body of a message is awaited. */
  #head: Head | null = null;
  /** How much of an unfinished head has been searched for its end, and where its line began. */
  #searched = 0;
  #lineStart = 0;

  constructor(limits: ParserLimits = defaultParserLimits) {
    this.#limits = limits;
  }

  /**
   * Takes the next bytes and yields what they complete, in order.
   *
   * @throws RtspError, always fatal, on what can't be RTSP or is over a limit.
   */
  *push(chunk: Buffer): Generator<RtspInput, void> {
    this.#pieces.push(chunk);
    this.#size += chunk.length;
    while (this.#size >= this.#needed) {
      const bytes = this.#joined();
      const input = this.#head === null ? this.#start(bytes) : this.#body(bytes, this.#head);
      if (input !== null) yield input;
    }
  }

  #joined(): Buffer {
    const [first] = this.#pieces;
    const bytes =
      first !== undefined && this.#pieces.length === 1 ? first : Buffer.concat(this.#pieces);
    this.#pieces = [bytes];
    return bytes;
  }

  #consume(bytes: Buffer, count: number): void {
    this.#size -= count;
    this.#pieces = this.#size === 0 ? [] : [bytes.subarray(count)];
    this.#needed = 1;
    this.#searched = 0;
    this.#lineStart = 0;
  }

  #start(bytes: Buffer): RtspInput | null {
    const first = bytes[0];
    if (first === dollar) return this.#frame(bytes);
    if (this.#searched === 0 && (first === cr || first === lf)) {
      // Empty lines between messages are allowed (RFC 2326 section 4 by way of HTTP).
      this.#consume(bytes, 1);
      return null;
    }
    const headBytes = this.#headEnd(bytes);
    if (headBytes === null) {
      this.#needed = this.#size + 1;
      return null;
    }
    const head = this.#readHead(bytes.toString('latin1', 0, headBytes));
    this.#consume(bytes, headBytes);
    this.#head = head;
    this.#needed = head.bodyBytes;
    return null;
  }

  #frame(bytes: Buffer): RtspInput | null {
    if (bytes.length < 4) {
      this.#needed = 4;
      return null;
    }
    const length = 4 + bytes.readUInt16BE(2);
    if (bytes.length < length) {
      this.#needed = length;
      return null;
    }
    this.#consume(bytes, length);
    return { kind: 'frame', channel: bytes.readUInt8(1), frame: bytes.subarray(0, length) };
  }

  /** The length of the head with its closing empty line, or null while it is unfinished. */
  #headEnd(bytes: Buffer): number | null {
    const { headBytesMax } = this.#limits;
    if (this.#searched === 0 && !isLetter(bytes[0])) {
      throw malformed('neither a request nor an interleaved frame');
    }
    for (;;) {
      const end = bytes.indexOf(lf, this.#searched);
      const reached = end === -1 ? bytes.length : end + 1;
      if (reached > headBytesMax) {
        throw this.#lineStart === 0
          ? new RtspError('uri-too-long', 'the request line is too long', { fatal: true })
          : malformed(`more than ${headBytesMax} bytes of headers`);
      }
      this.#searched = reached;
      if (end === -1) return null;
      const length = end - this.#lineStart;
      const empty = length === 0 || (length === 1 && bytes[this.#lineStart] === cr);
      this.#lineStart = reached;
      if (empty) return reached;
    }
  }

  #readHead(text: string): Head {
    const lines = text.split('\n').map((line) => (line.endsWith('\r') ? line.slice(0, -1) : line));
    const [line = '', ...rest] = lines;
    const headers = new Map<string, string>();
    let count = 0;
    for (const header of rest) {
      if (header === '') continue;
      count += 1;
      if (count > this.#limits.headersMax) throw malformed('too many headers');
      const match = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*:([^\0\r]*)$/.exec(header);
      if (match === null) throw malformed('a header line without a name', headers.get('cseq'));
      const [, name = '', value = ''] = match;
      const key = name.toLowerCase();
      const before = headers.get(key);
      headers.set(key, before === undefined ? value.trim() : `${before}, ${value.trim()}`);
    }
    return { line, headers, bodyBytes: this.#bodyBytes(headers) };
  }

  #bodyBytes(headers: ReadonlyMap<string, string>): number {
    const value = headers.get('content-length');
    if (value === undefined) return 0;
    const cseq = headers.get('cseq');
    if (!/^\d{1,10}$/.test(value)) throw malformed('Content-Length is not a number', cseq);
    const bytes = Number(value);
    if (bytes > this.#limits.bodyBytesMax) {
      const message = `a body of more than ${this.#limits.bodyBytesMax} bytes`;
      throw new RtspError('body-too-large', message, { fatal: true, cseq: cseq ?? null });
    }
    return bytes;
  }

  #body(bytes: Buffer, head: Head): RtspInput {
    const body = Buffer.from(bytes.subarray(0, head.bodyBytes));
    this.#consume(bytes, head.bodyBytes);
    this.#head = null;
    const answer = /^RTSP\/\d\.\d (\d{3})(?: (.*))?$/.exec(head.line);
    if (answer !== null) {
      const [, status = '', reason = ''] = answer;
      return {
        kind: 'response',
        response: { status: Number(status), reason, headers: head.headers, body },
      };
    }
    const match = /^([A-Z_]{1,32}) (\S+) RTSP\/(\d\.\d)$/.exec(head.line);
    if (match === null)
      throw malformed('neither a request nor an answer of RTSP', head.headers.get('cseq'));
    const [, method = '', url = '', version = ''] = match;
    return { kind: 'request', request: { method, url, version, headers: head.headers, body } };
  }
}

function isLetter(byte: number | undefined): boolean {
  return byte !== undefined && ((byte >= 0x41 && byte <= 0x5a) || byte === 0x5f);
}

function malformed(message: string, cseq?: string): RtspError {
  return new RtspError('bad-request', message, { fatal: true, cseq: cseq ?? null });
}
