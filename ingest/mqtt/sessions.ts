/**
 * What the broker remembers between packets: retained messages, the sessions of clients that asked to
 * be remembered (their subscriptions and the messages queued for them), wills, and the QoS 2 messages
 * whose handshake is open. The interface is aedes'; unlike its own memory store, everything here has a
 * limit, and past it the newest goes without.
 *
 * All of it is memory and ends with the process, but for one thing: which QoS 2 messages of kept
 * sessions await their PUBREL is on disk too, so that a device that sends one again after a restart
 * is answered and nothing is stored twice. What devices publish does not live here: that is the
 * log's, and a QoS 2 message counts as taken only once `store` has put it there.
 */
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import type { OnceLog } from '../../storage/model.ts';
import type { Counter, Metrics } from '../../storage/ports.ts';
import type { Audience } from './audience.ts';
import type { MqttLimits } from './limits.ts';
import { TopicTree } from './topics.ts';

/** aedes' packet, as far as it is kept here. */
export interface StoredPacket {
  readonly cmd: string;
  readonly topic: string;
  readonly payload: Buffer;
  readonly qos: number;
  readonly retain: boolean;
  readonly dup: boolean;
  readonly brokerId?: string;
  readonly brokerCounter?: number;
  readonly clientId?: string;
  messageId: number | undefined;
}

/** aedes' client, as far as it is needed here. */
export interface SessionClient {
  readonly id: string;
  readonly clean: boolean;
  readonly closed: boolean;
}

interface Subscription {
  readonly topic: string;
  readonly qos: number;
}

interface StoredSubscription extends Subscription {
  readonly clientId: string;
}

type IncomingPublish = StoredPacket & { readonly cmd: 'publish'; readonly messageId: number };

/** PUBREL. */
interface Release {
  readonly cmd: 'pubrel';
  readonly messageId: number;
}

interface Handshake {
  /** Tells a repetition from another message of a device that has lost count. */
  readonly digest: string;
  /** The append. */
  readonly storing: Promise<void>;
}

interface Session {
  readonly subscriptions: Map<string, StoredSubscription>;
  queue: StoredPacket[];
  /** QoS 2 messages awaiting PUBREL, by message id. */
  readonly handshakes: Map<number, Handshake>;
}

interface Will {
  brokerId?: string;
  clientId?: string;
}

export type StoreHandler<Client> = (
  client: Client,
  packet: StoredPacket,
  /** What a repetition of the message has too, and another one has not. */
  digest: string,
) => Promise<void>;

export class SessionStore<Client extends SessionClient> {
  readonly #limits: MqttLimits;
  readonly #store: StoreHandler<Client>;
  readonly #received: OnceLog | null;
  readonly #disconnect: (client: Client, reason: unknown) => void;
  readonly #isConnected: (clientId: string) => boolean;
  readonly #audience: Audience;
  readonly #dropped: Counter;
  readonly #retained = new Map<string, StoredPacket>();
  #retainedBytes = 0;
  /** In order of their last connection: the first is away for longest. */
  readonly #sessions = new Map<string, Session>();
  readonly #tree = new TopicTree<StoredSubscription>();
  #queuedBytes = 0;
  readonly #wills = new Map<string, Will>();
  #brokerId = '';

  constructor(options: {
    readonly limits: MqttLimits;
    readonly metrics: Metrics;
    /** Puts a QoS 2 message into the log; resolves once it is on disk. */
    readonly store: StoreHandler<Client>;
    readonly received: OnceLog | null;
    /** Breaks the client's connection off at once. */
    readonly disconnect: (client: Client, reason: unknown) => void;
    readonly isConnected: (clientId: string) => boolean;
    /** Is told of the subscriptions for which messages are queued. */
    readonly audience: Audience;
  }) {
    this.#limits = options.limits;
    this.#store = options.store;
    this.#received = options.received;
    this.#disconnect = options.disconnect;
    this.#isConnected = options.isConnected;
    this.#audience = options.audience;
    this.#dropped = options.metrics.counter(
      'headgate_mqtt_undelivered_total',
      'Messages not retained, not queued or not sent to a subscriber, by reason',
    );
  }

  async setup(broker: { readonly id: string }): Promise<void> {
    this.#brokerId = broker.id;
    await Promise.resolve();
  }

  // -------------------------------------------------------------- retained messages

  storeRetained(packet: StoredPacket): Promise<void> {
    const before = this.#retained.get(packet.topic);
    if (before !== undefined) {
      this.#retained.delete(packet.topic);
      this.#retainedBytes -= retainedSize(before);
    }
    if (packet.payload.length === 0) return Promise.resolve();
    const bytes = retainedSize(packet);
    if (
      this.#retained.size >= this.#limits.retainedMessages ||
      this.#retainedBytes + bytes > this.#limits.retainedBytes
    ) {
      this.#dropped.add(1, { reason: 'retained-full' });
      return Promise.resolve();
    }
    this.#retained.set(packet.topic, copyPacket(packet));
    this.#retainedBytes += bytes;
    return Promise.resolve();
  }

  createRetainedStreamCombi(filters: readonly string[]): Readable {
    return Readable.from(this.#retainedMatches(filters));
  }

  *#retainedMatches(filters: readonly string[]): Generator<StoredPacket> {
    for (const filter of filters) {
      const tree = new TopicTree<true>();
      tree.add(filter, true);
      for (const packet of [...this.#retained.values()]) {
        if (tree.match(packet.topic).length > 0) yield packet;
      }
    }
  }

  // -------------------------------------------------------------- sessions and subscriptions

  addSubscriptions(client: Client, subscriptions: readonly Subscription[]): Promise<void> {
    const session = this.#session(client.id);
    for (const { topic, qos } of subscriptions) {
      const before = session.subscriptions.get(topic);
      if (
        before === undefined &&
        session.subscriptions.size >= this.#limits.subscriptionsPerClient
      ) {
        continue;
      }
      if (before !== undefined) this.#unlisten(before);
      const subscription = { clientId: client.id, topic, qos };
      session.subscriptions.set(topic, subscription);
      this.#listen(subscription);
    }
    return Promise.resolve();
  }

  removeSubscriptions(client: Client, topics: readonly string[]): Promise<void> {
    const session = this.#sessions.get(client.id);
    for (const topic of topics) {
      const subscription = session?.subscriptions.get(topic);
      if (subscription === undefined) continue;
      this.#unlisten(subscription);
      session?.subscriptions.delete(topic);
    }
    return Promise.resolve();
  }

  /** Called when a client comes back to its session. */
  subscriptionsByClient(client: Client): Promise<readonly Subscription[]> {
    const session = this.#sessions.get(client.id);
    if (session === undefined) return Promise.resolve([]);
    this.#sessions.delete(client.id);
    this.#sessions.set(client.id, session);
    return Promise.resolve(
      [...session.subscriptions.values()].map(({ topic, qos }) => ({ topic, qos })),
    );
  }

  /** Called when a client asks for a clean session: nothing of an earlier one is left (3.1.2.4). */
  async cleanSubscriptions(client: Client): Promise<void> {
    this.#forget(client.id);
    await this.#received?.forgetSource(client.id);
  }

  subscriptionsByTopic(topic: string): Promise<readonly StoredSubscription[]> {
    const byClient = new Map<string, StoredSubscription>();
    for (const subscription of this.#tree.match(topic)) {
      const other = byClient.get(subscription.clientId);
      if (other === undefined || other.qos < subscription.qos) {
        byClient.set(subscription.clientId, subscription);
      }
    }
    return Promise.resolve([...byClient.values()]);
  }

  // -------------------------------------------------------------- messages to kept sessions

  outgoingEnqueue(
    subscription: { readonly clientId: string },
    packet: StoredPacket,
  ): Promise<void> {
    return this.outgoingEnqueueCombi([subscription], packet);
  }

  outgoingEnqueueCombi(
    subscriptions: readonly { readonly clientId: string }[],
    packet: StoredPacket,
  ): Promise<void> {
    for (const { clientId } of subscriptions) {
      const session = this.#session(clientId);
      const bytes = queuedSize(packet);
      if (
        session.queue.length >= this.#limits.queuedMessagesPerSession ||
        this.#queuedBytes + bytes > this.#limits.queuedBytes
      ) {
        this.#dropped.add(1, { reason: 'queue-full' });
        continue;
      }
      session.queue.push(copyPacket(packet));
      this.#queuedBytes += bytes;
    }
    return Promise.resolve();
  }

  /**
   * Gives a queued message its message id, or replaces it by its PUBREL. A subscriber whose queue was
   * full has none: aedes then disconnects it, and it gets what is queued when it is back.
   */
  outgoingUpdate(client: Client, packet: StoredPacket): Promise<void> {
    const queue = this.#sessions.get(client.id)?.queue ?? [];
    const index = queue.findIndex((queued) =>
      packet.brokerId !== undefined && queued.brokerId === packet.brokerId
        ? queued.brokerCounter === packet.brokerCounter
        : queued.messageId === packet.messageId,
    );
    const queued = queue[index];
    if (queued === undefined) return Promise.reject(new Error('no such packet'));
    if (packet.brokerId !== undefined && queued.brokerId === packet.brokerId) {
      queued.messageId = packet.messageId;
    } else {
      queue[index] = packet;
      this.#queuedBytes += queuedSize(packet) - queuedSize(queued);
    }
    return Promise.resolve();
  }

  outgoingClearMessageId(client: Client, packet: StoredPacket): Promise<StoredPacket | undefined> {
    const queue = this.#sessions.get(client.id)?.queue ?? [];
    const index = queue.findIndex((queued) => queued.messageId === packet.messageId);
    if (index === -1) return Promise.resolve(undefined);
    const [cleared] = queue.splice(index, 1);
    if (cleared !== undefined) this.#queuedBytes -= queuedSize(cleared);
    return Promise.resolve(cleared);
  }

  outgoingStream(client: Client): Readable {
    return Readable.from([...(this.#sessions.get(client.id)?.queue ?? [])]);
  }

  // -------------------------------------------------------------- QoS 2 from clients

  /**
   * Resolves when this message id is taken already and awaits its PUBREL: then it is a repetition.
   * One that is still on its way into the log is waited for, so it is never stored twice. What was
   * taken before a restart is told from a new message where it is stored; its PUBREL is let through.
   */
  async incomingGetPacket(
    client: Client,
    packet: IncomingPublish | Release,
  ): Promise<{ readonly messageId: number }> {
    const { messageId } = packet;
    const handshake = this.#sessions.get(client.id)?.handshakes.get(messageId);
    if (packet.cmd === 'pubrel') {
      const remembered = this.#received?.remembers(client.id) === true;
      if (handshake === undefined && !remembered) throw new Error('no such packet');
    } else if (handshake === undefined || handshake.digest !== digestOf(packet)) {
      throw new Error('no such packet');
    }
    await handshake?.storing;
    return { messageId };
  }

  async incomingStorePacket(client: Client, packet: IncomingPublish): Promise<void> {
    const { handshakes } = this.#session(client.id);
    const digest = digestOf(packet);
    // A repetition right behind its original was looked up before that got here.
    const first = handshakes.get(packet.messageId);
    if (first?.digest === digest) return first.storing;
    const handshake = { digest, storing: this.#store(client, packet, digest) };
    handshakes.set(packet.messageId, handshake);
    try {
      await handshake.storing;
    } catch (error) {
      if (handshakes.get(packet.messageId) === handshake) handshakes.delete(packet.messageId);
      throw error;
    } finally {
      if (client.clean && client.closed) this.#forgetUnlessTakenOver(client.id);
    }
  }

  /**
   * Resolves once the device may be told that it can use the number for another message. When the
   * disk refuses that, the device must not be told: aedes would, so the connection is broken off.
   */
  async incomingDelPacket(client: Client, packet: { readonly messageId: number }): Promise<void> {
    try {
      await this.#received?.forget(client.id, packet.messageId);
    } catch (error) {
      this.#disconnect(client, error);
      throw error;
    }
    this.#sessions.get(client.id)?.handshakes.delete(packet.messageId);
  }

  cleanIncoming(client: Client): Promise<void> {
    if (client.closed) this.#forgetUnlessTakenOver(client.id);
    else this.#sessions.get(client.id)?.handshakes.clear();
    return Promise.resolve();
  }

  // -------------------------------------------------------------- wills

  putWill(client: Client, will: Will): Promise<void> {
    will.brokerId = this.#brokerId;
    will.clientId = client.id;
    this.#wills.set(client.id, will);
    return Promise.resolve();
  }

  delWill(client: { readonly id: string }): Promise<Will | undefined> {
    const will = this.#wills.get(client.id);
    this.#wills.delete(client.id);
    return Promise.resolve(will);
  }

  /** The wills left by other brokers of a cluster: there are none. */
  streamWill(): Readable {
    return Readable.from([]);
  }

  // -------------------------------------------------------------- inside

  #session(clientId: string): Session {
    const known = this.#sessions.get(clientId);
    if (known !== undefined) return known;
    if (this.#sessions.size >= this.#limits.sessions) {
      for (const oldest of this.#sessions.keys()) {
        if (this.#isConnected(oldest)) continue;
        this.#forget(oldest);
        this.#dropped.add(1, { reason: 'session-forgotten' });
        break;
      }
    }
    const session: Session = { subscriptions: new Map(), queue: [], handshakes: new Map() };
    this.#sessions.set(clientId, session);
    return session;
  }

  /** Nothing is queued for a subscription of QoS 0. */
  #listen(subscription: StoredSubscription): void {
    if (subscription.qos === 0) return;
    this.#tree.add(subscription.topic, subscription);
    this.#audience.add(subscription.topic);
  }

  #unlisten(subscription: StoredSubscription): void {
    if (subscription.qos === 0) return;
    this.#tree.remove(subscription.topic, subscription);
    this.#audience.remove(subscription.topic);
  }

  #forgetUnlessTakenOver(clientId: string): void {
    if (!this.#isConnected(clientId)) this.#forget(clientId);
  }

  #forget(clientId: string): void {
    const session = this.#sessions.get(clientId);
    if (session === undefined) return;
    for (const subscription of session.subscriptions.values()) {
      this.#unlisten(subscription);
    }
    for (const packet of session.queue) this.#queuedBytes -= queuedSize(packet);
    this.#sessions.delete(clientId);
  }
}

/** What a repetition of a message has too, and another message has not. */
export function digestOf({ topic, payload }: Pick<StoredPacket, 'topic' | 'payload'>): string {
  return createHash('sha256').update(topic).update('\0').update(payload).digest('base64');
}

/** A copy that does not keep the socket's whole read buffer alive. */
function copyPacket(packet: StoredPacket): StoredPacket {
  return {
    cmd: packet.cmd,
    topic: packet.topic,
    payload: Buffer.from(packet.payload),
    qos: packet.qos,
    retain: packet.retain,
    dup: packet.dup,
    ...(packet.brokerId === undefined ? {} : { brokerId: packet.brokerId }),
    ...(packet.brokerCounter === undefined ? {} : { brokerCounter: packet.brokerCounter }),
    ...(packet.clientId === undefined ? {} : { clientId: packet.clientId }),
    messageId: undefined,
  };
}

const PACKET_OVERHEAD_BYTES = 200;

function retainedSize(packet: StoredPacket): number {
  return packet.payload.length + packet.topic.length + PACKET_OVERHEAD_BYTES;
}

/** A PUBREL in the queue has neither topic nor payload. */
function queuedSize(packet: Partial<Pick<StoredPacket, 'payload' | 'topic'>>): number {
  return (packet.payload?.length ?? 0) + (packet.topic?.length ?? 0) + PACKET_OVERHEAD_BYTES;
}
