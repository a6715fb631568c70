/** Cameras that push a clip for ever, some of them with a bad connection. */
import { pushClip } from '../../ingest/rtsp/media.ts';
import type { Child } from '../child.ts';
import type { Scope } from '../scope.ts';

/** A camera that is cut off, without a word, each time its connection's time is up. */
export class FlappingCamera {
  sessions = 0;
  readonly #scope: Scope;
  readonly #clip: string;
  readonly #url: string;
  readonly #sessionMs: () => number;
  #timer: NodeJS.Timeout | null = null;
  #child: Child | null = null;
  #stopped = false;

  constructor(scope: Scope, clip: string, url: string, sessionMs: () => number) {
    this.#scope = scope;
    this.#clip = clip;
    this.#url = url;
    this.#sessionMs = sessionMs;
    scope.after(() => this.stop());
    this.#connect();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#child?.stop('SIGKILL');
  }

  #connect(): void {
    this.sessions += 1;
    const child = pushClip(this.#scope, this.#clip, this.#url, { loop: true });
    this.#child = child;
    this.#timer = setTimeout(() => void child.stop('SIGKILL'), this.#sessionMs());
    // Killed, or refused because the one before has not been given up yet: either way once more.
    void child.exited.then(() => {
      if (this.#timer !== null) clearTimeout(this.#timer);
      if (!this.#stopped) this.#timer = setTimeout(() => this.#connect(), 200);
    });
  }
}
