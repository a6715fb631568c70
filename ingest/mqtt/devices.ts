/** The connections of the broker: those whose CONNECT is awaited, and the devices behind the others. */
import type { Client } from 'aedes';
import type { Counter, Gauge, Metrics } from '../../storage/ports.ts';
import type { Audience } from './audience.ts';
import { MqttConnection } from './connection.ts';
import { MqttError } from './errors.ts';
import type { Intake } from './intake.ts';
import type { MqttLimits } from './limits.ts';
import { unrestricted, type Permissions } from './permissions.ts';
import { Publisher } from './publisher.ts';
import type { Summary } from './summary.ts';

/** A connection whose CONNECT has come. */
export interface Device {
  readonly publisher: Publisher;
  readonly subscriptions: Set<string>;
  /** The common name of its verified certificate. */
  readonly identity: string | null;
  /** Empty until the client is let in. */
  clientId: string;
  /** Null before its login, and for who gave none. */
  username: string | null;
  permissions: Permissions;
  willTopic: string | null;
}

export class Devices {
  readonly #limits: MqttLimits;
  readonly #intake: Intake;
  readonly #audience: Audience;
  readonly #summary: Summary;
  readonly #connectionGauge: Gauge;
  readonly #failureCounter: Counter;
  readonly #connected = new Map<MqttConnection, Device>();
  /** Oldest first, with the names of their certificates. */
  readonly #pending = new Map<MqttConnection, string | null>();
  #failures = 0;

  constructor(options: {
    readonly limits: MqttLimits;
    readonly intake: Intake;
    readonly audience: Audience;
    readonly summary: Summary;
    readonly metrics: Metrics;
  }) {
    this.#limits = options.limits;
    this.#intake = options.intake;
    this.#audience = options.audience;
    this.#summary = options.summary;
    const { metrics } = options;
    this.#connectionGauge = metrics.gauge('headgate_mqtt_connections', 'MQTT clients let in now');
    this.#failureCounter = metrics.counter(
      'headgate_mqtt_failed_connections_total',
      'MQTT connections turned away or broken off, by reason',
    );
  }

  /** A connection was made; the oldest without a CONNECT goes when there are too many. */
  add(connection: MqttConnection, identity: string | null): void {
    this.#pending.set(connection, identity);
    if (this.#pending.size <= this.#limits.pendingConnections) return;
    const [oldest] = this.#pending.keys();
    oldest?.fail(new MqttError('too-many-connections', 'too many connections without a CONNECT'));
  }

  /** Its CONNECT has come. Returns false when there is no room for the device. */
  greet(connection: MqttConnection): boolean {
    if (this.#connected.size >= this.#limits.connections) return false;
    const identity = this.#pending.get(connection) ?? null;
    this.#pending.delete(connection);
    this.#connected.set(connection, {
      publisher: new Publisher(this.#intake, connection),
      subscriptions: new Set(),
      identity,
      clientId: '',
      username: null,
      permissions: unrestricted,
      willTopic: null,
    });
    this.#connectionGauge.set(this.#connected.size);
    return true;
  }

  remove(connection: MqttConnection): void {
    this.#pending.delete(connection);
    const device = this.#connected.get(connection);
    if (device !== undefined) {
      device.publisher.leave();
      for (const filter of device.subscriptions) this.#audience.remove(filter);
      device.subscriptions.clear();
    }
    this.#connected.delete(connection);
    this.#connectionGauge.set(this.#connected.size);
  }

  get(connection: MqttConnection): Device | undefined {
    return this.#connected.get(connection);
  }

  of(client: Client): Device | undefined {
    const connection = connectionOf(client);
    return connection === null ? undefined : this.#connected.get(connection);
  }

  connected(): readonly (readonly [MqttConnection, Device])[] {
    return [...this.#connected];
  }

  connections(): readonly MqttConnection[] {
    return [...this.#pending.keys(), ...this.#connected.keys()];
  }

  status(): {
    readonly connections: number;
    readonly pendingConnections: number;
    readonly failedConnections: number;
  } {
    return {
      connections: this.#connected.size,
      pendingConnections: this.#pending.size,
      failedConnections: this.#failures,
    };
  }

  /** Counts and logs a connection that was turned away or broken off. */
  noteFailure(
    connection: MqttConnection | { readonly remote: string } | null,
    clientId: string | null,
    error: MqttError,
  ): void {
    this.#failures += 1;
    this.#failureCounter.add(1, { reason: error.code });
    const device = connection instanceof MqttConnection ? this.#connected.get(connection) : null;
    const name = clientId ?? device?.clientId ?? '';
    const client = name === '' ? {} : { clientId: name };
    this.#summary.warn(
      `connection: ${error.code}`,
      { remote: connection?.remote, ...client, reason: error.code, error: error.message },
      `an MQTT connection was refused or dropped: ${error.hint}`,
    );
  }
}

export function connectionOf(client: Client): MqttConnection | null {
  return client.conn instanceof MqttConnection ? client.conn : null;
}
