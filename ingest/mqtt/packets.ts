/**
 * What must be known of MQTT packets before the broker's parser sees them (OASIS MQTT 3.1.1, chapter
 * 2 and 3.1): how long each is, so that nothing is buffered beyond its limit, and which protocol
 * version a CONNECT asks for. Payloads are not looked at here; parsing is aedes'.
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
  /** The CONNECT is whole and its version spoken here; it ends at `length`. */
  | { readonly kind: 'connect'; readonly length: number }
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
  if (version !== 'incomplete' && version !== 'spoken') return version;
  if (bytes.length < length) return { kind: 'incomplete' };
  if (version === 'incomplete') return refuse('malformed', 'the CONNECT is too short');
  return { kind: 'connect', length };
}

/** The protocol name and level (3.1.2.1, 3.1.2.2). The level's top bit marks a bridge. */
function readVersion(body: Buffer): 'incomplete' | 'spoken' | Greeting {
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
  if (level === spoken.level) return 'spoken';
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

export interface PacketSizes {
  readonly payloadBytes: number;
  readonly topicBytes: number;
}

interface Bounds {
  readonly least: number;
  readonly most: number;
}

const SUBSCRIBE_BYTES_MAX = 64 * 1024;

/**
 * Follows the packets of one connection across any chunking and refuses a packet by its header,
 * before its body is buffered anywhere.
 */
export class PacketWatch {
  readonly #bounds: readonly (Bounds | undefined)[];
  /** Bounds of the packet whose length is being read; null between packets and within a body. */
  #packet: Bounds | null = null;
  #length = 0;
  #lengthShift = 0;
  #bodyLeft = 0;

  constructor(sizes: PacketSizes) {
    const acknowledgement = { least: 2, most: 2 };
    const subscription = { least: 5, most: SUBSCRIBE_BYTES_MAX };
    const empty = { least: 0, most: 0 };
    const bounds: (Bounds | undefined)[] = [];
    // A second CONNECT (1) is for aedes to refuse; the types left out never come from a client.
    bounds[1] = { least: 10, most: SUBSCRIBE_BYTES_MAX };
    bounds[3] = { least: 3, most: 2 + sizes.topicBytes + 2 + sizes.payloadBytes };
    for (const type of [4, 5, 6, 7]) bounds[type] = acknowledgement;
    bounds[8] = subscription;
    bounds[10] = subscription;
    bounds[12] = empty;
    bounds[14] = empty;
    this.#bounds = bounds;
  }

  /** @throws MqttError `malformed`, `too-large` */
  follow(chunk: Buffer): void {
    let offset = 0;
    while (offset < chunk.length) {
      if (this.#bodyLeft > 0) {
        const step = Math.min(this.#bodyLeft, chunk.length - offset);
        this.#bodyLeft -= step;
        offset += step;
      } else {
        this.#header(chunk[offset] ?? 0);
        offset += 1;
      }
    }
  }

  #header(byte: number): void {
    if (this.#packet === null) {
      const bounds = this.#bounds[byte >> 4];
      if (bounds === undefined) {
        throw new MqttError('malformed', `a packet of type ${byte >> 4} from a client`);
      }
      this.#packet = bounds;
      this.#length = 0;
      this.#lengthShift = 0;
      return;
    }
    this.#length += (byte & 0x7f) * 2 ** this.#lengthShift;
    this.#lengthShift += 7;
    if ((byte & 0x80) !== 0) {
      if (this.#lengthShift > 21) throw new MqttError('malformed', 'a length of over four bytes');
      return;
    }
    if (this.#length < this.#packet.least) throw new MqttError('malformed', 'a truncated packet');
    if (this.#length > this.#packet.most) {
      throw new MqttError(
        'too-large',
        `a packet of ${this.#length} bytes; at most ${this.#packet.most} are taken`,
      );
    }
    this.#bodyLeft = this.#length;
    this.#packet = null;
  }
}
