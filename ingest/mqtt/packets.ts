/**
 * What must be known of the first packet of a connection before the broker's parser sees it (OASIS
 * MQTT 3.1.1, 3.1): that it is a CONNECT within its limit, which protocol version it asks for, and the
 * keep-alive that it promises. The rest of it is aedes'.
 */
import { MqttError, type MqttErrorCode } from './errors.ts';

const CONNECT = 0x10;
const CONNACK = 0x20;

/** CONNACK of MQTT 3.1.1 with a return code (3.2.2.3). */
export function connack(returnCode: 1 | 3): Buffer {
  return Buffer.from([CONNACK, 2, 0, returnCode]);
}

/** CONNACK of MQTT 5 (3.2): reason 0x84, unsupported protocol version, with a reason string. */
export function connackUnsupportedVersion5(): Buffer {
  const reason = Buffer.from('set the protocol version to MQTT 3.1.1');
  const properties = Buffer.concat([Buffer.from([0x1f, 0, reason.length]), reason]);
  const body = Buffer.concat([Buffer.from([0, 0x84, properties.length]), properties]);
  return Buffer.concat([Buffer.from([CONNACK, body.length]), body]);
}

export type Greeting =
  | { readonly kind: 'incomplete' }
  /** The CONNECT is whole and its version spoken here. */
  | {
      readonly kind: 'connect';
      readonly length: number;
      /** 0: none promised. */
      readonly keepAliveSeconds: number;
      /** Where that is written. */
      readonly keepAliveAt: number;
    }
  | { readonly kind: 'refuse'; readonly error: MqttError; readonly reply: Buffer | null };

/** Looks at the first bytes of a connection. Answers as soon as the bytes there allow it. */
export function readGreeting(bytes: Buffer, maxBytes: number): Greeting {
  const first = bytes[0];
  if (first === undefined) return { kind: 'incomplete' };
  if (first === 0x16) return refuse('not-mqtt', 'a TLS handshake came to the plain MQTT port');
  if (first !== CONNECT) return refuse('not-mqtt', 'the first packet is no MQTT CONNECT');
  const header = readLength(bytes);
  if (header === 'incomplete') return { kind: 'incomplete' };
  if (header === 'malformed') return refuse('not-mqtt', 'the length of the CONNECT is malformed');
  const length = header.end + header.value;
  if (length > maxBytes) {
    return refuse('too-large', `a CONNECT of ${length} bytes; at most ${maxBytes} are taken`);
  }
  const version = readVersion(bytes.subarray(header.end, length));
  if (typeof version === 'object') return version;
  if (bytes.length < length) return { kind: 'incomplete' };
  // After the version come one byte of flags and the keep-alive (3.1.2.3, 3.1.2.10).
  const keepAliveAt = version === 'incomplete' ? length : header.end + version + 1;
  if (keepAliveAt + 2 > length) return refuse('malformed', 'the CONNECT is too short');
  return {
    kind: 'connect',
    length,
    keepAliveSeconds: bytes.readUInt16BE(keepAliveAt),
    keepAliveAt,
  };
}

/**
 * The protocol name and level (3.1.2.1, 3.1.2.2), of which the length is returned when they are
 * spoken here. The level's top bit marks a bridge.
 */
function readVersion(body: Buffer): 'incomplete' | number | Greeting {
  const spoken = [
    { name: Buffer.from('\0\x04MQTT'), level: 4 },
    { name: Buffer.from('\0\x06MQIsdp'), level: 3 },
  ].find(({ name }) => {
    const common = Math.min(name.length, body.length);
    return body.compare(name, 0, common, 0, common) === 0;
  });
  if (spoken === undefined) return refuse('not-mqtt', 'the CONNECT names another protocol');
  const levelByte = body[spoken.name.length];
  if (levelByte === undefined) return 'incomplete';
  const level = levelByte & 0x7f;
  if (level === spoken.level) return spoken.name.length + 1;
  if (level === 5) {
    return refuse('version-5', 'the client asks for MQTT 5', connackUnsupportedVersion5());
  }
  return refuse('unknown-version', `the client asks for protocol level ${level}`, connack(1));
}

function refuse(code: MqttErrorCode, message: string, reply: Buffer | null = null): Greeting {
  return { kind: 'refuse', error: new MqttError(code, message), reply };
}

/** The remaining length (2.2.3) after the first byte, and where it ends. */
function readLength(
  bytes: Buffer,
): { readonly value: number; readonly end: number } | 'incomplete' | 'malformed' {
  let value = 0;
  for (let index = 1; index <= 4; index++) {
    const byte = bytes[index];
    if (byte === undefined) return 'incomplete';
    value += (byte & 0x7f) * 2 ** (7 * (index - 1));
    if ((byte & 0x80) === 0) return { value, end: index + 1 };
  }
  return 'malformed';
}
