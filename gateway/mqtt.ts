/** The MQTT broker as the configuration asks for it. */
import { readFile } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import { MqttBroker, type MqttStatus } from '../ingest/mqtt/broker.ts';
import type { MqttTls } from '../ingest/mqtt/listeners.ts';
import type { Clock, Logger, Metrics } from '../storage/ports.ts';
import type { Store } from '../storage/store.ts';
import type { Config } from './config/schema.ts';
import { printAddress } from './announcement.ts';
import { startExternalMqtt } from './external-mqtt.ts';
import { listening } from './listening.ts';
import type { Supervisor } from './supervisor.ts';

/** The broker, one elsewhere, or none: it is turned off, or nobody could log in. */
export interface Mqtt {
  /** Where it listens; null: it does not. */
  address(): { readonly host: string; readonly port: number } | null;
  /** The same for people, or the URL of a broker elsewhere. */
  shownAddress(): string | null;
  /** Why a broker elsewhere does not give its messages; null when nothing is wrong. */
  trouble(): string | null;
  /** null: there is none. */
  status(): MqttStatus | null;
  /**
   * Takes over other users, routes and rates; all else needs a restart. Devices stay connected, but
   * those whose user is another now.
   * @throws Error when it can't listen, where it had no users before
   */
  update(mqtt: Config['mqtt']): Promise<void>;
}

export interface MqttParts {
  readonly config: Pick<Config, 'mqtt'>;
  readonly store: Pick<Store, 'log' | 'received' | 'losses'>;
  readonly identity: { readonly gatewayId: string };
  /** Told of every message; must not throw. */
  readonly sees: (topic: string, payload: Buffer) => void;
  readonly supervisor: Supervisor;
  /** The gateway's certificate and key (PEM), and where TLS is served when not on `mqtt.host`. */
  readonly tls?: { readonly cert: string; readonly key: string; readonly host?: string } | null;
  /** Takes how to close it. */
  readonly onClose: (close: () => Promise<void>) => void;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

export async function startMqtt(parts: MqttParts): Promise<Mqtt> {
  const { external, enabled } = parts.config.mqtt;
  if (enabled && external.url !== null) return startExternalMqtt(parts, external.url);
  let config = parts.config.mqtt;
  let broker = await startBroker(parts, config);
  parts.onClose(async () => broker?.close());
  return {
    address: () => broker?.address ?? null,
    shownAddress: () => {
      const address = broker?.address ?? null;
      return address === null ? null : printAddress(address);
    },
    trouble: () => null,
    status: () => broker?.status() ?? null,
    update: async ({ users, routes, rates }) => {
      const next = { ...config, users, routes, rates };
      if (isDeepStrictEqual(next, config)) return;
      if (broker === null) {
        broker = await startBroker(parts, next);
      } else if (canLogIn(next)) {
        broker.update({ users, routes, rates });
      } else {
        await broker.close();
        broker = null;
      }
      config = next;
    },
  };
}

function canLogIn({ users, allowAnonymous, clientCaFile }: Config['mqtt']): boolean {
  return users.length > 0 || allowAnonymous || clientCaFile !== null;
}

async function startBroker(parts: MqttParts, config: Config['mqtt']): Promise<MqttBroker | null> {
  const { store, clock, logger, metrics } = parts;
  const { enabled, host, port, users, allowAnonymous, routes, rates } = config;
  if (!enabled || !canLogIn(config)) {
    if (enabled) logger.info({}, 'MQTT is not served: mqtt.users is empty');
    return null;
  }
  const broker = new MqttBroker({
    host,
    port,
    users,
    allowAnonymous,
    routes,
    rates,
    tls: await tlsOf(parts.tls ?? null, config),
    limits: { payloadBytes: config.maxPayloadBytes, connections: config.maxConnections },
    log: store.log,
    received: store.received,
    losses: store.losses,
    sees: parts.sees,
    clock,
    logger,
    metrics,
  });
  await listening('MQTT', `${host}:${port}`, 'mqtt.port', broker.listen());
  return broker;
}

async function tlsOf(
  tls: MqttParts['tls'] | null,
  { host, tlsPort, clientCaFile }: Config['mqtt'],
): Promise<MqttTls | null> {
  if (tls === null || tls === undefined) return null;
  const clientCa = clientCaFile === null ? null : await readFile(clientCaFile, 'utf8');
  return { host: tls.host ?? host, port: tlsPort, cert: tls.cert, key: tls.key, clientCa };
}
