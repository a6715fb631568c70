/**
 * What all publishers share: the router, the log, the limit on bytes in flight, and the counts.
 */
import type { Log, OnceLog, OnceMessage, RecordInput } from '../../storage/model.ts';
import type { StorageError } from '../../storage/errors.ts';
import type { Losses } from '../../storage/losses.ts';
import type { Clock, Counter, Gauge, Metrics } from '../../storage/ports.ts';
import type { MqttLimits } from './limits.ts';
import type { Publisher } from './publisher.ts';
import { Rate } from './rate.ts';
import { Router, type Message, type MqttRoute, type RouteStatus, type Target } from './routes.ts';
import type { Summary } from './summary.ts';

export interface IntakeStatus {
  /** Messages received from clients. */
  readonly received: number;
  /** Over the last ten seconds. */
  readonly messagesPerSecond: number;
  readonly bytesPerSecond: number;
  /** Messages that matched no route: acknowledged, delivered to subscribers, not stored. */
  readonly unrouted: number;
  /** Messages of QoS 0 that the log refused. */
  readonly lost: number;
  /** Waiting for the log. */
  readonly inflightBytes: number;
  readonly routes: readonly RouteStatus[];
}

export class Intake {
  readonly limits: MqttLimits;
  readonly clock: Clock;
  readonly #log: Pick<Log, 'append'>;
  readonly #onceLog: OnceLog | null;
  readonly #metrics: Metrics;
  #router: Router;
  readonly #losses: Pick<Losses, 'add'> | null;
  readonly #summary: Summary;
  readonly #hears: (topic: string) => boolean;
  readonly #sees: ((topic: string, payload: Buffer) => void) | null;
  readonly #unroutedCounter: Counter;
  readonly #lostCounter: Counter;
  readonly #refusalCounter: Counter;
  readonly #inflightGauge: Gauge;
  readonly #messageRate: Rate;
  readonly #byteRate: Rate;
  readonly #running = new Set<Publisher>();
  readonly #held = new Set<Publisher>();
  #idle: (() => void)[] = [];
  #inflightBytes = 0;
  #received = 0;
  #unrouted = 0;
  #lost = 0;
  #stopping = false;

  constructor(options: {
    readonly log: Pick<Log, 'append'>;
    readonly received: OnceLog | null;
    /** Remembers what was lost over restarts. */
    readonly losses: Pick<Losses, 'add'> | null;
    readonly routes: readonly MqttRoute[];
    readonly limits: MqttLimits;
    readonly clock: Clock;
    readonly metrics: Metrics;
    readonly summary: Summary;
    /** Whether somebody subscribes to a topic: a message that arrives there needs no route. */
    readonly hears?: (topic: string) => boolean;
    /** Told of every message; must not throw. */
    readonly sees?: (topic: string, payload: Buffer) => void;
  }) {
    const { clock, metrics } = options;
    this.limits = options.limits;
    this.clock = clock;
    this.#log = options.log;
    this.#onceLog = options.received;
    this.#losses = options.losses;
    this.#summary = options.summary;
    this.#hears = options.hears ?? (() => false);
    this.#sees = options.sees ?? null;
    this.#metrics = metrics;
    this.#router = new Router(options.routes, clock, metrics);
    this.#unroutedCounter = metrics.counter(
      'headgate_mqtt_unrouted_total',
      'Messages that matched no route and were not stored',
    );
    this.#lostCounter = metrics.counter(
      'headgate_mqtt_lost_total',
      'Messages of QoS 0 that the log refused',
    );
    this.#refusalCounter = metrics.counter(
      'headgate_mqtt_append_refusals_total',
      'Appends that the log refused, by stream and code',
    );
    this.#inflightGauge = metrics.gauge(
      'headgate_mqtt_inflight_bytes',
      'Bytes of messages waiting for the log',
    );
    this.#messageRate = new Rate(clock);
    this.#byteRate = new Rate(clock);
  }

  /** Set when the broker closes: nothing is tried again. */
  get stopping(): boolean {
    return this.#stopping;
  }

  /** What is counted by route begins anew. @throws MqttError `invalid-options` */
  replaceRoutes(routes: readonly MqttRoute[]): void {
    this.#router = new Router(routes, this.clock, this.#metrics);
  }

  route(message: Message): readonly Target[] {
    this.#received += 1;
    this.#messageRate.add(1);
    this.#byteRate.add(message.payload.length);
    this.#sees?.(message.topic, message.payload);
    const targets = this.#router.route(message);
    if (targets === null) {
      this.#unrouted += 1;
      this.#unroutedCounter.add();
      if (!this.#hears(message.topic)) {
        this.#summary.warn(
          'unrouted',
          { topic: message.topic, clientId: message.clientId },
          'a message matches no route and is not stored; add a route for its topic',
        );
      }
    }
    return targets ?? [];
  }

  /** @throws StorageError */
  async append(stream: string, records: readonly RecordInput[]): Promise<void> {
    await this.#log.append(stream, records);
  }

  /** Remembers what may be sent again, where the log can. @throws StorageError */
  async appendOnce(stream: string, messages: readonly OnceMessage[]): Promise<void> {
    if (this.#onceLog === null) {
      await this.append(
        stream,
        messages.flatMap(({ records }) => records),
      );
    } else {
      await this.#onceLog.appendOnce(stream, messages);
    }
  }

  noteRefusal(stream: string, error: StorageError): void {
    this.#refusalCounter.add(1, { stream, code: error.code });
    this.#summary.warn(
      `refused: ${error.code}`,
      { stream, code: error.code, error: error.message },
      'the log refuses messages; their acknowledgement is withheld',
    );
  }

  /** A message of QoS 0 was refused: nobody sends it again. */
  countLost(targets: readonly Target[]): void {
    this.#lost += 1;
    this.#lostCounter.add();
    for (const { route, record } of targets) {
      const bytes = record.data.length;
      this.#losses?.add('messages-refused', route.options.stream, { bytes });
    }
  }

  entered(publisher: Publisher, bytes: number): void {
    this.#inflightBytes += bytes;
    if (this.#inflightBytes < this.limits.inflightBytes) return;
    this.#held.add(publisher);
    publisher.holdForBroker();
  }

  left(bytes: number): void {
    this.#inflightBytes -= bytes;
    if (this.#held.size === 0 || this.#inflightBytes > this.limits.inflightBytes * 0.75) return;
    const held = [...this.#held];
    this.#held.clear();
    for (const publisher of held) publisher.releaseForBroker();
  }

  started(publisher: Publisher): void {
    this.#running.add(publisher);
  }

  stopped(publisher: Publisher): void {
    this.#running.delete(publisher);
    this.#inflightGauge.set(this.#inflightBytes);
    if (this.#running.size > 0) return;
    const idle = this.#idle;
    this.#idle = [];
    for (const resolve of idle) resolve();
  }

  /** Ends all waiting for retries; resolves when nothing is on its way into the log any more. */
  async drain(): Promise<void> {
    this.#stopping = true;
    for (const publisher of this.#running) publisher.wake();
    if (this.#running.size > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  status(): IntakeStatus {
    return {
      received: this.#received,
      messagesPerSecond: this.#messageRate.perSecond(),
      bytesPerSecond: this.#byteRate.perSecond(),
      unrouted: this.#unrouted,
      lost: this.#lost,
      inflightBytes: this.#inflightBytes,
      routes: this.#router.status(),
    };
  }
}
