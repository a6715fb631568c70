import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startChild, type Child } from './child.ts';
import { freePort } from './gateway.ts';
import type { Scope } from './scope.ts';
import { temporaryFolder } from './temporary-folder.ts';

/** A real mosquitto on a port of its own, which it keeps, with its sessions on disk, over restarts. */
export class Mosquitto {
  readonly port: number;
  readonly url: string;
  readonly #context: Scope;
  readonly #path: string;
  #child: Child | null = null;

  private constructor(context: Scope, port: number, path: string) {
    this.port = port;
    this.url = `mqtt://127.0.0.1:${port}`;
    this.#context = context;
    this.#path = path;
  }

  /** @param settings lines of its configuration; nobody needs a password where they do not say so */
  static async start(context: Scope, settings: readonly string[] = []): Promise<Mosquitto> {
    const folder = await temporaryFolder(context);
    const port = await freePort();
    const own = [
      `listener ${port} 127.0.0.1`,
      ...(settings.some((line) => line.startsWith('allow_anonymous'))
        ? []
        : ['allow_anonymous true']),
      'persistence true',
      `persistence_location ${folder}/`,
      'max_queued_messages 0',
      // As root it would become a user that may not write there.
      'user root',
      'log_dest stderr',
      'log_type all',
    ];
    const path = join(folder, 'mosquitto.conf');
    await writeFile(path, `${[...own, ...settings].join('\n')}\n`);
    const broker = new Mosquitto(context, port, path);
    await broker.start();
    return broker;
  }

  async start(): Promise<void> {
    this.#child = startChild(this.#context, 'mosquitto', ['-c', this.#path]);
    await this.#child.line(/mosquitto version .* running/);
  }

  /** With SIGTERM it writes its sessions down; with SIGKILL it has what it wrote before. */
  async stop(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    await this.#child?.stop(signal);
  }

  /** The next line of its log, past or to come, that matches. */
  async said(pattern: RegExp): Promise<void> {
    await this.#child?.line(pattern);
  }
}
