/**
 * Every limit of the broker, in one place, with what happens when it is reached.
 */

export interface MqttLimits {
  /** Payload of a PUBLISH, and a whole CONNECT with its will. Beyond: the connection is dropped. */
  readonly payloadBytes: number;
  /** Topic of a PUBLISH in UTF-8. Beyond: the connection is dropped. */
  readonly topicBytes: number;
  /** Client identifier and user name. Beyond: CONNACK 2, identifier rejected. */
  readonly clientIdCharacters: number;
  /** Clients let in at once. Beyond: CONNACK 3, server unavailable. */
  readonly connections: number;
  /** Connections that have not sent their CONNECT yet. Beyond: the oldest of them is closed. */
  readonly pendingConnections: number;
  /** How long a connection may take to be let in. Beyond: it is closed. */
  readonly connectTimeoutMs: number;
  /** Subscriptions of one client. Beyond: SUBACK 0x80 for those too many. */
  readonly subscriptionsPerClient: number;
  /** Handshakes of QoS 2 left open by one client. Beyond: the connection is dropped. */
  readonly openHandshakesPerClient: number;
  /** Publishes waiting for the log, all connections. Beyond: the sockets are not read. */
  readonly inflightBytes: number;
  /** Publishes waiting for the log, one connection. Beyond: its socket is not read. */
  readonly inflightBytesPerConnection: number;
  /** How long an append that the log refuses is tried again before the connection is dropped. */
  readonly refusalMs: number;
  /**
   * Bytes on their way to one subscriber. At half of it QoS 0 is dropped for that subscriber; beyond
   * it, the subscriber is disconnected. No subscriber ever holds up a publisher.
   */
  readonly outputBytes: number;
  /** Retained messages and their bytes. Beyond: a message is delivered, but not retained. */
  readonly retainedMessages: number;
  readonly retainedBytes: number;
  /** Sessions kept for clients that are away. Beyond: the one away for longest is forgotten. */
  readonly sessions: number;
  /** Messages queued per kept session. Beyond: the newest are dropped for that subscriber. */
  readonly queuedMessagesPerSession: number;
  /** Bytes queued for all kept sessions. Beyond: the newest are dropped for those subscribers. */
  readonly queuedBytes: number;
}

const KIB = 1024;
const MIB = 1024 * KIB;

export const defaultLimits: MqttLimits = {
  payloadBytes: 256 * KIB,
  topicBytes: 1024,
  clientIdCharacters: 256,
  connections: 1000,
  pendingConnections: 100,
  connectTimeoutMs: 10_000,
  subscriptionsPerClient: 100,
  openHandshakesPerClient: 1000,
  inflightBytes: 32 * MIB,
  inflightBytesPerConnection: 1 * MIB,
  refusalMs: 20_000,
  outputBytes: 1 * MIB,
  retainedMessages: 10_000,
  retainedBytes: 16 * MIB,
  sessions: 1000,
  queuedMessagesPerSession: 1000,
  queuedBytes: 32 * MIB,
};

/** A subscriber must be able to take at least the largest message, twice. */
export function withRoomForPayloads(limits: MqttLimits): MqttLimits {
  const largest = limits.payloadBytes + limits.topicBytes;
  return { ...limits, outputBytes: Math.max(limits.outputBytes, 4 * largest) };
}
