/**
 * One device's socket, as aedes is to see it: a stream that begins with a CONNECT of a version spoken
 * here, holds no packet beyond its limit, can be stopped while the log is busy, and takes what is
 * written to it without ever making the writer wait.
 *
 * Two kinds of packets take a shorter way than through aedes, which parses and copies more than they
 * need. A PUBLISH may be taken by `ConnectionEvents.publish`, and is acknowledged with `acknowledge`;
 * but none overtakes one that aedes has not handled yet. A PINGREQ is answered here, so that none
 * waits behind messages that wait for the log; the keep-alive is ours for the same reason.
 *
 * Not here: the meaning of other packets (aedes), who may log in (`credentials.ts`).
 */
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import type { Clock } from '../../storage/ports.ts';
import { MqttError } from './errors.ts';
import type { MqttLimits } from './limits.ts';
import { Acknowledgements } from './acknowledgements.ts';
import { KeepAlive } from './keep-alive.ts';
import {
  deviceBounds,
  isPlainPingRequest,
  PacketReader,
  packetTypes,
  readPublish,
  typeOf,
} from './packet-reader.ts';
import type { Packet, Publish } from './packet-reader.ts';
import { connack, readGreeting } from './packets.ts';
import type { Flow } from './publisher.ts';
import { Throttle, type MqttRates } from './throttle.ts';

const CONNECT_BYTES_MAX = 64 * 1024;
const FLUSH_MS = 2000;
const TCP_KEEP_ALIVE_MS = 60_000;
const pingResponse = Buffer.from([0xd0, 0]);

export interface ConnectionEvents {
  /** The CONNECT is there. Returns false when there is no room for the client. */
  greeted(connection: MqttConnection): boolean;
  /** A PUBLISH of QoS 0 or 1 that is not retained has come. Returns false when aedes is to have it. */
  publish(connection: MqttConnection, publish: Publish): boolean;
  /** It was turned away, or broken off by us. */
  failed(connection: MqttConnection, error: MqttError): void;
  /** The socket is closed. Called once. */
  closed(connection: MqttConnection): void;
}

export class MqttConnection extends Duplex implements Flow {
  /** `address:port` of the device. */
  readonly remote: string;
  readonly #socket: Socket;
  readonly #events: ConnectionEvents;
  readonly #limits: MqttLimits;
  readonly #clock: Clock;
  readonly #reader: PacketReader;
  readonly #throttle: Throttle;
  #keepAlive: KeepAlive | null = null;
  /** greeting: before the CONNECT; waiting: it is being decided on; open: let in. */
  #phase: 'greeting' | 'waiting' | 'open' = 'greeting';
  /** Until the CONNECT is whole, then what came after it until the client is let in. */
  #early: Buffer = Buffer.alloc(0);
  readonly #holds = new Set<string>();
  #wanted = true;
  #ended = false;
  /** A DISCONNECT has come: what is behind it is nothing. */
  #parted = false;
  /** Publishes passed to aedes that it has not handled yet. */
  #passedPublishes = 0;
  readonly #acknowledgements = new Acknowledgements(this);
  readonly #cancelTimeout: () => void;
  #cancelThrottle: () => void = () => undefined;

  constructor(
    socket: Socket,
    options: { readonly limits: MqttLimits; readonly rates: MqttRates; readonly clock: Clock },
    events: ConnectionEvents,
  ) {
    const { limits, clock } = options;
    super({ readableHighWaterMark: 64 * 1024, writableHighWaterMark: limits.outputBytes });
    this.remote = `${socket.remoteAddress ?? 'unknown'}:${socket.remotePort ?? 0}`;
    this.#socket = socket;
    this.#events = events;
    this.#limits = limits;
    this.#clock = clock;
    this.#reader = new PacketReader(deviceBounds(limits));
    this.#throttle = new Throttle(options.rates, clock);
    this.on('error', () => undefined);
    socket.setNoDelay(true);
    socket.setKeepAlive(true, TCP_KEEP_ALIVE_MS);
    socket.on('data', (chunk: Buffer) => this.#received(chunk));
    socket.on('end', () => this.#end());
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.#end();
      this.#cancelTimers();
      events.closed(this);
    });
    this.#cancelTimeout = clock.setTimer(limits.connectTimeoutMs, () => {
      this.fail(
        new MqttError('connect-timeout', 'no client was let in on this connection in time'),
      );
    });
  }

  /** Bytes written and not yet taken by the other end's system. */
  get outputBytes(): number {
    return this.#socket.writableLength;
  }

  /** The client was let in: what it sent after its CONNECT is passed on from now. */
  open(): void {
    if (this.#phase !== 'waiting') return;
    this.#phase = 'open';
    this.#cancelTimeout();
    const early = this.#early;
    this.#early = Buffer.alloc(0);
    if (early.length > 0) this.#pass(early);
    if (this.#ended) this.push(null);
    this.#steer();
  }

  hold(reason: string): void {
    this.#holds.add(reason);
    this.#steer();
  }

  release(reason: string): void {
    if (!this.#holds.delete(reason)) return;
    this.#keepAlive?.heard();
    this.#steer();
  }

  /** Writes the PUBACK of a message, together with the others of this turn. */
  acknowledge(messageId: number): void {
    this.#acknowledgements.add(packetTypes.publishAcknowledge, messageId);
  }

  /** To be called before another acknowledgement is written: they go out in order. */
  flushAcknowledgements(): void {
    this.#acknowledgements.flush();
  }

  /** aedes has come to a publish that was passed to it. */
  publishHandled(): void {
    if (this.#passedPublishes > 0) this.#passedPublishes -= 1;
  }

  /** Breaks the connection off, after what was written to it. */
  fail(error: MqttError): void {
    if (this.destroyed) return;
    this.#events.failed(this, error);
    this.destroy();
  }

  override _read(): void {
    this.#wanted = true;
    this.#steer();
  }

  override _write(chunk: Buffer, _encoding: string, callback: () => void): void {
    this.#send(chunk);
    callback();
  }

  override _writev(chunks: readonly { readonly chunk: Buffer }[], callback: () => void): void {
    this.#send(Buffer.concat(chunks.map(({ chunk }) => chunk)));
    callback();
  }

  override _final(callback: () => void): void {
    this.#socket.end();
    callback();
  }

  override _destroy(_error: Error | null, callback: (error?: Error | null) => void): void {
    this.#cancelTimers();
    this.#early = Buffer.alloc(0);
    if (!this.#socket.destroyed) {
      const cancel = this.#clock.setTimer(FLUSH_MS, () => this.#socket.destroy());
      this.#socket.once('close', cancel);
      this.#socket.destroySoon();
      // What still comes in is not looked at, and must not keep the socket from closing.
      this.#socket.resume();
    }
    callback();
  }

  /** Closes the socket without waiting for what was written to it. */
  abort(): void {
    this.destroy();
    this.#socket.destroy();
  }

  #received(chunk: Buffer): void {
    if (this.destroyed) return;
    if (this.#phase === 'open') {
      this.#pass(chunk);
      this.#steer();
    } else {
      this.#early = this.#early.length === 0 ? chunk : Buffer.concat([this.#early, chunk]);
      if (this.#phase === 'greeting') this.#greet();
    }
  }

  #greet(): void {
    const greeting = readGreeting(this.#early, CONNECT_BYTES_MAX);
    if (greeting.kind === 'incomplete') return;
    if (greeting.kind === 'refuse') {
      if (greeting.reply !== null) this.#socket.write(greeting.reply);
      this.fail(greeting.error);
      return;
    }
    this.#phase = 'waiting';
    this.#steer();
    if (!this.#events.greeted(this)) {
      this.#socket.write(connack(3));
      this.fail(
        new MqttError('too-many-connections', `${this.#limits.connections} clients are connected`),
      );
      return;
    }
    const connect = Buffer.from(this.#early.subarray(0, greeting.length));
    this.#early = this.#early.subarray(greeting.length);
    if (greeting.keepAliveSeconds > 0) {
      connect.writeUInt16BE(0, greeting.keepAliveAt);
      this.#keepAlive = new KeepAlive({
        clock: this.#clock,
        // [MQTT-3.1.2-24]
        silenceMs: greeting.keepAliveSeconds * 1500,
        isRead: () => this.#phase === 'open' && this.#wanted && this.#holds.size === 0,
        expired: () =>
          this.fail(new MqttError('connection-lost', 'nothing came within its keep-alive')),
      });
    }
    this.push(connect);
  }

  #pass(chunk: Buffer): void {
    this.#keepAlive?.heard();
    let messages = 0;
    /** What aedes is to have: whole packets that lie side by side. */
    let run: { readonly bytes: Buffer; readonly start: number; end: number } | null = null;
    const flush = (): void => {
      if (run !== null) this.#wanted = this.push(run.bytes.subarray(run.start, run.end));
      run = null;
    };
    try {
      this.#reader.read(chunk, (packet) => {
        if (this.destroyed) return;
        if (typeOf(packet) === packetTypes.publish) messages += 1;
        if (this.#takes(packet)) flush();
        else if (run?.bytes === packet.bytes) run.end = packet.end;
        else {
          flush();
          run = { bytes: packet.bytes, start: packet.start, end: packet.end };
        }
      });
    } catch (error) {
      if (!(error instanceof MqttError)) throw error;
      this.fail(error);
      return;
    }
    flush();
    this.#slowDown({ messages, bytes: chunk.length });
  }

  /** Whether a packet is dealt with already, so that aedes does not get it. */
  #takes(packet: Packet): boolean {
    if (this.#parted) return false;
    switch (typeOf(packet)) {
      case packetTypes.publish: {
        const publish = this.#passedPublishes === 0 ? readPublish(packet) : null;
        const plain = publish !== null && !publish.retain && publish.qos < 2;
        if (plain && this.#events.publish(this, publish)) return true;
        this.#passedPublishes += 1;
        return false;
      }
      case packetTypes.pingRequest:
        if (!isPlainPingRequest(packet)) return false;
        this.write(pingResponse);
        return true;
      case packetTypes.disconnect:
        this.#parted = true;
        return false;
      default:
        return false;
    }
  }

  #slowDown(amount: { readonly messages: number; readonly bytes: number }): void {
    const waitMs = this.#throttle.spend(amount);
    if (waitMs <= 0 || this.destroyed) return;
    this.hold('rate');
    this.#cancelThrottle = this.#clock.setTimer(waitMs, () => this.release('rate'));
  }

  #cancelTimers(): void {
    this.#cancelTimeout();
    this.#cancelThrottle();
    this.#keepAlive?.stop();
  }

  /** Reads on or stops reading. In between, the system's own buffers make the device wait. */
  #steer(): void {
    const greeting = this.#phase === 'greeting';
    const open = this.#phase === 'open' && this.#wanted && this.#holds.size === 0;
    if (greeting || open || this.destroyed) this.#socket.resume();
    else this.#socket.pause();
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    if (this.#phase === 'open' && !this.destroyed) this.push(null);
    if (this.#phase === 'greeting') this.destroy();
  }

  #send(bytes: Buffer): void {
    if (!this.#socket.writable) return;
    this.#socket.write(bytes);
    if (this.#socket.writableLength > this.#limits.outputBytes) {
      this.fail(
        new MqttError('slow-subscriber', `${this.#socket.writableLength} bytes wait for it`),
      );
    }
  }
}
