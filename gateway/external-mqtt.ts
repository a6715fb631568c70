/** A broker elsewhere, as the configuration asks for it: a source that the supervisor keeps running. */
import { readFile } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import { ExternalBroker } from '../ingest/mqtt/external.ts';
import type { Config } from './config/schema.ts';
import type { Mqtt, MqttParts } from './mqtt.ts';

export async function startExternalMqtt(parts: MqttParts, url: string): Promise<Mqtt> {
  const { supervisor, onClose } = parts;
  let { routes } = parts.config.mqtt;
  let source = await sourceOf(parts, url, routes);
  let task = supervisor.start(source);
  const stop = async (): Promise<void> => {
    await task.stop();
    source.close();
  };
  onClose(stop);
  return {
    address: () => null,
    shownAddress: () => withoutLogin(url),
    status: () => {
      const { connected, ...counts } = source.status();
      return { ...counts, connections: connected ? 1 : 0, pendingConnections: 0 };
    },
    trouble: () => task.status().failure?.message ?? null,
    // Other routes take other subscriptions, and so another connection.
    update: async (next) => {
      if (isDeepStrictEqual(next.routes, routes)) return;
      const following = await sourceOf(parts, url, next.routes);
      await stop();
      ({ routes } = next);
      source = following;
      task = supervisor.start(source);
    },
  };
}

async function sourceOf(
  { config, identity, store, sees, clock, logger, metrics }: MqttParts,
  url: string,
  routes: Config['mqtt']['routes'],
): Promise<ExternalBroker> {
  const { external, maxPayloadBytes } = config.mqtt;
  const { version, username, password, sharedGroup, keepAliveSeconds } = external;
  const ca = await textOf(external.caFile);
  const cert = await textOf(external.certFile);
  const key = await textOf(external.keyFile);
  return new ExternalBroker({
    url,
    version,
    clientId: external.clientId ?? `headgate-${identity.gatewayId}`,
    username,
    password,
    ca,
    certificate: cert === null || key === null ? null : { cert, key },
    sharedGroup,
    qos: external.qos === '2' ? 2 : 1,
    keepAliveSeconds,
    routes,
    limits: { payloadBytes: maxPayloadBytes },
    log: store.log,
    received: store.received,
    losses: store.losses,
    sees,
    clock,
    logger,
    metrics,
  });
}

async function textOf(file: string | null): Promise<string | null> {
  return file === null ? null : readFile(file, 'utf8');
}

function withoutLogin(url: string): string {
  const { protocol, host } = new URL(url);
  return `${protocol}//${host}`;
}
