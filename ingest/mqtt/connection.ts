/**
 * One device's socket, as aedes is to see it: a stream that begins with a CONNECT of a version spoken
 * here, holds no packet beyond its limit, can be stopped while the log is busy, and takes what is
 * written to it without ever making the writer wait.
 *
 * Not here: the meaning of packets (aedes), who may log in (`credentials.ts`).
 */
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import type { Clock } from '../../storage/ports.ts';
import { MqttError } from './errors.ts';
import type { MqttLimits } from './limits.ts';
import { connack, PacketWatch, readGreeting } from './packets.ts';
import type { Flow } from './publisher.ts';

const CONNECT_BYTES_MAX = 64 * 1024;
const FLUSH_MS = 2000;
const TCP_KEEP_ALIVE_MS = 60_000;

export interface ConnectionEvents {
  /** The CONNECT is there. Returns false when there is no room for the client. */
  greeted(connection: MqttConnection): boolean;
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
  readonly #watch: PacketWatch;
  /** greeting: before the CONNECT; waiting: it is being decided on; open: let in. */
  #phase: 'greeting' | 'waiting' | 'open' = 'greeting';
  /** Until the CONNECT is whole, then what came after it until the client is let in. */
  #early: Buffer = Buffer.alloc(0);
  readonly #holds = new Set<string>();
  #wanted = true;
  #ended = false;
  readonly #cancelTimeout: () => void;

  constructor(socket: Socket, limits: MqttLimits, clock: Clock, events: ConnectionEvents) {
    super({ readableHighWaterMark: 64 * 1024, writableHighWaterMark: limits.outputBytes });
    this.remote = `${socket.remoteAddress ?? 'unknown'}:${socket.remotePort ?? 0}`;
    this.#socket = socket;
    this.#events = events;
    this.#limits = limits;
    this.#clock = clock;
    this.#watch = new PacketWatch(limits);
    this.on('error', () => undefined);
    socket.setNoDelay(true);
    socket.setKeepAlive(true, TCP_KEEP_ALIVE_MS);
    socket.on('data', (chunk: Buffer) => this.#received(chunk));
    socket.on('end', () => this.#end());
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.#end();
      this.#cancelTimeout();
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
    if (this.#holds.delete(reason)) this.#steer();
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
    this.#cancelTimeout();
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
    const connect = this.#early.subarray(0, greeting.length);
    this.#early = this.#early.subarray(greeting.length);
    this.push(connect);
  }

  #pass(chunk: Buffer): void {
    try {
      this.#watch.follow(chunk);
    } catch (error) {
      if (!(error instanceof MqttError)) throw error;
      this.fail(error);
      return;
    }
    this.#wanted = this.push(chunk);
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
