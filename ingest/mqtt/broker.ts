/**
 * The embedded MQTT broker: aedes between our sockets (`connection.ts`) and the log (`publisher.ts`).
 *
 * MQTT 3.1 and 3.1.1 over TCP. A PUBLISH of QoS 1 is acknowledged (and one of QoS 2 received) only
 * after everything it became is in an fsynced commit: aedes' hooks are held until then. Subscribers
 * get what is published once it is stored, so devices can also talk among themselves. The client
 * identifier, topic, payload and all that is remembered have limits (`limits.ts`).
 */
import { isIP, type Socket } from 'node:net';
import { Aedes, type Client } from 'aedes';
import type { Log, OnceLog } from '../../storage/model.ts';
import type { Losses } from '../../storage/losses.ts';
import type { Clock, Counter, Logger, Metrics } from '../../storage/ports.ts';
import { Audience } from './audience.ts';
import { MqttConnection } from './connection.ts';
import { namesOfChanged, type MqttUser } from './credentials.ts';
import { connectionOf, Devices } from './devices.ts';
import { MqttError } from './errors.ts';
import { Inbound } from './inbound.ts';
import { Intake, type IntakeStatus } from './intake.ts';
import { defaultLimits, withRoomForPayloads, type MqttLimits } from './limits.ts';
import { Listeners, type Address, type MqttTls } from './listeners.ts';
import type { MqttRoute } from './routes.ts';
import { ClientRules, type Refusal } from './rules.ts';
import { SessionStore } from './sessions.ts';
import { Summary } from './summary.ts';
import { unlimited, type MqttRates } from './throttle.ts';
import { TOPIC_LEVELS_MAX } from './topics.ts';

export interface MqttBrokerOptions {
  readonly host: string;
  /** 0: any free port; see `address`. */
  readonly port: number;
  /** Serves TLS on another port too. */
  readonly tls?: MqttTls | null;
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
  /** Remembers what was lost over restarts. */
  readonly losses?: Pick<Losses, 'add'>;
  /** Told of every message; must not throw. */
  readonly sees?: (topic: string, payload: Buffer) => void;
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
  #rules: ClientRules;
  #users: readonly MqttUser[];
  #rates: MqttRates;
  readonly #intake: Intake;
  readonly #sessions: SessionStore<Client>;
  readonly #audience = new Audience();
  readonly #aedes: Aedes;
  readonly #listeners: Listeners;
  readonly #devices: Devices;
  readonly #inbound: Inbound;
  readonly #clientIds = new Set<string>();
  /** Why clients are turned away, found before their passwords are looked at. */
  readonly #refusals = new WeakMap<Client, Refusal>();
  readonly #undeliveredCounter: Counter;
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
    const certified = (options.tls?.clientCa ?? null) !== null;
    if (options.users.length === 0 && !options.allowAnonymous && !certified) {
      throw new MqttError('invalid-options', 'nobody could log in to MQTT: there are no users');
    }
    this.#options = options;
    this.#clock = clock;
    this.#logger = options.logger;
    this.#limits = withRoomForPayloads({ ...defaultLimits, ...options.limits });
    this.#summary = new Summary(clock, this.#logger);
    this.#rules = new ClientRules(options.users, options.allowAnonymous, this.#limits);
    this.#users = options.users;
    this.#rates = options.rates ?? unlimited;
    this.#intake = new Intake({
      log,
      received: options.received ?? null,
      losses: options.losses ?? null,
      routes: options.routes,
      limits: this.#limits,
      clock,
      metrics,
      summary: this.#summary,
      hears: (topic) => this.#audience.hears(topic),
      ...(options.sees === undefined ? {} : { sees: options.sees }),
    });
    const shared = {
      intake: this.#intake,
      audience: this.#audience,
      limits: this.#limits,
      summary: this.#summary,
    };
    this.#devices = new Devices({ ...shared, metrics });
    this.#inbound = new Inbound({ ...shared, devices: this.#devices, rules: () => this.#rules });
    this.#undeliveredCounter = metrics.counter(
      'headgate_mqtt_undelivered_total',
      'Messages not retained, not queued or not sent to a subscriber, by reason',
    );
    this.#sessions = this.#createSessions();
    this.#aedes = this.#createAedes();
    this.#listeners = new Listeners({
      host: options.host,
      port: options.port,
      tls: options.tls ?? null,
      tlsConnectionsMax: this.#limits.connections + this.#limits.pendingConnections,
      handshakeTimeoutMs: this.#limits.connectTimeoutMs,
      accept: (socket, identity) => this.#accept(socket, identity),
      refused: (remote, error) =>
        this.#devices.noteFailure(remote === null ? null : { remote }, null, error),
      troubled: ({ message }) =>
        this.#summary.warn('accept', { error: message }, 'an MQTT connection was not accepted'),
    });
  }

  /** Where it listens; null before and after. */
  get address(): Address | null {
    return this.#listeners.address;
  }

  /** Where it listens for TLS; null when it does not. */
  get tlsAddress(): Address | null {
    return this.#listeners.tlsAddress;
  }

  /** @throws MqttError `listen-failed` */
  async listen(): Promise<void> {
    await this.#aedes.listen();
    try {
      await this.#listeners.listen();
    } catch (error) {
      await this.close();
      throw error;
    }
    const tls = this.tlsAddress === null ? {} : { tls: this.tlsAddress };
    this.#logger.info({ ...this.address, ...tls }, 'listening for MQTT');
  }

  /**
   * Takes no more, finishes what is on its way into the log (for five seconds at most) with its
   * acknowledgements, and closes. Clients that were connected leave no will.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /**
   * Takes over other users, routes and rates. Devices whose user is another now are dropped, so that
   * they log in again; rates hold for connections made from now on.
   * @throws MqttError `invalid-options`; then all is as it was
   */
  update(next: Pick<MqttBrokerOptions, 'users' | 'routes' | 'rates'>): void {
    const rules = new ClientRules(next.users, this.#options.allowAnonymous, this.#limits);
    this.#intake.replaceRoutes(next.routes);
    const changed = namesOfChanged(this.#users, next.users);
    this.#rules = rules;
    this.#users = next.users;
    this.#rates = next.rates ?? unlimited;
    for (const [connection, { username }] of this.#devices.connected()) {
      if (username === null || !changed.has(username)) continue;
      connection.fail(new MqttError('unauthorized', `the user ${username} is another now`));
    }
  }

  status(): MqttStatus {
    return {
      ...this.#intake.status(),
      ...this.#devices.status(),
    };
  }

  async #close(): Promise<void> {
    const closed = this.#listeners.close();
    this.#inbound.stop();
    for (const [connection] of this.#devices.connected()) connection.hold('closing');
    await this.#drained();
    await new Promise<void>((resolve) => {
      if (this.#aedes.closed) resolve();
      else this.#aedes.close(resolve);
    });
    const cancel = this.#clock.setTimer(1000, () => {
      for (const connection of this.#devices.connections()) connection.abort();
    });
    for (const connection of this.#devices.connections()) connection.destroy();
    await closed;
    cancel();
    this.#summary.close();
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

  #accept(socket: Socket, identity: string | null): void {
    const settings = { limits: this.#limits, rates: this.#rates, clock: this.#clock };
    const connection = new MqttConnection(socket, settings, {
      greeted: (greeted) => this.#greeted(greeted),
      publish: (from, publish) => this.#inbound.takePlain(from, publish),
      failed: (failed, error) => this.#devices.noteFailure(failed, null, error),
      closed: (closed) => this.#devices.remove(closed),
    });
    this.#devices.add(connection, identity);
  }

  #greeted(connection: MqttConnection): boolean {
    if (this.#closing !== null || !this.#devices.greet(connection)) return false;
    this.#aedes.handle(connection);
    return true;
  }

  // -------------------------------------------------------------- aedes and its hooks

  #createSessions(): SessionStore<Client> {
    return new SessionStore<Client>({
      limits: this.#limits,
      metrics: this.#options.metrics,
      store: (client, packet, digest) => this.#inbound.storeQos2(client, packet, digest),
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
        const device = this.#devices.of(client);
        if (device !== undefined) device.willTopic = packet.will?.topic ?? null;
        callback(null, true);
      },
      authenticate: (client, username, password, callback) => {
        const problem = this.#refusals.get(client) ?? this.#login(client, username, password);
        if (problem !== null) this.#devices.noteFailure(connectionOf(client), client.id, problem);
        callback(problem, problem === null);
      },
      authorizePublish: (client, packet, callback) =>
        this.#inbound.publish(client, packet, callback),
      authorizeSubscribe: (client, subscription, callback) =>
        callback(null, this.#subscribe(client, subscription.topic) ? subscription : null),
      authorizeForward: (client, packet) => (this.#mayForward(client, packet) ? packet : null),
    });
    aedes.on('client', (client) => void this.#clientIds.add(client.id));
    aedes.on('clientDisconnect', (client) => void this.#clientIds.delete(client.id));
    aedes.on('clientReady', (client) => {
      const device = this.#devices.of(client);
      if (device !== undefined) device.clientId = client.id;
      connectionOf(client)?.open();
    });
    aedes.on('unsubscribe', (topics, client) => {
      const own = this.#devices.of(client)?.subscriptions;
      for (const topic of topics) if (own?.delete(topic) === true) this.#audience.remove(topic);
    });
    const failed = (client: Client, error: Error): void => {
      // After a connection is closed, what was still to be written to it "fails" too.
      if (client.closed) return;
      this.#devices.noteFailure(connectionOf(client), client.id, asMqttError(error));
    };
    aedes.on('clientError', failed);
    aedes.on('connectionError', failed);
    return aedes;
  }

  #login(
    client: Client,
    username: string | undefined,
    password: Buffer | undefined,
  ): Refusal | null {
    const device = this.#devices.of(client);
    const identity = device?.identity ?? null;
    const problem = this.#rules.loginProblem(username, password, identity);
    if (problem !== null || device === undefined) return problem;
    device.username = username ?? identity;
    device.permissions = this.#rules.permissions(device.username ?? '', client.id);
    return this.#rules.willProblem(device.permissions, device.willTopic);
  }

  #subscribe(client: Client, filter: string): boolean {
    const device = this.#devices.of(client);
    if (device === undefined) return false;
    const { subscriptions: own, permissions } = device;
    if (!this.#rules.maySubscribe(permissions, own, filter)) return false;
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
}

/** Whether only this machine can reach the host. */
export function isLoopback(host: string): boolean {
  if (host === 'localhost' || host === '::1') return true;
  return isIP(host) === 4 && host.startsWith('127.');
}

function asMqttError(error: Error): MqttError {
  if (error instanceof MqttError) return error;
  const lost = error.message === 'keep alive timeout' || error.message === 'connection closed';
  return new MqttError(lost ? 'connection-lost' : 'malformed', error.message, { cause: error });
}
