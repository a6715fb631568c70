/**
 * The socket to an external broker, as mqtt.js is to see it: without the messages. mqtt.js logs in,
 * subscribes and keeps the connection alive; but it takes one message at a time and acknowledges it
 * before it looks at the next, so what has to do with messages (OASIS MQTT 3.1.1 and 5, 3.3 to 3.7) is
 * taken out and answered here, many at a time.
 */
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { Acknowledgements } from './acknowledgements.ts';
import { MqttError } from './errors.ts';
import type { MqttLimits } from './limits.ts';
import { brokerBounds, PacketReader, packetTypes, readPublish, typeOf } from './packet-reader.ts';
import type { Packet, Publish } from './packet-reader.ts';
import type { Flow } from './publisher.ts';

export interface BrokerStreamOptions {
  /** Connected or connecting. */
  readonly socket: Socket;
  /** 4: MQTT 3.1.1. */
  readonly version: 4 | 5;
  readonly limits: MqttLimits;
  /** A message has come; `acknowledge` or `receive` answers it. */
  publish(publish: Publish): void;
  /** The broker lets go of the message id of a message of QoS 2; `complete` answers. */
  release(messageId: number): void;
}

export class BrokerStream extends Duplex implements Flow {
  readonly #options: BrokerStreamOptions;
  readonly #socket: Socket;
  readonly #reader: PacketReader;
  readonly #answers = new Acknowledgements(this);
  readonly #holds = new Set<string>();
  #wanted = true;

  constructor(options: BrokerStreamOptions) {
    super();
    this.#options = options;
    this.#socket = options.socket;
    this.#reader = new PacketReader(brokerBounds(options.limits));
    this.#socket.on('data', (chunk: Buffer) => this.#received(chunk));
    this.#socket.on('end', () => this.push(null));
    this.#socket.on('error', (error) => this.destroy(error));
    this.#socket.on('close', () => this.destroy());
  }

  hold(reason: string): void {
    this.#holds.add(reason);
    this.#steer();
  }

  release(reason: string): void {
    if (this.#holds.delete(reason)) this.#steer();
  }

  /** A message of QoS 1 is stored. */
  acknowledge(messageId: number): void {
    this.#answers.add(packetTypes.publishAcknowledge, messageId);
  }

  /** A message of QoS 2 is stored. */
  receive(messageId: number): void {
    this.#answers.add(packetTypes.publishReceived, messageId);
  }

  complete(messageId: number): void {
    this.#answers.add(packetTypes.publishComplete, messageId);
  }

  override _read(): void {
    this.#wanted = true;
    this.#steer();
  }

  override _write(
    chunk: Buffer,
    _encoding: string,
    callback: (error?: Error | null) => void,
  ): void {
    this.#socket.write(chunk, callback);
  }

  /** What the broker still says is not read: it repeats it. */
  override _final(callback: () => void): void {
    this.#socket.end(() => {
      callback();
      this.destroy();
    });
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#socket.destroy();
    callback(error);
  }

  #received(chunk: Buffer): void {
    if (this.destroyed) return;
    try {
      this.#reader.read(chunk, (packet) => this.#take(packet));
    } catch (error) {
      this.destroy(error instanceof Error ? error : new Error(String(error)));
      return;
    }
    this.#steer();
  }

  #take(packet: Packet): void {
    const { bytes, start, bodyStart, end } = packet;
    switch (typeOf(packet)) {
      case packetTypes.publish: {
        const publish = readPublish(packet, this.#options.version);
        if (publish === null) throw new MqttError('malformed', 'the broker sent a broken PUBLISH');
        this.#options.publish(publish);
        break;
      }
      case packetTypes.publishRelease:
        this.#options.release(bytes.readUInt16BE(bodyStart));
        break;
      default:
        this.#wanted = this.push(bytes.subarray(start, end));
    }
  }

  #steer(): void {
    if ((this.#wanted && this.#holds.size === 0) || this.destroyed) this.#socket.resume();
    else this.#socket.pause();
  }
}
