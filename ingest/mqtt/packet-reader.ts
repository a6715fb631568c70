/**
 * Takes the bytes of one connection apart into MQTT packets (OASIS MQTT 3.1.1, chapter 2), across any
 * chunking, and refuses a packet by its header before its body is buffered. What packets mean is not
 * known here, but for a PUBLISH, whose fields are found without copying anything.
 */
import { MqttError } from './errors.ts';

export const packetTypes = { publish: 3, pingRequest: 12, disconnect: 14 } as const;

export interface PacketSizes {
  readonly payloadBytes: number;
  readonly topicBytes: number;
}

/** A whole packet, where it lies in the bytes that came. */
export interface Packet {
  readonly bytes: Buffer;
  /** Of its fixed header. */
  readonly start: number;
  readonly bodyStart: number;
  readonly end: number;
}

/** A PUBLISH of QoS 0 or 1. */
export interface Publish {
  readonly topic: string;
  readonly payload: Buffer;
  readonly qos: 0 | 1;
  /** 0 with QoS 0. */
  readonly messageId: number;
}

interface Bounds {
  readonly least: number;
  readonly most: number;
}

const SUBSCRIBE_BYTES_MAX = 64 * 1024;
const HEADER_BYTES_MAX = 5;

export class PacketReader {
  readonly #bounds: readonly (Bounds | undefined)[];
  /** The beginning of a packet whose end has not come: so many bytes of the buffer. */
  #begun: Buffer = Buffer.alloc(0);
  #begunBytes = 0;
  /** How long that packet is to be; 0: not known yet. */
  #length = 0;

  constructor(sizes: PacketSizes) {
    const acknowledgement = { least: 2, most: 2 };
    const subscription = { least: 5, most: SUBSCRIBE_BYTES_MAX };
    const empty = { least: 0, most: 0 };
    const bounds: (Bounds | undefined)[] = [];
    // A second CONNECT (1) is for aedes to refuse; the types left out never come from a client.
    bounds[1] = { least: 10, most: SUBSCRIBE_BYTES_MAX };
    bounds[packetTypes.publish] = { least: 3, most: 2 + sizes.topicBytes + 2 + sizes.payloadBytes };
    for (const type of [4, 5, 6, 7]) bounds[type] = acknowledgement;
    bounds[8] = subscription;
    bounds[10] = subscription;
    bounds[packetTypes.pingRequest] = empty;
    bounds[packetTypes.disconnect] = empty;
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
      throw new MqttError('malformed', `a packet of type ${type} from a client`);
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
 * The fields of a PUBLISH (3.3), or null when it is none of QoS 0 or 1, is to be retained, or is not as
 * it should be. The payload is a view into the packet.
 */
export function readPlainPublish({ bytes, start, bodyStart, end }: Packet): Publish | null {
  const header = bytes[start] ?? 0;
  const qos = (header >> 1) & 3;
  const retain = (header & 1) !== 0;
  if (retain || qos > 1) return null;
  const topicStart = bodyStart + 2;
  const topicEnd = topicStart + bytes.readUInt16BE(bodyStart);
  const payloadStart = topicEnd + 2 * qos;
  if (payloadStart > end) return null;
  const messageId = qos === 0 ? 0 : bytes.readUInt16BE(topicEnd);
  // [MQTT-2.3.1-1]
  if (qos === 1 && messageId === 0) return null;
  return {
    topic: bytes.toString('utf8', topicStart, topicEnd),
    payload: bytes.subarray(payloadStart, end),
    qos: qos === 0 ? 0 : 1,
    messageId,
  };
}
