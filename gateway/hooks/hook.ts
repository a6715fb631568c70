/**
 * One hook: takes fragments of a camera as they are recorded, hands each or an image of it to a
 * target, and keeps what comes back.
 *
 * - The camera never waits: its fragments are noted down, and read once their turn comes.
 * - `concurrency` are under way at once, each no longer than `timeoutSeconds` and with no more than
 *   `maxBytes`; 16 wait, and the oldest gives way (`skipped`).
 * - What failed is counted and not tried again: the next fragment is as good. The first failure in
 *   a row is logged, and the end of the row.
 * - An answer is a tag of the fragment, under the hook's name, and a record of the stream. A
 *   fragment that is gone by then has its record all the same.
 */
import { StorageError } from '../../storage/errors.ts';
import type { Fragment, Log, VideoStore } from '../../storage/model.ts';
import type { Clock, Counter, Histogram, Logger, Metrics } from '../../storage/ports.ts';
import type { Config } from '../config/schema.ts';
import type { Images } from '../media/images.ts';
import { readAnswer, tagOf, type Answer } from './answer.ts';
import { HookError, type HookErrorCode } from './hook-error.ts';
import type { Ask, HookInput } from './target.ts';

export interface HookOptions {
  readonly name: string;
  readonly config: Config['hooks'][string];
  readonly ask: Ask;
  readonly video: Pick<VideoStore, 'watch' | 'init' | 'readFragment' | 'tagFragment'>;
  readonly images: Pick<Images, 'imageOf'>;
  readonly log: Pick<Log, 'append'>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

const waitingMax = 16;
/** What was not used of the rate is used later, up to here: fragments do not come to the second. */
const creditMax = 2;

export class Hook {
  readonly #options: HookOptions;
  readonly #logger: Logger;
  readonly #calls: Counter;
  readonly #seconds: Histogram;
  readonly #waiting: Fragment[] = [];
  /** With what ends them. */
  readonly #underWay = new Map<Promise<void>, AbortController>();
  readonly #stopWatching: () => void;
  #creditMs: number;
  #creditedMs: number;
  #failuresInARow = 0;
  #trouble: string | null = null;
  #isClosed = false;

  /** @throws StorageError `not-found`: there is no such camera */
  constructor(options: HookOptions) {
    const { name, config, video, clock, logger, metrics } = options;
    this.#options = options;
    this.#logger = logger.child({ hook: name, camera: config.camera });
    this.#calls = metrics.counter(
      'headgate_hook_calls_total',
      'What came of fragments and images for hooks: ok, skipped, or why it failed.',
    );
    this.#seconds = metrics.histogram(
      'headgate_hook_seconds',
      'How long hooks took over what they answered, the making of images included.',
      [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300],
    );
    this.#creditMs = this.#everyMs;
    this.#creditedMs = clock.monotonicMs();
    this.#stopWatching = video.watch(config.camera, (event) => {
      if (event.type === 'fragment') this.#see(event.fragment);
    });
  }

  /** Why nothing came of the last one; null while it works, and before the first. */
  get trouble(): string | null {
    return this.#trouble;
  }

  /** Ends what is under way. Twice is harmless. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#stopWatching();
    this.#waiting.length = 0;
    for (const end of this.#underWay.values()) end.abort(new Error('the hook is closed'));
    await Promise.all(this.#underWay.keys());
  }

  #see(fragment: Fragment): void {
    if (!this.#isDue()) return;
    if (this.#waiting.length >= waitingMax) {
      this.#waiting.shift();
      this.#count('skipped');
    }
    this.#waiting.push(fragment);
    this.#beginNext();
  }

  #isDue(): boolean {
    const nowMs = this.#options.clock.monotonicMs();
    const everyMs = this.#everyMs;
    this.#creditMs = Math.min(creditMax * everyMs, this.#creditMs + nowMs - this.#creditedMs);
    this.#creditedMs = nowMs;
    if (this.#creditMs < everyMs) return false;
    this.#creditMs -= everyMs;
    return true;
  }

  get #everyMs(): number {
    const { perMinute } = this.#options.config;
    return perMinute === null ? 0 : 60_000 / perMinute;
  }

  #beginNext(): void {
    while (this.#underWay.size < this.#options.config.concurrency) {
      const fragment = this.#waiting.shift();
      if (fragment === undefined) return;
      const end = new AbortController();
      const call = this.#take(fragment, end).finally(() => {
        this.#underWay.delete(call);
        this.#beginNext();
      });
      this.#underWay.set(call, end);
    }
  }

  /** Never rejects. */
  async #take(fragment: Fragment, end: AbortController): Promise<void> {
    const { config, clock, ask } = this.#options;
    const { timeoutSeconds } = config;
    const beganMs = clock.monotonicMs();
    const cancelTimer = clock.setTimer(timeoutSeconds * 1_000, () => {
      end.abort(new HookError('timeout', `it took longer than ${timeoutSeconds} s`));
    });
    const { signal } = end;
    try {
      const input = await this.#inputOf(fragment, signal);
      signal.throwIfAborted();
      const answer = readAnswer(await ask(input, signal));
      if (answer !== null) await this.#keep(input, answer);
      this.#succeeded((clock.monotonicMs() - beganMs) / 1_000);
    } catch (error) {
      if (!this.#isClosed) this.#failed(fragment, error);
    } finally {
      cancelTimer();
    }
  }

  async #inputOf(fragment: Fragment, signal: AbortSignal): Promise<HookInput> {
    const { name: hook, config } = this.#options;
    const { camera, number } = fragment;
    try {
      const made =
        config.send === 'image'
          ? await this.#imageOf(fragment, signal)
          : await this.#movieOf(fragment);
      this.#checkSize(made.bytes.length);
      return { hook, camera, fragment: number, ...made };
    } catch (cause) {
      signal.throwIfAborted();
      if (cause instanceof HookError) throw cause;
      const message = cause instanceof Error ? cause.message : String(cause);
      throw new HookError('unreadable', message, { cause });
    }
  }

  async #imageOf(
    fragment: Fragment,
    signal: AbortSignal,
  ): Promise<Pick<HookInput, 'atUs' | 'contentType' | 'bytes'>> {
    const { imageWidth: width } = this.#options.config;
    const { bytes, atUs } = await this.#options.images.imageOf(fragment, fragment.startUs, {
      ...{ format: 'jpeg', priority: 'background', signal },
      ...(width === null ? {} : { width }),
    });
    return { atUs, contentType: 'image/jpeg', bytes };
  }

  async #movieOf(fragment: Fragment): Promise<Pick<HookInput, 'atUs' | 'contentType' | 'bytes'>> {
    const { video } = this.#options;
    const init = await video.init(fragment.initId);
    // Before it takes any memory.
    this.#checkSize(init.bytes.length + fragment.plainBytes);
    const bytes = Buffer.concat([init.bytes, await video.readFragment(fragment)]);
    return { atUs: fragment.startUs, contentType: 'video/mp4', bytes };
  }

  #checkSize(bytes: number): void {
    const { maxBytes, send } = this.#options.config;
    if (bytes <= maxBytes) return;
    throw new HookError('too-large', `the ${send} has ${bytes} bytes, more than maxBytes`);
  }

  async #keep(input: HookInput, answer: Answer): Promise<void> {
    const kept = await Promise.allSettled([this.#tag(input, answer), this.#append(input, answer)]);
    const lost = kept.find((one) => one.status === 'rejected');
    if (lost === undefined) return;
    const cause: unknown = lost.reason;
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new HookError('not-kept', `the answer was not stored: ${message}`, { cause });
  }

  async #tag({ hook, fragment }: HookInput, { labels }: Answer): Promise<void> {
    const tag = tagOf(labels);
    if (tag === null) return;
    try {
      await this.#options.video.tagFragment(fragment, { [hook]: tag });
    } catch (error) {
      // Deleted meanwhile.
      if (!(error instanceof StorageError && error.code === 'not-found')) throw error;
    }
  }

  async #append(input: HookInput, { text }: Answer): Promise<void> {
    const { config, log } = this.#options;
    if (config.stream === null) return;
    const { hook, camera, fragment, atUs } = input;
    const about = JSON.stringify({ type: 'hook', hook, camera, fragment, atUs });
    const data = Buffer.from(`${about.slice(0, -1)},"answer":${text}}`);
    await log.append(config.stream, [{ partitionKey: camera, data }]);
  }

  #succeeded(seconds: number): void {
    this.#count('ok');
    this.#seconds.observe(seconds, { hook: this.#options.name });
    this.#trouble = null;
    if (this.#failuresInARow === 0) return;
    this.#logger.info({ failed: this.#failuresInARow }, 'A hook works again.');
    this.#failuresInARow = 0;
  }

  #failed({ number }: Fragment, error: unknown): void {
    const code = error instanceof HookError ? error.code : 'failed';
    this.#count(code);
    this.#trouble = error instanceof Error ? error.message : String(error);
    this.#failuresInARow += 1;
    const fields = { error, code, fragment: number };
    if (this.#failuresInARow === 1) this.#logger.warn(fields, 'A hook failed.');
    else this.#logger.debug(fields, 'A hook failed again.');
  }

  #count(result: 'ok' | 'skipped' | HookErrorCode): void {
    this.#calls.add(1, { hook: this.#options.name, result });
  }
}
