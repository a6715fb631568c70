/**
 * Messages from a broker that is not ours, over MQTT 3.1.1 or 5: a source like a camera, run again by
 * the supervisor when it ends.
 *
 * The session is kept by the broker while the gateway is away. A message is acknowledged after it is
 * in an fsynced commit, and in the order in which it came; one of QoS 2 is stored once, over restarts
 * of both. Several gateways can share a subscription: then each message goes to one of them.
 *
 * Not here: the messages on the wire (`broker-stream.ts`), what they become (`publisher.ts`).
 */
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { MqttClient, type IClientOptions, type ISubscriptionMap } from 'mqtt';
import type { Log, OnceLog } from '../../storage/model.ts';
import type { Losses } from '../../storage/losses.ts';
import type { Clock, Logger, Metrics } from '../../storage/ports.ts';
import { SourceError, type Source, type SourceContext } from '../source.ts';
import { BrokerStream } from './broker-stream.ts';
import { MqttError } from './errors.ts';
import { Intake, type IntakeStatus } from './intake.ts';
import { defaultLimits, type MqttLimits } from './limits.ts';
import type { Publish } from './packet-reader.ts';
import { covers } from './permissions.ts';
import { Publisher } from './publisher.ts';
import type { MqttRoute } from './routes.ts';
import { digestOf } from './sessions.ts';
import { Summary } from './summary.ts';

export interface ExternalBrokerOptions {
  /** `mqtt://host:1883` or `mqtts://host:8883`. */
  readonly url: string;
  readonly version: '3.1.1' | '5';
  /** Names the session that the broker keeps: no other client may have it. */
  readonly clientId: string;
  readonly username: string | null;
  readonly password: string | null;
  /** PEM of the authority that signed the broker's certificate; null: the system's authorities. */
  readonly ca: string | null;
  /** PEM of a client certificate and its key; null: none. */
  readonly certificate: { readonly cert: string; readonly key: string } | null;
  /** The name of a shared subscription (`$share/<name>/…`); null: an own one. */
  readonly sharedGroup: string | null;
  /** The highest QoS that is asked for. */
  readonly qos: 1 | 2;
  readonly keepAliveSeconds: number;
  readonly routes: readonly MqttRoute[];
  readonly limits?: Partial<MqttLimits>;
  readonly log: Pick<Log, 'append'>;
  readonly received: OnceLog;
  /** Remembers what was lost over restarts. */
  readonly losses?: Pick<Losses, 'add'>;
  /** Told of every message; must not throw. */
  readonly sees?: (topic: string, payload: Buffer) => void;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** With MQTT 5 the broker keeps the session for so long while nobody is connected. */
const SESSION_KEPT_SECONDS = 30 * 24 * 3600;
const CONNECT_TIMEOUT_MS = 15_000;

export class ExternalBroker implements Source {
  readonly name = 'mqtt';
  readonly #options: ExternalBrokerOptions;
  readonly #limits: MqttLimits;
  readonly #intake: Intake;
  readonly #summary: Summary;
  #connected = false;
  #failures = 0;

  /** @throws MqttError `invalid-options` */
  constructor(options: ExternalBrokerOptions) {
    this.#options = options;
    this.#limits = { ...defaultLimits, ...options.limits };
    this.#summary = new Summary(options.clock, options.logger);
    this.#intake = new Intake({
      log: options.log,
      received: options.received,
      losses: options.losses ?? null,
      routes: options.routes,
      limits: this.#limits,
      clock: options.clock,
      metrics: options.metrics,
      summary: this.#summary,
      ...(options.sees === undefined ? {} : { sees: options.sees }),
    });
  }

  status(): IntakeStatus & { readonly connected: boolean; readonly failedConnections: number } {
    return {
      ...this.#intake.status(),
      connected: this.#connected,
      failedConnections: this.#failures,
    };
  }

  /** Says what was counted and not said yet. */
  close(): void {
    this.#summary.close();
  }

  async run(context: SourceContext): Promise<void> {
    const session = new Session(this.#options, this.#limits, this.#intake);
    try {
      await session.run(context, () => (this.#connected = true));
    } catch (error) {
      this.#failures += 1;
      throw asSourceError(error, this.#options);
    } finally {
      this.#connected = false;
    }
  }
}

/** One connection to the broker. */
class Session {
  readonly #options: ExternalBrokerOptions;
  readonly #publisher: Publisher;
  readonly #stream: BrokerStream;
  readonly #client: MqttClient;
  readonly #ended: Promise<never>;
  #failure: unknown = null;

  constructor(options: ExternalBrokerOptions, limits: MqttLimits, intake: Intake) {
    this.#options = options;
    this.#stream = new BrokerStream({
      socket: openSocket(options),
      version: options.version === '5' ? 5 : 4,
      limits,
      publish: (publish) => this.#take(publish),
      release: (messageId) => void this.#release(messageId),
    });
    this.#publisher = new Publisher(intake, this.#stream);
    this.#stream.on('error', (error) => (this.#failure ??= error));
    this.#client = new MqttClient(() => this.#stream, {
      ...clientOptions(options),
      manualConnect: true,
    });
    this.#client.on('error', (error) => (this.#failure ??= error));
    this.#ended = new Promise((_, reject) => {
      this.#client.once('close', () => {
        const gone = new SourceError('ended', 'the broker closed the connection');
        reject((this.#failure as Error | null) ?? gone);
      });
    });
    // It is waited for only once the subscriptions are there.
    this.#ended.catch(() => undefined);
  }

  async run(context: SourceContext, connected: () => void): Promise<void> {
    const { signal } = context;
    const stop = (): void => void this.#stop();
    try {
      const greeted = new Promise<void>((resolve) => this.#client.once('connect', () => resolve()));
      this.#client.connect();
      if (signal.aborted) stop();
      signal.addEventListener('abort', stop);
      await Promise.race([greeted, this.#ended]);
      await Promise.race([this.#subscribe(), this.#ended]);
      connected();
      context.ready();
      await this.#ended;
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      signal.removeEventListener('abort', stop);
      this.#publisher.leave();
      this.#stream.destroy();
    }
  }

  /** What was taken is acknowledged, then the session is left to the broker. */
  async #stop(): Promise<void> {
    this.#stream.hold('closing');
    this.#publisher.leave();
    await this.#publisher.settled();
    this.#client.end(!this.#client.connected);
  }

  async #subscribe(): Promise<void> {
    const { routes, sharedGroup, qos } = this.#options;
    const filters = widest(routes.map(({ topic }) => topic));
    if (filters.length === 0) return;
    const names = filters.map((filter) =>
      sharedGroup === null ? filter : `$share/${sharedGroup}/${filter}`,
    );
    const wanted: ISubscriptionMap = {};
    for (const name of names) wanted[name] = { qos };
    const granted = await this.#client.subscribeAsync(wanted);
    const refused = granted.filter((grant) => grant.qos > 2).map(({ topic }) => topic);
    if (refused.length === 0) return;
    const message = `the broker refuses the subscription to ${refused.join(', ')}`;
    throw new SourceError('unauthorized', message);
  }

  #take({ topic, payload, qos, retain, messageId }: Publish): void {
    const plain = { topic, payload, clientId: '' };
    const message = retain ? { ...plain, kind: 'retained' as const } : plain;
    const source = `external/${this.#options.clientId}`;
    const once =
      qos === 2 ? { source, number: messageId, digest: digestOf({ topic, payload }) } : null;
    this.#publisher.submit(
      message,
      qos,
      (error) => {
        if (error !== null) this.#stream.destroy(error);
        else if (qos === 1) this.#stream.acknowledge(messageId);
        else if (qos === 2) this.#stream.receive(messageId);
      },
      once,
    );
  }

  /** The broker may use the number again once that is on disk. */
  async #release(messageId: number): Promise<void> {
    try {
      await this.#options.received.forget(`external/${this.#options.clientId}`, messageId);
      this.#stream.complete(messageId);
    } catch (cause) {
      const message = 'the end of a QoS 2 handshake could not be stored';
      this.#stream.destroy(new MqttError('refused-by-log', message, { cause }));
    }
  }
}

/** The filters that no other one covers: a broker may send a message once for each that matches. */
export function widest(filters: readonly string[]): readonly string[] {
  const different = [...new Set(filters)];
  return different.filter(
    (filter) => !different.some((other) => other !== filter && covers(other, filter)),
  );
}

function clientOptions(options: ExternalBrokerOptions): IClientOptions {
  const { username, password } = options;
  return {
    clientId: options.clientId,
    clean: false,
    keepalive: options.keepAliveSeconds,
    connectTimeout: CONNECT_TIMEOUT_MS,
    reconnectPeriod: 0,
    resubscribe: false,
    ...(username === null ? {} : { username }),
    ...(password === null ? {} : { password }),
    ...(options.version === '5'
      ? {
          protocolVersion: 5 as const,
          // No receive maximum: asked for more than its own limit, mosquitto 2.0 sends so many, and
          // after a restart sends those anew that were answered.
          properties: { sessionExpiryInterval: SESSION_KEPT_SECONDS },
        }
      : { protocolVersion: 4 as const }),
  };
}

function openSocket({ url, ca, certificate }: ExternalBrokerOptions): Socket {
  const { protocol, hostname, port } = new URL(url);
  const host = hostname.replace(/^\[|\]$/g, '');
  const secure = protocol === 'mqtts:';
  const address = { host, port: port === '' ? (secure ? 8883 : 1883) : Number(port) };
  if (!secure) return connectTcp({ ...address, noDelay: true });
  const socket = connectTls({
    ...address,
    ...(isIP(host) === 0 ? { servername: host } : {}),
    ...(ca === null ? {} : { ca }),
    ...(certificate ?? {}),
  });
  socket.setNoDelay(true);
  return socket;
}

/** CONNACK return codes of 3.1.1 (3.2.2.3) and reason codes of 5 (3.2.2.2). */
const loginRefused = new Set([4, 5, 0x86, 0x87, 0x8a, 0x8c]);
const versionRefused = new Set([1, 0x84]);
const identifierRefused = new Set([2, 0x85]);

function asSourceError(error: unknown, { url, version, clientId }: ExternalBrokerOptions): unknown {
  if (error instanceof SourceError || !(error instanceof Error)) return error;
  const { host } = new URL(url);
  const cause = { cause: error };
  if (error instanceof MqttError) {
    const code = error.code === 'refused-by-log' ? 'storage' : 'malformed';
    return new SourceError(code, `the broker ${host}: ${error.message}`, cause);
  }
  const { code } = error as { readonly code?: unknown };
  if (typeof code === 'number') {
    if (loginRefused.has(code)) {
      return new SourceError('unauthorized', `the broker ${host} refuses the login`, cause);
    }
    if (versionRefused.has(code)) {
      const message = `the broker ${host} does not speak MQTT ${version}: set mqtt.external.version`;
      return new SourceError('unsupported', message, cause);
    }
    if (identifierRefused.has(code)) {
      return new SourceError(
        'unauthorized',
        `the broker ${host} refuses the client ${clientId}`,
        cause,
      );
    }
  }
  return new SourceError('unreachable', `the broker ${host}: ${error.message}`, cause);
}
