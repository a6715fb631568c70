/**
 * What goes wrong between a device and the broker, as one error class with a closed list of codes.
 * The codes are the `reason` label of the metrics and the field of the log lines.
 */
const hints = {
  /** The options given to the broker can never work. */
  'invalid-options': 'correct the mqtt section of the configuration',
  /** The port can't be listened on. */
  'listen-failed': 'choose another mqtt.port, or stop what uses it',
  /** Not an MQTT CONNECT: another protocol, TLS, or rubbish. */
  'not-mqtt': 'this port speaks plain MQTT over TCP',
  /** A TLS handshake: plain MQTT on the TLS port, no or another authority's client certificate. */
  'tls-failed':
    'connect with TLS 1.2 or newer, and with a client certificate where mqtt.clientCaFile is set',
  /** A device broke off the TLS handshake over our certificate. */
  'certificate-not-trusted':
    'the device does not trust this gateway\'s certificate: give it ca.pem ("headgate credentials" tells where that is), or the authority that signed tls.certFile',
  /** MQTT 5. */
  'version-5': 'set the protocol version of the client to MQTT 3.1.1 (version 4)',
  /** A protocol version that is neither 3.1 nor 3.1.1. */
  'unknown-version': 'set the protocol version of the client to MQTT 3.1.1 (version 4)',
  /** A packet that the protocol does not allow. */
  malformed: 'the client sends what MQTT 3.1.1 does not allow',
  /** A packet, payload, topic or identifier beyond its limit. */
  'too-large': 'send smaller messages, or raise mqtt.maxPayloadBytes',
  /** The client identifier is too long, or empty where it must not be. */
  'bad-identifier': 'give the client an identifier of at most 256 characters',
  /** Wrong user name or password. */
  unauthorized: 'check the user name and password against mqtt.users',
  /** As many clients as allowed are connected. */
  'too-many-connections': 'raise mqtt.maxConnections, or look for clients that do not disconnect',
  /** The CONNECT, or the answer to it, took too long. */
  'connect-timeout': 'the client connected and said nothing; look at the network between',
  /** A subscriber that does not read what it asked for. */
  'slow-subscriber': 'the client reads more slowly than it is sent to; subscribe to less',
  /** A topic that clients may not publish to. */
  'forbidden-topic': "publish to what the user's topics allow, and not to topics below $SYS",
  /** The log did not take the message; nothing was acknowledged and the device sends it again. */
  'refused-by-log': 'see the stream in the status: it is full, or the disk is',
  /** The other end broke off, or said nothing for one and a half times its keep-alive. */
  'connection-lost': 'the client went away without DISCONNECT',
} as const;

export type MqttErrorCode = keyof typeof hints;

export class MqttError extends Error {
  override readonly name = 'MqttError';
  readonly code: MqttErrorCode;

  constructor(code: MqttErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }

  /** What to do about it, for a log line. */
  get hint(): string {
    return hints[this.code];
  }
}

/** A payload that is not what its route's decoder expects. It is stored raw all the same. */
export class UndecodableError extends Error {
  override readonly name = 'UndecodableError';
}
