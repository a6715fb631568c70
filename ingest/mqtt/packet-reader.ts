/**
 * Takes the bytes of one connection apart into MQTT packets (OASIS MQTT 3.1.1, chapter 2), across any
 * chunking, and refuses a packet by its header before its body is buffered. What packets mean is not
 * known here, but for a PUBLISH, whose fields are found without copying anything.
 */
import { MqttError } from './errors.ts';

export const packetTypes = {
  publish: 3,
  publishAcknowledge: 4,
  publishReceived: 5,
  publishRelease: 6,
  publishComplete: 7,
  pingRequest: 12,
  disconnect: 14,
} as const;

export interface PacketSizes {
  readonly payloadBytes: number;
  readonly topicBytes: number;
}

/** How long the body of a packet may be, by its type; types that are not there may not come. */
export type PacketBounds = readonly (
  { readonly least: number; readonly most: number } | undefined
)[];

/** A whole packet, where it lies in the bytes that came. */
export interface Packet {
  readonly bytes: Buffer;
  /** Of its fixed header. */
  readonly start: number;
  readonly bodyStart: number;
  readonly end: number;
}

export interface Publish {
  readonly topic: string;
  readonly payload: Buffer;
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
  /** 0 with QoS 0. */
  readonly messageId: number;
}

const SUBSCRIBE_BYTES_MAX = 64 * 1024;
/** Of MQTT 5, in one packet. */
const PROPERTIES_BYTES_MAX = 64 * 1024;
const HEADER_BYTES_MAX = 5;

/** What devices may send. */
export function deviceBounds(sizes: PacketSizes): PacketBounds {
  const bounds: PacketBounds[number][] = [];
  // A second CONNECT (1) is for aedes to refuse; the types left out never come from a client.
  bounds[1] = { least: 10, most: SUBSCRIBE_BYTES_MAX };
  bounds[packetTypes.publish] = { least: 3, most: 2 + sizes.topicBytes + 2 + sizes.payloadBytes };
  for (const type of [4, 5, 6, 7]) bounds[type] = { least: 2, most: 2 };
  for (const type of [8, 10]) bounds[type] = { least: 5, most: SUBSCRIBE_BYTES_MAX };
  bounds[packetTypes.pingRequest] = { least: 0, most: 0 };
  bounds[packetTypes.disconnect] = { least: 0, most: 0 };
  return bounds;
}

/** What a broker of MQTT 3.1.1 or 5 may send. */
export function brokerBounds(sizes: PacketSizes): PacketBounds {
  const publishBytes = 2 + sizes.topicBytes + 2 + PROPERTIES_BYTES_MAX + sizes.payloadBytes;
  const bounds: PacketBounds[number][] = [];
  for (const type of [2, 4, 5, 6, 7, 9, 11])
    bounds[type] = { least: 2, most: PROPERTIES_BYTES_MAX };
  bounds[packetTypes.publish] = { least: 3, most: publishBytes };
  bounds[13] = { least: 0, most: 0 };
  // DISCONNECT and AUTH, of MQTT 5.
  for (const type of [14, 15]) bounds[type] = { least: 0, most: PROPERTIES_BYTES_MAX };
  return bounds;
}

export class PacketReader {
  readonly #bounds: PacketBounds;
  /** The beginning of a packet whose end has not come: so many bytes of the buffer. */
  #begun: Buffer = Buffer.alloc(0);
  #begunBytes = 0;
  /** How long that packet is to be; 0: not known yet. */
  #length = 0;

  constructor(bounds: PacketBounds) {
    this.#bounds = bounds;
  }

  /**
   * Calls `take` for every packet that is whole now. What is left of the chunk is kept.
   * @throws MqttError `malformed`, `too-large`; the packets before were taken
   */
  read(chunk: Buffer, take: (packet: Packet) => void): void {
    let rest = chunk;
    if (this.#begunBytes > 0) {
      this.#keep(chunk);
      if (this.#length > 0 && this.#begunBytes < this.#length) return;
      rest = this.#begun.subarray(0, this.#begunBytes);
      this.#begun = Buffer.alloc(0);
      this.#begunBytes = 0;
      this.#length = 0;
    }
    let start = 0;
    while (start < rest.length) {
      const packet = this.#packetAt(rest, start);
      if (packet === null || packet.end > rest.length) {
        this.#length = packet === null ? 0 : packet.end - start;
        this.#keep(rest.subarray(start));
        return;
      }
      take(packet);
      start = packet.end;
    }
  }

  /** Grows as bytes come, not by what the header says is to come, and costs a trickle no more. */
  #keep(bytes: Buffer): void {
    const neededBytes = this.#begunBytes + bytes.length;
    if (neededBytes > this.#begun.length) {
      const larger = Buffer.allocUnsafe(Math.max(neededBytes, 2 * this.#begun.length));
      this.#begun.copy(larger, 0, 0, this.#begunBytes);
      this.#begun = larger;
    }
    bytes.copy(this.#begun, this.#begunBytes);
    this.#begunBytes = neededBytes;
  }

  /** The packet that begins there, however far it goes; null while its header is not whole. */
  #packetAt(bytes: Buffer, start: number): Packet | null {
    const type = (bytes[start] ?? 0) >> 4;
    const bounds = this.#bounds[type];
    if (bounds === undefined) {
      throw new MqttError('malformed', `a packet of type ${type}, which may not come`);
    }
    let length = 0;
    for (let index = 1; index < HEADER_BYTES_MAX; index++) {
      const byte = bytes[start + index];
      if (byte === undefined) return null;
      length += (byte & 0x7f) * 2 ** (7 * (index - 1));
      if ((byte & 0x80) !== 0) continue;
      if (length < bounds.least) throw new MqttError('malformed', 'a truncated packet');
      if (length > bounds.most) {
        throw new MqttError(
          'too-large',
          `a packet of ${length} bytes; at most ${bounds.most} are taken`,
        );
      }
      const bodyStart = start + index + 1;
      return { bytes, start, bodyStart, end: bodyStart + length };
    }
    throw new MqttError('malformed', 'a length of over four bytes');
  }
}

export function typeOf({ bytes, start }: Packet): number {
  return (bytes[start] ?? 0) >> 4;
}

/** Whether the flags of a PINGREQ are as they should be (2.2.2). */
export function isPlainPingRequest({ bytes, start }: Packet): boolean {
  return bytes[start] === packetTypes.pingRequest << 4;
}

/**
 * The fields of a PUBLISH (3.3), or null when it is not as it should be. The payload is a view into
 * the packet; the properties of MQTT 5 are left out.
 */
export function readPublish(
  { bytes, start, bodyStart, end }: Packet,
  version: 4 | 5 = 4,
): Publish | null {
  const header = bytes[start] ?? 0;
  const qos = (header >> 1) & 3;
  if (qos === 3) return null;
  const topicStart = bodyStart + 2;
  const topicEnd = topicStart + bytes.readUInt16BE(bodyStart);
  const idEnd = qos === 0 ? topicEnd : topicEnd + 2;
  if (idEnd > end) return null;
  const messageId = qos === 0 ? 0 : bytes.readUInt16BE(topicEnd);
  // [MQTT-2.3.1-1]
  if (qos > 0 && messageId === 0) return null;
  const payloadStart = version === 4 ? idEnd : skipProperties(bytes, idEnd, end);
  if (payloadStart === null) return null;
  return {
    topic: bytes.toString('utf8', topicStart, topicEnd),
    payload: bytes.subarray(payloadStart, end),
    qos: qos === 0 ? 0 : qos === 1 ? 1 : 2,
    retain: (header & 1) !== 0,
    messageId,
  };
}

/** Behind the properties (MQTT 5, 2.2.2), or null when they are longer than their packet. */
function skipProperties(bytes: Buffer, start: number, end: number): number | null {
  let length = 0;
  for (let index = 0; index < 4 && start + index < end; index++) {
    const byte = bytes[start + index] ?? 0;
    length += (byte & 0x7f) * 2 ** (7 * index);
    if ((byte & 0x80) !== 0) continue;
    const propertiesEnd = start + index + 1 + length;
    return propertiesEnd <= end ? propertiesEnd : null;
  }
  return null;
}
