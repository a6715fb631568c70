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
const frameHeaderBytes = 4;
const nothing = Buffer.alloc(0);

interface Head {
  readonly line: string;
  readonly headers: ReadonlyMap<string, string>;
  readonly bodyBytes: number;
}

export class RtspParser {
  readonly #limits: ParserLimits;
  /** What has come of an unfinished message, or of the line of a head. */
  #kept: Buffer = nothing;
  /** Where the line of an unfinished head began. */
  #lineStart = 0;
  /** Set while the body of a message is awaited. */
  #head: Head | null = null;

  constructor(limits: ParserLimits = defaultParserLimits) {
    this.#limits = limits;
  }

  /**
   * Takes the next bytes and yields what they complete, in order. A frame lies in `chunk` where it
   * can, until the next one is asked for; of what is unfinished a copy is kept.
   *
   * @throws RtspError, always fatal, on what can't be RTSP or is over a limit.
   */
  *push(chunk: Buffer): Generator<RtspInput, void> {
    for (let at = 0; at < chunk.length;) {
      const isBetween = this.#kept.length === 0 && this.#head === null;
      const frame = isBetween ? wholeFrame(chunk, at) : null;
      if (frame !== null) {
        at += frame.length;
        yield inputOf(frame);
        continue;
      }
      const end = Math.min(this.#endIn(chunk, at), chunk.length);
      this.#kept = Buffer.concat([this.#kept, chunk.subarray(at, end)]);
      at = end;
      const input = this.#completed();
      if (input !== null) yield input;
    }
  }

  /** Up to where a chunk belongs to what is unfinished, as far as that is known. */
  #endIn(chunk: Buffer, at: number): number {
    const { length } = this.#kept;
    if (this.#head !== null) return at + this.#head.bodyBytes - length;
    const first = this.#kept[0] ?? chunk[at];
    if (first === dollar) return at + frameBytes(this.#kept) - length;
    if (length === 0 && (first === cr || first === lf)) return at + 1;
    const end = chunk.indexOf(lf, at);
    return end === -1 ? chunk.length : end + 1;
  }

  #completed(): RtspInput | null {
    const kept = this.#kept;
    if (this.#head !== null) {
      return kept.length < this.#head.bodyBytes ? null : this.#message(this.#head, kept);
    }
    if (kept[0] !== dollar) return this.#line(kept);
    if (kept.length < frameBytes(kept)) return null;
    this.#kept = nothing;
    return inputOf(kept);
  }

  /** A line of a head, or what there is of it. */
  #line(kept: Buffer): RtspInput | null {
    const { headBytesMax } = this.#limits;
    if (kept[0] === cr || kept[0] === lf) {
      // Empty lines between messages are allowed (RFC 2326 section 4 by way of HTTP).
      this.#kept = nothing;
      return null;
    }
    if (!isLetter(kept[0])) throw malformed('neither a request nor an interleaved frame');
    if (kept.length > headBytesMax) {
      throw this.#lineStart === 0
        ? new RtspError('uri-too-long', 'the request line is too long', { fatal: true })
        : malformed(`more than ${headBytesMax} bytes of headers`);
    }
    if (kept.at(-1) !== lf) return null;
    const length = kept.length - 1 - this.#lineStart;
    const isLast = length === 0 || (length === 1 && kept[this.#lineStart] === cr);
    this.#lineStart = kept.length;
    if (!isLast) return null;
    const head = this.#readHead(kept.toString('latin1'));
    this.#kept = nothing;
    this.#lineStart = 0;
    if (head.bodyBytes === 0) return this.#message(head, nothing);
    this.#head = head;
    return null;
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

  #message(head: Head, body: Buffer): RtspInput {
    this.#kept = nothing;
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

/** The frame that begins at `at`; null: none does, or it is not all there. */
function wholeFrame(chunk: Buffer, at: number): Buffer | null {
  if (chunk[at] !== dollar || chunk.length < at + frameHeaderBytes) return null;
  const end = at + frameHeaderBytes + chunk.readUInt16BE(at + 2);
  return end > chunk.length ? null : chunk.subarray(at, end);
}

/** Of the frame that begins so; of its header alone while that is unfinished. */
function frameBytes(start: Buffer): number {
  if (start.length < frameHeaderBytes) return frameHeaderBytes;
  return frameHeaderBytes + start.readUInt16BE(2);
}

function inputOf(frame: Buffer): RtspInput {
  return { kind: 'frame', channel: frame.readUInt8(1), frame };
}

function isLetter(byte: number | undefined): boolean {
  return byte !== undefined && ((byte >= 0x41 && byte <= 0x5a) || byte === 0x5f);
}

function malformed(message: string, cseq?: string): RtspError {
  return new RtspError('bad-request', message, { fatal: true, cseq: cseq ?? null });
}
