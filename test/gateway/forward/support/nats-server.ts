import { jetstreamManager, type JetStreamManager, type StreamConfig } from '@nats-io/jetstream';
import { connect, type NatsConnection, type NodeConnectionOptions } from '@nats-io/transport-node';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startChild, type Child } from '../../../support/child.ts';
import { freePort } from '../../../support/gateway.ts';
import type { Scope } from '../../../support/scope.ts';
import { temporaryFolder } from '../../../support/temporary-folder.ts';

export interface StoredMessage {
  readonly subject: string;
  readonly id: string;
  readonly data: Buffer;
}

/** A real nats-server, which keeps its port and its streams over restarts. */
export class NatsServer {
  readonly port: number;
  readonly url: string;
  readonly #context: Scope;
  readonly #path: string;
  #child: Child | null = null;

  private constructor(context: Scope, port: number, path: string) {
    this.port = port;
    this.url = `nats://127.0.0.1:${port}`;
    this.#context = context;
    this.#path = path;
  }

  /** @param settings lines of its configuration; JetStream is on where they do not say so */
  static async start(context: Scope, settings: readonly string[] = []): Promise<NatsServer> {
    const folder = await temporaryFolder(context);
    const port = await freePort();
    const stream = settings.some((line) => line.startsWith('jetstream'))
      ? []
      : [`jetstream: { store_dir: "${folder}/streams" }`];
    const lines = ['host: 127.0.0.1', `port: ${port}`, ...stream, ...settings];
    const path = join(folder, 'nats.conf');
    await writeFile(path, `${lines.join('\n')}\n`);
    const server = new NatsServer(context, port, path);
    await server.start();
    return server;
  }

  async start(): Promise<void> {
    this.#child = startChild(this.#context, 'nats-server', ['-c', this.#path]);
    await this.#child.line(/Server is ready/);
  }

  async stop(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    await this.#child?.stop(signal);
  }

  async connect(options: NodeConnectionOptions = {}): Promise<NatsConnection> {
    const connection = await connect({ servers: [this.url], ...options });
    this.#context.after(() => connection.close());
    return connection;
  }

  async addStream(config: Partial<StreamConfig> & { readonly name: string }): Promise<void> {
    const manager = await this.#manager();
    await manager.streams.add({ num_replicas: 1, ...config });
  }

  /** Everything that a stream holds, in its order. */
  async messages(stream: string): Promise<StoredMessage[]> {
    const manager = await this.#manager();
    const { state } = await manager.streams.info(stream);
    const stored: StoredMessage[] = [];
    if (state.messages === 0) return stored;
    for (let seq = state.first_seq; seq <= state.last_seq; seq += 1) {
      const message = await manager.streams.getMessage(stream, { seq });
      if (message === null) continue;
      const id = message.header.get('Nats-Msg-Id');
      stored.push({ subject: message.subject, id, data: Buffer.from(message.data) });
    }
    return stored;
  }

  async #manager(): Promise<JetStreamManager> {
    return jetstreamManager(await this.connect());
  }
}
