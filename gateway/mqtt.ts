/** The MQTT broker as the configuration asks for it. */
import { isDeepStrictEqual } from 'node:util';
import { MqttBroker, type MqttStatus } from '../ingest/mqtt/broker.ts';
import type { Clock, Logger, Metrics } from '../storage/ports.ts';
import type { Store } from '../storage/store.ts';
import type { Config } from './config/schema.ts';
import { listening } from './listening.ts';

/** The broker, or none: it is turned off, or nobody could log in. */
export interface Mqtt {
  /** Where it listens; null: it does not. */
  address(): { readonly host: string; readonly port: number } | null;
  /** null: there is none. */
  status(): MqttStatus | null;
  /**
   * Takes over other users and routes; all else needs a restart. Devices have to connect again.
   * @throws Error when it can't listen any more
   */
  update(mqtt: Config['mqtt']): Promise<void>;
}

interface Parts {
  readonly config: Pick<Config, 'mqtt'>;
  readonly store: Pick<Store, 'log' | 'received'>;
  readonly closers: (() => Promise<void> | void)[];
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

export async function startMqtt(parts: Parts): Promise<Mqtt> {
  let config = parts.config.mqtt;
  let broker = await startBroker(parts, config);
  parts.closers.push(() => broker?.close());
  return {
    address: () => broker?.address ?? null,
    status: () => broker?.status() ?? null,
    update: async ({ users, routes }) => {
      if (isDeepStrictEqual([users, routes], [config.users, config.routes])) return;
      const next = { ...config, users, routes };
      await broker?.close();
      broker = null;
      broker = await startBroker(parts, next);
      config = next;
    },
  };
}

async function startBroker(parts: Parts, config: Config['mqtt']): Promise<MqttBroker | null> {
  const { store, clock, logger, metrics } = parts;
  const { enabled, host, port, users, allowAnonymous, routes } = config;
  if (!enabled || (users.length === 0 && !allowAnonymous)) {
    if (enabled) logger.info({}, 'MQTT is not served: mqtt.users is empty');
    return null;
  }
  const broker = new MqttBroker({
    host,
    port,
    users,
    allowAnonymous,
    routes,
    limits: { payloadBytes: config.maxPayloadBytes, connections: config.maxConnections },
    log: store.log,
    received: store.received,
    clock,
    logger,
    metrics,
  });
  await listening('MQTT', `${host}:${port}`, 'mqtt.port', broker.listen());
  return broker;
}
