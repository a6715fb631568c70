/**
 * What ffmpeg says on stderr, in a form that a log can take: credentials masked, each kind of
 * message once and then counted, the last lines kept to explain an exit.
 *
 * What ffmpeg fails at is a warning, except in an attempt that may well fail (audio that can't be
 * copied): there it is held until it is known what came of the attempt.
 */
import type { Logger } from '../../storage/ports.ts';

/** Characters of one line; what is longer is cut. */
const lineMax = 400;
/** Kinds of messages told apart; all further ones count as "other messages". */
const kindsMax = 64;
const lastLinesMax = 12;

export class FfmpegLog {
  readonly #logger: Logger;
  readonly #onDamage: () => void;
  readonly #kinds = new Map<string, { readonly example: string; count: number }>();
  readonly #lastLines: string[] = [];
  #carry = '';
  /** Failures that nobody need know of if the attempt only showed what it was to show. */
  #held: string[] | null;

  /**
   * @param onDamage called when ffmpeg reports that something of the stream was lost.
   * @param hold holds failures until `release`.
   */
  constructor(logger: Logger, onDamage: () => void, hold = false) {
    this.#logger = logger;
    this.#onDamage = onDamage;
    this.#held = hold ? [] : null;
  }

  /** The last lines, oldest first. */
  get lastLines(): readonly string[] {
    return this.#lastLines;
  }

  /** Takes what came on stderr, in pieces of any size. */
  write(text: string): void {
    const lines = (this.#carry + text).split(/[\r\n]+/);
    this.#carry = (lines.pop() ?? '').slice(0, lineMax);
    for (const line of lines) this.#line(line);
  }

  /**
   * Says what was held, and what fails from now on at once.
   * @param expected it is the reason for another attempt, and no news
   */
  release(expected = false): void {
    const held = this.#held ?? [];
    this.#held = null;
    for (const line of held) {
      if (expected) this.#said(line);
      else this.#failed(line);
    }
  }

  /** Says how often what was said more than once was said. */
  end(): void {
    this.#line(this.#carry);
    this.#carry = '';
    const repeated = [...this.#kinds.values()].filter(({ count }) => count > 1);
    if (repeated.length === 0) return;
    this.#logger.info(
      { messages: repeated.map(({ example, count }) => `${count} × ${example}`).slice(0, 10) },
      'ffmpeg repeated itself.',
    );
  }

  #line(raw: string): void {
    const line = maskCredentials(raw.trim()).slice(0, lineMax);
    if (line.replace(/\[[^\]]*\]/g, '').trim() === '') return;
    this.#lastLines.push(line);
    if (this.#lastLines.length > lastLinesMax) this.#lastLines.shift();
    if (/RTP: missed|max delay reached|corrupt|error while decoding/i.test(line)) this.#onDamage();
    const kind = line.replace(/0x[0-9a-f]+/gi, '#').replace(/\d+/g, '#');
    const known = this.#kinds.get(kind);
    if (known !== undefined) {
      known.count += 1;
      return;
    }
    if (this.#kinds.size >= kindsMax) return;
    this.#kinds.set(kind, { example: line, count: 1 });
    if (!/\[(error|fatal|panic)\]/.test(line)) this.#said(line);
    else if (this.#held === null) this.#failed(line);
    else this.#held.push(line);
  }

  #failed(line: string): void {
    this.#logger.warn({ line }, 'ffmpeg failed at something.');
  }

  #said(line: string): void {
    this.#logger.debug({ line }, 'ffmpeg said something.');
  }
}

/**
 * Replaces user and password in URLs, wherever they stand in a text.
 *
 * ```ts
 * maskCredentials('rtsp://admin:secret@10.0.0.5/live'); // 'rtsp://***@10.0.0.5/live'
 * ```
 */
export function maskCredentials(text: string): string {
  return text.replace(/([a-z][a-z0-9+.-]*:\/\/)[^\s/'"]*@/gi, '$1***@');
}
