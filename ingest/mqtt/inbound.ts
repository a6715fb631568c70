/**
 * The ways of a message from a device to its publisher: the short one of `connection.ts`, aedes' hook
 * for what subscribers may want, and QoS 2, which the session store hands over.
 */
import type { Client, PublishPacket } from 'aedes';
import type { OnceKey } from '../../storage/model.ts';
import type { Audience } from './audience.ts';
import type { MqttConnection } from './connection.ts';
import { connectionOf, type Devices } from './devices.ts';
import { MqttError } from './errors.ts';
import type { Intake } from './intake.ts';
import type { Publish } from './packet-reader.ts';
import { Publisher } from './publisher.ts';
import type { Message } from './routes.ts';
import type { ClientRules } from './rules.ts';
import type { StoredPacket } from './sessions.ts';

type PublishCallback = (error?: Error | null) => void;

export class Inbound {
  readonly #devices: Devices;
  readonly #audience: Audience;
  readonly #rules: () => ClientRules;
  /** For wills: their connections are gone. */
  readonly #departed: Publisher;
  #stopped = false;

  constructor(options: {
    readonly devices: Devices;
    readonly audience: Audience;
    readonly intake: Intake;
    /** Those in force. */
    readonly rules: () => ClientRules;
  }) {
    this.#devices = options.devices;
    this.#audience = options.audience;
    this.#rules = options.rules;
    this.#departed = new Publisher(options.intake, { hold: ignore, release: ignore });
  }

  /** Nothing is taken any more. */
  stop(): void {
    this.#stopped = true;
  }

  /** The short way of a message of QoS 0 or 1 that nobody listens to and nothing is wrong with. */
  takePlain(connection: MqttConnection, { topic, payload, qos, messageId }: Publish): boolean {
    const device = this.#devices.get(connection);
    if (device === undefined || this.#stopped || this.#audience.hears(topic)) return false;
    if (this.#rules().messageProblem(topic, payload) !== null) return false;
    if (!device.permissions.mayPublish(topic)) return false;
    device.publisher.submit({ topic, payload, clientId: device.clientId }, qos, (error) => {
      if (error !== null) connection.fail(error);
      else if (qos === 1) connection.acknowledge(messageId);
    });
    return true;
  }

  /** aedes' hook for every PUBLISH and will: QoS 0 and 1 go on when the callback is called. */
  publish(client: Client | null, packet: PublishPacket, callback: PublishCallback): void {
    const connection = client === null ? null : connectionOf(client);
    connection?.publishHandled();
    if (client === null || this.#stopped) {
      callback(new MqttError('connection-lost', 'the broker is closing'));
      return;
    }
    const payload = asBuffer(packet.payload);
    const problem = this.#rules().messageProblem(packet.topic, payload);
    if (problem !== null) {
      callback(problem);
      return;
    }
    const message = messageOf(client, packet);
    const device = this.#devices.of(client);
    const publisher = device?.publisher;
    if (client.closed || publisher === undefined) {
      // A will. Nobody is there to be acknowledged or to send it again.
      this.#departed.submit({ ...message, kind: 'will' }, 0, callback);
    } else if (device?.permissions.mayPublish(packet.topic) !== true) {
      // 3.1.1 knows no refusal but this ([MQTT-3.3.5-2]); an acknowledgement would say it is stored.
      const topic = packet.topic.slice(0, 100);
      callback(new MqttError('forbidden-topic', `the user may not publish to '${topic}'`));
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

  storeQos2(client: Client, packet: StoredPacket, digest: string): Promise<void> {
    const message = messageOf(client, packet);
    const publisher = this.#devices.of(client)?.publisher;
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
}

/** Clients without a session to be kept have promised nothing about repetitions (3.1.2.4). */
function onceKeyOf(client: Client, number: number | undefined, digest: string): OnceKey | null {
  if (client.clean || number === undefined) return null;
  return { source: client.id, number, digest };
}

function messageOf(
  client: Client,
  packet: { readonly topic: string; readonly payload: string | Buffer; readonly retain: boolean },
): Message {
  const { topic, payload, retain } = packet;
  const message = { topic, payload: asBuffer(payload), clientId: client.id };
  return retain ? { ...message, kind: 'retained' } : message;
}

function asBuffer(payload: string | Buffer): Buffer {
  return typeof payload === 'string' ? Buffer.from(payload) : payload;
}

function ignore(): void {
  // A connection that is gone can be neither held nor released.
}
