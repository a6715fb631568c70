/**
 * Records into a stream of JetStream, NATS' log: one message each, published one after the other on
 * one connection without waiting, and taken once the stream has acknowledged them.
 *
 * A message carries the record's id as `Nats-Msg-Id`: JetStream drops one whose id it has seen within
 * the stream's duplicate window (two minutes where nothing else is set) and acknowledges it all the
 * same. So a record that comes again within that time, after a lost acknowledgement or a restart, is
 * there once; later it would be there twice, with the same id.
 *
 * The client's own reconnecting is off: a connection that broke is opened anew by the next attempt.
 *
 * Sources: NATS client protocol; JetStream, ADR-1 and ADR-22 (nats-io/nats-architecture-and-design).
 */
import { jetstream, jetstreamManager, type JetStreamClient, type PubAck } from '@nats-io/jetstream';
import {
  connect,
  credsAuthenticator,
  headers,
  nkeyAuthenticator,
  type NatsConnection,
  type NodeConnectionOptions,
} from '@nats-io/transport-node';
import { SinkError, type BatchItem, type BatchSink, type Outcomes } from '../../sink.ts';
import { readFileFor, readTlsFiles, unlessCalledOff, type TlsFiles } from '../connection.ts';
import { natsError, noAcknowledgement } from './errors.ts';
import { firstThatGreets } from './greeting.ts';
import { subjectOf } from './subject.ts';

export interface NatsSinkOptions extends TlsFiles {
  /** URLs, `nats://` or `tls://`: the first, in their order, that is there. */
  readonly servers: readonly string[];
  /** Where messages go; see `subject.ts`. */
  readonly subject: string;
  /** The stream that has to take them; null: whichever does. */
  readonly stream: string | null;
  readonly username: string | null;
  readonly password: string | null;
  readonly token: string | null;
  /** Of an NKey, `SU…`. */
  readonly nkeySeed: string | null;
  /** With a JWT and an NKey, as `nsc` writes it. */
  readonly credentialsFile: string | null;
  /** Until a connection stands. Default 10 s. */
  readonly connectTimeoutMs?: number;
  /** Until a message is acknowledged. Default 10 s. */
  readonly ackTimeoutMs?: number;
}

export interface NatsSink extends BatchSink {
  check(signal: AbortSignal): Promise<string>;
}

const defaults = { connectTimeoutMs: 10_000, ackTimeoutMs: 10_000 } as const;
/** Where a server does not say what it takes in a message. */
const usualPayloadBytes = 1024 ** 2;

export function natsSink(options: NatsSinkOptions): NatsSink {
  return new JetStreamSink(options);
}

class JetStreamSink implements NatsSink {
  readonly kind = 'nats';
  readonly description: string;
  // A batch is in the client's memory until it is on its way. How large a message may be is for the
  // server to say, once it is connected to; 64 MiB is the most that one can be set to.
  readonly limits = { records: 1000, bytes: 4 * 1024 ** 2, recordBytes: 64 * 1024 ** 2 };
  readonly #options: NatsSinkOptions;
  readonly #closing = new AbortController();
  /** The one in use, or on its way; null after it ended. */
  #connection: Promise<NatsConnection> | null = null;

  constructor(options: NatsSinkOptions) {
    this.#options = options;
    this.description = `nats:${options.subject}`;
  }

  async deliver(
    { items }: { readonly items: readonly BatchItem[] },
    signal: AbortSignal,
  ): Promise<Outcomes> {
    return unlessCalledOff(signal, async () => {
      const connection = await this.#connected();
      const timeout = this.#options.ackTimeoutMs ?? defaults.ackTimeoutMs;
      const stream = jetstream(connection, { timeout });
      const bytesMax = connection.info?.max_payload ?? usualPayloadBytes;
      const outcomes = await Promise.all(
        items.map((item) => this.#publish(stream, item, bytesMax)),
      );
      const [first] = outcomes;
      const nothingKnown = outcomes.every((outcome) => outcome?.code === 'unreachable');
      if (first instanceof SinkError && nothingKnown) throw first;
      return outcomes;
    });
  }

  /** Everything up to the message's place in the connection's buffer is done before it returns. */
  async #publish(
    stream: JetStreamClient,
    item: BatchItem,
    bytesMax: number,
  ): Promise<SinkError | null> {
    const { subject, stream: streamName } = this.#options;
    const fields = { 'Nats-Msg-Id': item.id, ...(streamName !== null && expected(streamName)) };
    if (item.data.length + headerBytes(fields) > bytesMax) {
      return new SinkError(
        'too-large',
        `the server takes messages of at most ${bytesMax} bytes, headers included`,
        { advice: 'Raise max_payload at the server.' },
      );
    }
    const sent = headers();
    for (const [name, value] of Object.entries(fields)) sent.set(name, value);
    try {
      const place = subjectOf(subject, item.partitionKey);
      const ack = await stream.publish(place, item.data, { headers: sent });
      return isAcknowledgement(ack) ? null : noAcknowledgement();
    } catch (error) {
      return natsError(error);
    }
  }

  async check(signal: AbortSignal): Promise<string> {
    return unlessCalledOff(signal, async () => {
      const connection = await this.#connected();
      const subject = subjectOf(this.#options.subject, 'key');
      try {
        const { streams } = await jetstreamManager(connection, { checkAPI: false });
        const name = await streams.find(subject);
        const { config } = await streams.info(name);
        const windowSeconds = config.duplicate_window / 1e9;
        return `stream ${name} takes ${subject}, and knows ids for ${windowSeconds} s`;
      } catch (error) {
        const failure = natsError(error);
        // Publishing needs no right to ask.
        if (failure.code === 'denied') return `connected to ${connection.getServer()}`;
        throw failure;
      }
    });
  }

  async #connected(): Promise<NatsConnection> {
    if (this.#connection !== null) return this.#connection;
    const connecting = this.#open();
    this.#connection = connecting;
    const forget = (): void => {
      if (this.#connection === connecting) this.#connection = null;
    };
    try {
      const connection = await connecting;
      void connection.closed().then(forget);
      return connection;
    } catch (error) {
      forget();
      throw error;
    }
  }

  async #open(): Promise<NatsConnection> {
    const { servers, username, password, token } = this.#options;
    const timeout = this.#options.connectTimeoutMs ?? defaults.connectTimeoutMs;
    const server = await firstThatGreets(servers, timeout, this.#closing.signal);
    const settings: NodeConnectionOptions = {
      servers: server,
      name: 'headgate',
      timeout,
      reconnect: false,
      ignoreClusterUpdates: true,
      noAsyncTraces: true,
      // Finds a peer that is gone without a word within a minute.
      pingInterval: 20_000,
      ...(username !== null && { user: username }),
      ...(password !== null && { pass: password }),
      ...(token !== null && { token }),
      ...(await this.#authenticator()),
      ...(await this.#tls(server)),
    };
    try {
      return await connect(settings);
    } catch (error) {
      throw natsError(error);
    }
  }

  async #authenticator(): Promise<Pick<NodeConnectionOptions, 'authenticator'>> {
    const { nkeySeed, credentialsFile } = this.#options;
    const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
    if (nkeySeed !== null) return { authenticator: nkeyAuthenticator(bytes(nkeySeed)) };
    if (credentialsFile === null) return {};
    // Read anew for each connection: somebody may have put new ones there.
    const credentials = await readFileFor(credentialsFile, 'credentials');
    return { authenticator: credsAuthenticator(bytes(credentials)) };
  }

  async #tls(server: string): Promise<Pick<NodeConnectionOptions, 'tls'>> {
    const files = await readTlsFiles(this.#options);
    const wanted = server.startsWith('tls:') || Object.keys(files).length > 0;
    // Left out, TLS is used where the server asks for it.
    return wanted ? { tls: files } : {};
  }

  async close(): Promise<void> {
    this.#closing.abort();
    const connection = await this.#connection?.catch(() => null);
    await connection?.close();
  }
}

/** The client takes any JSON that is no error for one. */
function isAcknowledgement({ stream, seq }: Partial<PubAck>): boolean {
  return typeof stream === 'string' && Number.isSafeInteger(seq);
}

function expected(stream: string): Readonly<Record<string, string>> {
  return { 'Nats-Expected-Stream': stream };
}

/** As they go over the wire, and count against the server's limit. */
function headerBytes(fields: Readonly<Record<string, string>>): number {
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.byteLength(`NATS/1.0\r\n${lines.join('')}\r\n`);
}
