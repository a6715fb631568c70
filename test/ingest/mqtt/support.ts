/** A real broker over a real store, and a client that says exactly the bytes it is told to. */
import { once } from 'node:events';
import { connect as connectSocket, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { MqttBroker, type MqttBrokerOptions } from '../../../ingest/mqtt/broker.ts';
import type { MqttRoute } from '../../../ingest/mqtt/routes.ts';
import { systemClock } from '../../../storage/clock.ts';
import type { Log, LogRecord } from '../../../storage/model.ts';
import { openStore, type Store } from '../../../storage/store.ts';
import { MemoryLogger } from '../../support/memory-logger.ts';
import { MemoryMetrics } from '../../support/memory-metrics.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';

export const user = { username: 'sensor', password: 'correct horse' };

export const rawRoute: MqttRoute = {
  topic: 'site/#',
  stream: 'telemetry',
  partitionKey: '{topic[1]}',
  decoder: 'binary',
  envelope: false,
};

export interface Running {
  readonly broker: MqttBroker;
  readonly port: number;
  readonly logger: MemoryLogger;
  readonly metrics: MemoryMetrics;
}

/** Starts a broker that is closed when the test ends. */
export async function startBroker(
  context: TestContext,
  options: Partial<MqttBrokerOptions> & { readonly log: Pick<Log, 'append'> },
): Promise<Running> {
  const logger = new MemoryLogger();
  const metrics = new MemoryMetrics();
  const broker = new MqttBroker({
    host: '127.0.0.1',
    port: 0,
    users: [user],
    allowAnonymous: false,
    routes: [rawRoute],
    clock: systemClock,
    logger,
    metrics,
    ...options,
  });
  await broker.listen();
  context.after(() => broker.close());
  return { broker, port: broker.address!.port, logger, metrics };
}

/** A store on disk with the streams named. */
export async function startStore(
  context: TestContext,
  streams: readonly string[] = ['telemetry'],
): Promise<Store> {
  const folder = await temporaryFolder(context);
  const store = await openStore({
    folder,
    clock: systemClock,
    logger: new MemoryLogger(),
    metrics: new MemoryMetrics(),
  });
  context.after(() => store.close());
  for (const name of streams) await ensureStream(store.log, name);
  return store;
}

export async function ensureStream(log: Log, name: string): Promise<void> {
  await log.ensureStream({
    name,
    shardCount: 2,
    mode: 'on-demand',
    retentionMs: 24 * 3600 * 1000,
    maxBytes: null,
    whenFull: 'refuse',
  });
}

/** Everything in a stream, shard after shard. */
export async function readAll(log: Log, stream: string): Promise<LogRecord[]> {
  const records: LogRecord[] = [];
  for (const shard of log.stream(stream).shards) {
    let fromSequence = shard.trimSequence;
    for (;;) {
      const result = await log.read({
        shardId: shard.id,
        fromSequence,
        maxRecords: 10_000,
        maxBytes: 10 * 1024 * 1024,
      });
      if (result.records.length === 0) break;
      records.push(...result.records);
      fromSequence = result.nextSequence;
    }
  }
  return records;
}

/** Lets the event loop turn until the condition holds; the test's own time limit ends it. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

/** A log whose appends wait until the test lets them go. */
export class HeldLog implements Pick<Log, 'append'> {
  readonly waiting: { readonly stream: string; readonly data: readonly string[] }[] = [];
  readonly #log: Pick<Log, 'append'>;
  #release: () => void = () => undefined;
  #gate: Promise<void>;

  constructor(log: Pick<Log, 'append'>) {
    this.#log = log;
    this.#gate = new Promise((resolve) => (this.#release = resolve));
  }

  readonly append: Log['append'] = async (stream, records) => {
    this.waiting.push({ stream, data: records.map(({ data }) => data.toString()) });
    await this.#gate;
    return this.#log.append(stream, records);
  };

  release(): void {
    this.#release();
  }
}

export interface RawPacket {
  readonly type: number;
  readonly flags: number;
  readonly body: Buffer;
}

/** A socket with just enough MQTT to look at what comes back. */
export class RawClient {
  readonly socket: Socket;
  /** Everything received. */
  received = Buffer.alloc(0);
  closed = false;
  #unread = Buffer.alloc(0);
  #wake: () => void = () => undefined;

  constructor(port: number) {
    this.socket = connectSocket(port, '127.0.0.1');
    this.socket.on('data', (chunk) => {
      this.received = Buffer.concat([this.received, chunk]);
      this.#unread = Buffer.concat([this.#unread, chunk]);
      this.#wake();
    });
    this.socket.on('error', () => undefined);
    this.socket.on('close', () => {
      this.closed = true;
      this.#wake();
    });
  }

  /** Connects, ended with the test. */
  static async open(context: TestContext, port: number): Promise<RawClient> {
    const client = new RawClient(port);
    context.after(() => client.socket.destroy());
    await once(client.socket, 'connect');
    return client;
  }

  /** Connects, logs in and checks that the broker lets it in. */
  static async login(context: TestContext, port: number, clientId: string): Promise<RawClient> {
    const client = await RawClient.open(context, port);
    client.send(connectPacket({ clientId }));
    const { type, body } = await client.packet();
    if (type !== 2 || body[1] !== 0) throw new Error(`CONNACK ${body.toString('hex')}`);
    return client;
  }

  send(...bytes: readonly Buffer[]): void {
    this.socket.write(Buffer.concat(bytes));
  }

  /** The next packet; rejects when the connection is closed before it. */
  async packet(): Promise<RawPacket> {
    for (;;) {
      const packet = this.#take();
      if (packet !== null) return packet;
      if (this.closed) throw new Error('the connection was closed');
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  async close(): Promise<void> {
    if (!this.closed) await once(this.socket, 'close');
  }

  #take(): RawPacket | null {
    let length = 0;
    for (let index = 1; index <= 4; index++) {
      const byte = this.#unread[index];
      if (byte === undefined) return null;
      length += (byte & 0x7f) * 2 ** (7 * (index - 1));
      if ((byte & 0x80) !== 0) continue;
      const end = index + 1 + length;
      if (this.#unread.length < end) return null;
      const first = this.#unread[0]!;
      const body = this.#unread.subarray(index + 1, end);
      this.#unread = this.#unread.subarray(end);
      return { type: first >> 4, flags: first & 0xf, body };
    }
    return null;
  }
}

export function packet(first: number, body: Buffer): Buffer {
  const length: number[] = [];
  for (let left = body.length; ; left = Math.floor(left / 128)) {
    if (left < 128) {
      length.push(left);
      break;
    }
    length.push((left % 128) | 0x80);
  }
  return Buffer.concat([Buffer.from([first, ...length]), body]);
}

export function text(value: string | Buffer): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 0xff]), bytes]);
}

export function connectPacket(options: {
  readonly clientId: string;
  readonly username?: string | null;
  readonly password?: string;
  readonly clean?: boolean;
  readonly keepaliveSeconds?: number;
  readonly protocol?: { readonly name: string; readonly level: number };
  readonly will?: { readonly topic: string; readonly payload: string };
}): Buffer {
  const { username = user.username, password = user.password, will } = options;
  const { name, level } = options.protocol ?? { name: 'MQTT', level: 4 };
  const keepalive = options.keepaliveSeconds ?? 0;
  let flags = options.clean === false ? 0 : 0x02;
  if (will !== undefined) flags |= 0x04;
  if (username !== null) flags |= 0xc0;
  const parts = [
    text(name),
    Buffer.from([level, flags, keepalive >> 8, keepalive & 0xff]),
    ...(level === 5 ? [Buffer.from([0])] : []),
    text(options.clientId),
    ...(will === undefined ? [] : [text(will.topic), text(will.payload)]),
    ...(username === null ? [] : [text(username), text(password)]),
  ];
  return packet(0x10, Buffer.concat(parts));
}

export function publishPacket(options: {
  readonly topic: string | Buffer;
  readonly payload: string | Buffer;
  readonly qos?: 0 | 1 | 2;
  readonly messageId?: number;
  readonly duplicate?: boolean;
}): Buffer {
  const qos = options.qos ?? 0;
  const messageId = options.messageId ?? 1;
  const body = Buffer.concat([
    text(options.topic),
    ...(qos === 0 ? [] : [Buffer.from([messageId >> 8, messageId & 0xff])]),
    Buffer.from(options.payload),
  ]);
  return packet(0x30 | (qos << 1) | (options.duplicate === true ? 0x08 : 0), body);
}

export function subscribePacket(filters: readonly string[], qos: 0 | 1 | 2 = 0): Buffer {
  const body = filters.flatMap((filter) => [text(filter), Buffer.from([qos])]);
  return packet(0x82, Buffer.concat([Buffer.from([0, 7]), ...body]));
}

/** PUBREL of a QoS 2 handshake. */
export function releasePacket(messageId: number): Buffer {
  return packet(0x62, Buffer.from([messageId >> 8, messageId & 0xff]));
}
