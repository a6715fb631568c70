/**
 * Who may connect, and what may be published and subscribed to: the checks that need no broker.
 */
import type { ConnectPacket } from 'aedes';
import { Credentials, type MqttUser } from './credentials.ts';
import { MqttError } from './errors.ts';
import type { MqttLimits } from './limits.ts';
import { permissionsOf, type Permissions, type PermittedTopics } from './permissions.ts';
import { filterProblem, TOPIC_LEVELS_MAX } from './topics.ts';

/** CONNACK return codes (OASIS MQTT 3.1.1, 3.2.2.3): identifier, credentials, not authorised. */
type ReturnCode = 2 | 4 | 5;

/** Why a client is not let in, with the code its CONNACK is to carry. */
export type Refusal = MqttError & { readonly returnCode: number };

export class ClientRules {
  readonly #limits: MqttLimits;
  readonly #credentials: Credentials;
  readonly #topics: ReadonlyMap<string, PermittedTopics>;

  /** @throws MqttError `invalid-options` */
  constructor(users: readonly MqttUser[], allowAnonymous: boolean, limits: MqttLimits) {
    this.#limits = limits;
    this.#credentials = new Credentials(users, allowAnonymous);
    this.#topics = new Map(users.map((user) => [user.username, user]));
    for (const { publish = [], subscribe = [] } of users) {
      for (const filter of [...publish, ...subscribe]) {
        const problem = filterProblem(filter);
        if (problem === null) continue;
        throw new MqttError('invalid-options', `the topic filter '${filter}' ${problem}`);
      }
    }
  }

  /** What is wrong with a CONNECT beside its credentials, or null. */
  connectProblem(packet: ConnectPacket): Refusal | null {
    const { clientId, username, will } = packet;
    const longest = this.#limits.clientIdCharacters;
    if (clientId.length > longest || (username ?? '').length > longest) {
      return refusal(2, 'bad-identifier', `an identifier of over ${longest} characters`);
    }
    if (clientId === '' && packet.clean === false) {
      // [MQTT-3.1.3-8]
      return refusal(2, 'bad-identifier', 'a session to be kept needs a client identifier');
    }
    if (will === undefined) return null;
    const problem = this.messageProblem(will.topic, Buffer.from(will.payload));
    return problem === null ? null : refusal(5, problem.code, `the will: ${problem.message}`);
  }

  /** A device whose certificate was verified needs no password; one that it gives must be right. */
  loginProblem(
    username: string | undefined,
    password: Buffer | undefined,
    identity: string | null,
  ): Refusal | null {
    if (identity !== null && password === undefined) {
      if (username === undefined || username === identity) return null;
      return refusal(4, 'unauthorized', 'the user name is not that of the certificate');
    }
    switch (this.#credentials.check(username, password)) {
      case 'ok':
        return null;
      case 'missing':
        return refusal(5, 'unauthorized', 'no user name was given');
      case 'wrong':
        return refusal(4, 'unauthorized', 'wrong user name or password');
    }
  }

  /** What the user may do; one who is not in the list has a certificate, or needs no password. */
  permissions(username: string, clientId: string): Permissions {
    return permissionsOf(this.#topics.get(username) ?? {}, { username, clientId });
  }

  willProblem(permissions: Permissions, topic: string | null): Refusal | null {
    if (topic === null || permissions.mayPublish(topic)) return null;
    return refusal(5, 'forbidden-topic', 'the user may not publish the will that it leaves');
  }

  /** What is wrong with a message, or null. */
  messageProblem(topic: string, payload: Buffer): MqttError | null {
    const { topicBytes, payloadBytes } = this.#limits;
    if (topic === '' || topic.includes('\0') || topic.includes('+') || topic.includes('#')) {
      return new MqttError('malformed', 'a malformed topic');
    }
    if (Buffer.byteLength(topic) > topicBytes) {
      return new MqttError('too-large', `a topic of over ${topicBytes} bytes`);
    }
    if (topic.length >= TOPIC_LEVELS_MAX && topic.split('/').length > TOPIC_LEVELS_MAX) {
      return new MqttError('too-large', `a topic of over ${TOPIC_LEVELS_MAX} levels`);
    }
    if (payload.length > payloadBytes) {
      const sizes = `${payload.length} bytes; at most ${payloadBytes} are taken`;
      return new MqttError('too-large', `a payload of ${sizes}`);
    }
    if (topic.startsWith('$SYS/')) {
      return new MqttError('forbidden-topic', `a message to ${topic}, which is the broker's own`);
    }
    return null;
  }

  /** Whether a client that has the subscriptions `own` may have this one too. */
  maySubscribe(permissions: Permissions, own: ReadonlySet<string>, filter: string): boolean {
    if (filterProblem(filter) !== null || !permissions.maySubscribe(filter)) return false;
    if (Buffer.byteLength(filter) > this.#limits.topicBytes) return false;
    return own.has(filter) || own.size < this.#limits.subscriptionsPerClient;
  }
}

function refusal(returnCode: ReturnCode, code: MqttError['code'], message: string): Refusal {
  return Object.assign(new MqttError(code, message), { returnCode });
}
