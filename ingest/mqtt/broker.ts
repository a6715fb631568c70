/**
 * The embedded MQTT broker: aedes between our sockets (`connection.ts`) and the log (`publisher.ts`).
 *
 * MQTT 3.1 and 3.1.1 over TCP. A PUBLISH of QoS 1 is acknowledged (and one of QoS 2 received) only
 * after everything it became is in an fsynced commit: aedes' hooks are held until then. Subscribers
 * get what is published once it is stored, so devices can also talk among themselves. The client
 * identifier, topic, payload and all that is remembered have limits (`limits.ts`).
 */
import { createServer, isIP, type AddressInfo, type Server } from 'node:net';
import { Aedes, type Client, type PublishPacket } from 'aedes';
import type { Log, OnceKey, OnceLog } from '../../storage/model.ts';
import type { Clock, Counter, Gauge, Logger, Metrics } from '../../storage/ports.ts';
import { Audience } from './audience.ts';
import { MqttConnection } from './connection.ts';
import type { MqttUser } from './credentials.ts';
import { MqttError } from './errors.ts';
import { Intake, type IntakeStatus } from './intake.ts';
import { defaultLimits, type MqttLimits } from './limits.ts';
import type { Publish } from './packet-reader.ts';
import { Publisher } from './publisher.ts';
import type { MqttRoute } from './routes.ts';
import { ClientRules, type Refusal } from './rules.ts';
import { SessionStore, type StoredPacket } from './sessions.ts';
import { Summary } from './summary.ts';
import { unlimited, type MqttRates } from './throttle.ts';
import { TOPIC_LEVELS_MAX } from './topics.ts';

export interface MqttBrokerOptions {
  readonly host: string;
  /** 0: any free port; see `address`. */
  readonly port: number;
  readonly users: readonly MqttUser[];
  /** Lets clients in that give no user name. Only on a loopback host. */
  readonly allowAnonymous: boolean;
  readonly routes: readonly MqttRoute[];
  /** Overrides of `defaultLimits`. */
  readonly limits?: Partial<MqttLimits>;
  /** How much one connection may send; left out, as much as the log takes. */
  readonly rates?: MqttRates;
  readonly log: Pick<Log, 'append'>;
  /** Remembers messages of QoS 2 over restarts; left out, they are remembered in memory alone. */
  readonly received?: OnceLog;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

export interface MqttStatus extends IntakeStatus {
  /** Clients let in now. */
  readonly connections: number;
  /** Connections that have not sent their CONNECT yet. */
  readonly pendingConnections: number;
  /** Connections turned away or broken off since the start. */
  readonly failedConnections: number;
}

type PublishCallback = (error?: Error | null) => void;

/** A connection whose CONNECT has come. */
interface Device {
  readonly publisher: Publisher;
  readonly subscriptions: Set<string>;
  /** Empty until the client is let in. */
  clientId: string;
}

const DRAIN_MS = 5000;

/**
 * @example
 *   const broker = new MqttBroker({ host: '127.0.0.1', port: 1883, users, routes, … });
 *   await broker.listen();
 *   …
 *   await broker.close();
 */
export class MqttBroker {
  readonly #options: MqttBrokerOptions;
  readonly #limits: MqttLimits;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #summary: Summary;
  readonly #rules: ClientRules;
  readonly #intake: Intake;
  /** For wills: their connections are gone. */
  readonly #departed: Publisher;
  readonly #sessions: SessionStore<Client>;
  readonly #audience = new Audience();
  readonly #aedes: Aedes;
  readonly #server: Server;
  readonly #devices = new Map<MqttConnection, Device>();
  /** Connections without a CONNECT, oldest first. */
  readonly #pending = new Set<MqttConnection>();
  readonly #clientIds = new Set<string>();
  /** Why clients are turned away, found before their passwords are looked at. */
  readonly #refusals = new WeakMap<Client, Refusal>();
  readonly #connectionGauge: Gauge;
  readonly #failureCounter: Counter;
  readonly #undeliveredCounter: Counter;
  #failures = 0;
  #closing: Promise<void> | null = null;

  /** @throws MqttError `invalid-options` */
  constructor(options: MqttBrokerOptions) {
    const { clock, metrics, log } = options;
    if (options.allowAnonymous && !isLoopback(options.host)) {
      throw new MqttError(
        'invalid-options',
        `anonymous MQTT clients are let in on a loopback address only, and ${options.host} is none`,
      );
    }
    if (options.users.length === 0 && !options.allowAnonymous) {
      throw new MqttError('invalid-options', 'nobody could log in to MQTT: there are no users');
    }
    this.#options = options;
    this.#clock = clock;
    this.#logger = options.logger;
    this.#limits = withRoomForPayloads({ ...defaultLimits, ...options.limits });
    this.#summary = new Summary(clock, this.#logger);
    this.#rules = new ClientRules(options.users, options.allowAnonymous, this.#limits);
    this.#intake = new Intake({
      log,
      received: options.received ?? null,
      routes: options.routes,
      limits: this.#limits,
      clock,
      metrics,
      summary: this.#summary,
    });
    this.#departed = new Publisher(this.#intake, { hold: ignore, release: ignore });
    this.#connectionGauge = metrics.gauge('headgate_mqtt_connections', 'MQTT clients let in now');
    this.#failureCounter = metrics.counter(
      'headgate_mqtt_failed_connections_total',
      'MQTT connections turned away or broken off, by reason',
    );
    this.#undeliveredCounter = metrics.counter(
      'headgate_mqtt_undelivered_total',
      'Messages not retained, not queued or not sent to a subscriber, by reason',
    );
    this.#sessions = this.#createSessions();
    this.#aedes = this.#createAedes();
    this.#server = createServer((socket) => this.#accept(socket));
  }

  /** Where it listens; null before and after. */
  get address(): { readonly host: string; readonly port: number } | null {
    const address = this.#server.address() as AddressInfo | null;
    return address === null ? null : { host: address.address, port: address.port };
  }

  /** @throws MqttError `listen-failed` */
  async listen(): Promise<void> {
    await this.#aedes.listen();
    const { host, port } = this.#options;
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', (cause) => {
        const message = `can't listen for MQTT on ${host}:${port}: ${cause.message}`;
        reject(new MqttError('listen-failed', message, { cause }));
      });
      this.#server.listen({ host, port }, resolve);
    }).catch(async (error: unknown) => {
      await this.close();
      throw error;
    });
    this.#server.removeAllListeners('error');
    this.#server.on('error', (error) => {
      this.#summary.warn('accept', { error: error.message }, 'an MQTT connection was not accepted');
    });
    this.#logger.info({ ...this.address }, 'listening for MQTT');
  }

  /**
   * Takes no more, finishes what is on its way into the log (for five seconds at most) with its
   * acknowledgements, and closes. Clients that were connected leave no will.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  status(): MqttStatus {
    return {
      ...this.#intake.status(),
      connections: this.#devices.size,
      pendingConnections: this.#pending.size,
      failedConnections: this.#failures,
    };
  }

  async #close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const connection of this.#devices.keys()) connection.hold('closing');
    await this.#drained();
    await new Promise<void>((resolve) => {
      if (this.#aedes.closed) resolve();
      else this.#aedes.close(resolve);
    });
    const cancel = this.#clock.setTimer(1000, () => {
      for (const connection of this.#connections()) connection.abort();
    });
    for (const connection of this.#connections()) connection.destroy();
    await closed;
    cancel();
    this.#summary.close();
  }

  #connections(): readonly MqttConnection[] {
    return [...this.#pending, ...this.#devices.keys()];
  }

  async #drained(): Promise<void> {
    await new Promise<void>((resolve) => {
      const cancel = this.#clock.setTimer(DRAIN_MS, resolve);
      void this.#intake.drain().then(() => {
        cancel();
        // One more turn, in which the last acknowledgements are written.
        setImmediate(resolve);
      });
    });
  }

  // -------------------------------------------------------------- connections

  #accept(socket: ConstructorParameters<typeof MqttConnection>[0]): void {
    const settings = {
      limits: this.#limits,
      rates: this.#options.rates ?? unlimited,
      clock: this.#clock,
    };
    const connection = new MqttConnection(socket, settings, {
      greeted: (greeted) => this.#greeted(greeted),
      publish: (from, publish) => this.#takePlain(from, publish),
      failed: (failed, error) =>
        this.#noteFailure(failed, this.#devices.get(failed)?.clientId ?? null, error),
      closed: (closed) => this.#closed(closed),
    });
    this.#pending.add(connection);
    if (this.#pending.size <= this.#limits.pendingConnections) return;
    const [oldest] = this.#pending;
    oldest?.fail(new MqttError('too-many-connections', 'too many connections without a CONNECT'));
  }

  #greeted(connection: MqttConnection): boolean {
    if (this.#closing !== null || this.#devices.size >= this.#limits.connections) return false;
    this.#pending.delete(connection);
    this.#devices.set(connection, {
      publisher: new Publisher(this.#intake, connection),
      subscriptions: new Set(),
      clientId: '',
    });
    this.#connectionGauge.set(this.#devices.size);
    this.#aedes.handle(connection);
    return true;
  }

  #closed(connection: MqttConnection): void {
    this.#pending.delete(connection);
    const device = this.#devices.get(connection);
    if (device !== undefined) {
      device.publisher.leave();
      for (const filter of device.subscriptions) this.#audience.remove(filter);
      device.subscriptions.clear();
    }
    this.#devices.delete(connection);
    this.#connectionGauge.set(this.#devices.size);
  }

  #noteFailure(connection: MqttConnection | null, clientId: string | null, error: MqttError): void {
    this.#failures += 1;
    this.#failureCounter.add(1, { reason: error.code });
    const client = clientId === null || clientId === '' ? {} : { clientId };
    this.#summary.warn(
      `connection: ${error.code}`,
      { remote: connection?.remote, ...client, reason: error.code, error: error.message },
      `an MQTT connection was refused or dropped: ${error.hint}`,
    );
  }

  // -------------------------------------------------------------- aedes and its hooks

  #createSessions(): SessionStore<Client> {
    return new SessionStore<Client>({
      limits: this.#limits,
      metrics: this.#options.metrics,
      store: (client, packet, digest) => this.#storeQos2(client, packet, digest),
      received: this.#options.received ?? null,
      disconnect: (client, reason) => {
        const message = 'the end of a QoS 2 handshake could not be stored';
        connectionOf(client)?.fail(new MqttError('refused-by-log', message, { cause: reason }));
      },
      isConnected: (clientId) => this.#clientIds.has(clientId),
      audience: this.#audience,
    });
  }

  #createAedes(): Aedes {
    const aedes = new Aedes({
      persistence: this.#sessions,
      // Ours are shorter, and a connection never makes aedes wait for its socket.
      connectTimeout: 2 * this.#limits.connectTimeoutMs,
      drainTimeout: 0,
      maxClientsIdLength: Number.MAX_SAFE_INTEGER,
      maxInflightInbound: this.#limits.openHandshakesPerClient,
      maxTopicLevels: TOPIC_LEVELS_MAX,
      preConnect: (client, packet, callback) => {
        const problem = this.#rules.connectProblem(packet);
        if (problem !== null) this.#refusals.set(client, problem);
        callback(null, true);
      },
      authenticate: (client, username, password, callback) => {
        const problem = this.#refusals.get(client) ?? this.#rules.loginProblem(username, password);
        if (problem !== null) this.#noteFailure(connectionOf(client), client.id, problem);
        callback(problem, problem === null);
      },
      authorizePublish: (client, packet, callback) => this.#publish(client, packet, callback),
      authorizeSubscribe: (client, subscription, callback) =>
        callback(null, this.#subscribe(client, subscription.topic) ? subscription : null),
      authorizeForward: (client, packet) => (this.#mayForward(client, packet) ? packet : null),
    });
    aedes.on('client', (client) => void this.#clientIds.add(client.id));
    aedes.on('clientDisconnect', (client) => void this.#clientIds.delete(client.id));
    aedes.on('clientReady', (client) => {
      const device = this.#deviceOf(client);
      if (device !== undefined) device.clientId = client.id;
      connectionOf(client)?.open();
    });
    aedes.on('unsubscribe', (topics, client) => {
      const own = this.#deviceOf(client)?.subscriptions;
      for (const topic of topics) if (own?.delete(topic) === true) this.#audience.remove(topic);
    });
    const failed = (client: Client, error: Error): void => {
      // After a connection is closed, what was still to be written to it "fails" too.
      if (client.closed) return;
      this.#noteFailure(connectionOf(client), client.id, asMqttError(error));
    };
    aedes.on('clientError', failed);
    aedes.on('connectionError', failed);
    return aedes;
  }

  /** The short way of a message of QoS 0 or 1 that nobody listens to and nothing is wrong with. */
  #takePlain(connection: MqttConnection, { topic, payload, qos, messageId }: Publish): boolean {
    const device = this.#devices.get(connection);
    if (device === undefined || this.#closing !== null || this.#audience.hears(topic)) return false;
    if (this.#rules.messageProblem(topic, payload) !== null) return false;
    device.publisher.submit({ topic, payload, clientId: device.clientId }, qos, (error) => {
      if (error !== null) connection.fail(error);
      else if (qos === 1) connection.acknowledge(messageId);
    });
    return true;
  }

  /** aedes' hook for every PUBLISH and will: QoS 0 and 1 go on when the callback is called. */
  #publish(client: Client | null, packet: PublishPacket, callback: PublishCallback): void {
    const connection = client === null ? null : connectionOf(client);
    connection?.publishHandled();
    if (client === null || this.#closing !== null) {
      callback(new MqttError('connection-lost', 'the broker is closing'));
      return;
    }
    const payload = asBuffer(packet.payload);
    const problem = this.#rules.messageProblem(packet.topic, payload);
    if (problem !== null) {
      callback(problem);
      return;
    }
    const message = { topic: packet.topic, payload, clientId: client.id };
    const publisher = this.#deviceOf(client)?.publisher;
    if (client.closed || publisher === undefined) {
      // A will. Nobody is there to be acknowledged or to send it again.
      this.#departed.submit(message, 0, callback);
    } else if (packet.qos === 2) {
      // Stored by the session store, which knows whether it is a repetition.
      callback(null);
    } else {
      publisher.submit(message, packet.qos, (error) => {
        // A client that went away can't be acknowledged; its subscribers get what it will repeat.
        if (packet.qos > 0 && client.closed) return;
        connection?.flushAcknowledgements();
        callback(error);
      });
    }
  }

  #storeQos2(client: Client, packet: StoredPacket, digest: string): Promise<void> {
    const message = { topic: packet.topic, payload: packet.payload, clientId: client.id };
    const publisher = this.#deviceOf(client)?.publisher;
    return new Promise((resolve, reject) => {
      if (publisher === undefined) {
        reject(new MqttError('connection-lost', 'the client went away'));
        return;
      }
      const settle = (error: MqttError | null): void => {
        if (error === null) resolve();
        else reject(error);
      };
      publisher.submit(message, 2, settle, onceKeyOf(client, packet.messageId, digest));
    });
  }

  #subscribe(client: Client, filter: string): boolean {
    const own = this.#deviceOf(client)?.subscriptions;
    if (own === undefined || !this.#rules.maySubscribe(own, filter)) return false;
    if (!own.has(filter)) this.#audience.add(filter);
    own.add(filter);
    return true;
  }

  #mayForward(client: Client, packet: { readonly qos: number }): boolean {
    const waiting = connectionOf(client)?.outputBytes ?? 0;
    if (packet.qos > 0 || waiting <= this.#limits.outputBytes / 2) return true;
    this.#undeliveredCounter.add(1, { reason: 'slow-subscriber' });
    return false;
  }

  #deviceOf(client: Client): Device | undefined {
    const connection = connectionOf(client);
    return connection === null ? undefined : this.#devices.get(connection);
  }
}

/** Whether only this machine can reach the host. */
export function isLoopback(host: string): boolean {
  if (host === 'localhost' || host === '::1') return true;
  return isIP(host) === 4 && host.startsWith('127.');
}

/** A subscriber must be able to take at least the largest message, twice. */
function withRoomForPayloads(limits: MqttLimits): MqttLimits {
  const largest = limits.payloadBytes + limits.topicBytes;
  return { ...limits, outputBytes: Math.max(limits.outputBytes, 4 * largest) };
}

function connectionOf(client: Client): MqttConnection | null {
  return client.conn instanceof MqttConnection ? client.conn : null;
}

/** Clients without a session to be kept have promised nothing about repetitions (3.1.2.4). */
function onceKeyOf(client: Client, number: number | undefined, digest: string): OnceKey | null {
  if (client.clean || number === undefined) return null;
  return { source: client.id, number, digest };
}

function asBuffer(payload: string | Buffer): Buffer {
  return typeof payload === 'string' ? Buffer.from(payload) : payload;
}

function asMqttError(error: Error): MqttError {
  if (error instanceof MqttError) return error;
  const lost = error.message === 'keep alive timeout' || error.message === 'connection closed';
  return new MqttError(lost ? 'connection-lost' : 'malformed', error.message, { cause: error });
}

function ignore(): void {
  // A connection that is gone can be neither held nor released.
}
