/**
 * Routes: which messages become records, of which stream, under which key.
 *
 * A message goes to *every* route whose filter matches its topic, as it would to every subscriber.
 * Without a matching route it is not stored.
 */
import type { RecordInput } from '../../storage/model.ts';
import type { Clock, Counter, Metrics } from '../../storage/ports.ts';
import { decode, inEnvelope, inEnvelopeRaw, type Decoder } from './decode.ts';
import { MqttError, UndecodableError } from './errors.ts';
import { compileKeyTemplate, fitKey, type KeyTemplate } from './partition-key.ts';
import { filterProblem, TopicTree } from './topics.ts';

export interface MqttRoute {
  /** Topic filter, with + and #. */
  readonly topic: string;
  readonly stream: string;
  /** Constant or template: see `partition-key.ts`. */
  readonly partitionKey: string;
  readonly decoder: Decoder;
  /** Stores `{"topic", "receivedAt", "payload"}` instead of the payload alone. */
  readonly envelope: boolean;
  /** Whether messages that ask to be retained are stored; left out: they are. */
  readonly retained?: boolean;
  /** Whether wills are stored, which the broker publishes for devices that went away; left out: they are. */
  readonly wills?: boolean;
}

/** What went through one route since the broker was made. */
export interface RouteStatus {
  readonly topic: string;
  readonly stream: string;
  readonly messages: number;
  /** Bytes of stored data. */
  readonly bytes: number;
  /** Stored raw, because the decoder could not read them. */
  readonly undecodable: number;
  /** Keyed by their topic, because the key's template found nothing in them. */
  readonly keyFallbacks: number;
  /** When the last message was stored. */
  readonly lastMessageMs: number | null;
}

export interface Message {
  readonly topic: string;
  readonly payload: Buffer;
  readonly clientId: string;
  /** What is out of the ordinary about it. */
  readonly kind?: 'retained' | 'will';
}

/** A record that a message becomes. */
export interface Target {
  readonly route: CompiledRoute;
  readonly record: RecordInput;
}

const TOPICS_CACHED_MAX = 4096;

interface TopicMatch {
  readonly levels: readonly string[];
  readonly routes: readonly CompiledRoute[];
}

/** Turns messages into records. */
export class Router {
  readonly #clock: Clock;
  readonly #tree = new TopicTree<CompiledRoute>();
  readonly #routes: readonly CompiledRoute[];
  /** Matches of the topics seen lately; forgotten as a whole when it is full. */
  readonly #matches = new Map<string, TopicMatch>();

  /** @throws MqttError `invalid-options` */
  constructor(routes: readonly MqttRoute[], clock: Clock, metrics: Metrics) {
    this.#clock = clock;
    const counters = routeCounters(metrics);
    this.#routes = routes.map((route) => new CompiledRoute(route, clock, counters));
    for (const route of this.#routes) this.#tree.add(route.options.topic, route);
  }

  /** Null when no route has the topic; empty when those that have it do not want such messages. */
  route(message: Message): readonly Target[] | null {
    const { routes, levels } = this.#match(message.topic);
    if (routes.length === 0) return null;
    const receivedMs = this.#clock.nowMs();
    const wanted =
      message.kind === undefined ? routes : routes.filter((route) => route.wants(message));
    return wanted.map((route) => ({ route, record: route.record(message, levels, receivedMs) }));
  }

  status(): readonly RouteStatus[] {
    return this.#routes.map((route) => route.status());
  }

  #match(topic: string): TopicMatch {
    const known = this.#matches.get(topic);
    if (known !== undefined) return known;
    if (this.#matches.size >= TOPICS_CACHED_MAX) this.#matches.clear();
    const match = { levels: topic.split('/'), routes: this.#tree.match(topic) };
    this.#matches.set(topic, match);
    return match;
  }
}

interface RouteCounters {
  readonly messages: Counter;
  readonly bytes: Counter;
  readonly undecodable: Counter;
  readonly keyFallbacks: Counter;
}

function routeCounters(metrics: Metrics): RouteCounters {
  return {
    messages: metrics.counter('headgate_mqtt_stored_total', 'Messages stored, by route'),
    bytes: metrics.counter('headgate_mqtt_stored_bytes_total', 'Bytes stored, by route'),
    undecodable: metrics.counter(
      'headgate_mqtt_undecodable_total',
      'Messages stored raw because the decoder of their route could not read them',
    ),
    keyFallbacks: metrics.counter(
      'headgate_mqtt_key_fallbacks_total',
      'Messages keyed by their topic because the key template found nothing',
    ),
  };
}

export class CompiledRoute {
  readonly options: MqttRoute;
  readonly #clock: Clock;
  readonly #counters: RouteCounters;
  readonly #labels: { readonly route: string; readonly stream: string };
  readonly #key: KeyTemplate;
  #messages = 0;
  #bytes = 0;
  #undecodable = 0;
  #keyFallbacks = 0;
  #lastMessageMs: number | null = null;

  constructor(options: MqttRoute, clock: Clock, counters: RouteCounters) {
    const problem = filterProblem(options.topic);
    if (problem !== null) {
      throw new MqttError('invalid-options', `the topic filter '${options.topic}' ${problem}`);
    }
    this.options = options;
    this.#clock = clock;
    this.#counters = counters;
    this.#labels = { route: options.topic, stream: options.stream };
    this.#key = compileKeyTemplate(options.partitionKey);
  }

  wants({ kind }: Message): boolean {
    if (kind === 'retained') return this.options.retained !== false;
    return kind !== 'will' || this.options.wills !== false;
  }

  record(message: Message, levels: readonly string[], receivedMs: number): RecordInput {
    const { topic, payload, clientId } = message;
    const envelope = { topic, receivedMs };
    const keyOf = (value: () => unknown): string => {
      const key = this.#key({ topic, levels, clientId, payload: value });
      if (key === null) this.#countKeyFallback();
      return key ?? fitKey(topic);
    };
    try {
      const decoded = decode(this.options.decoder, payload);
      const partitionKey = keyOf(decoded.value);
      const data = this.options.envelope ? inEnvelope(envelope, decoded) : decoded.data;
      return { partitionKey, data };
    } catch (error) {
      if (!(error instanceof UndecodableError)) throw error;
      this.#countUndecodable();
      const data = this.options.envelope
        ? inEnvelopeRaw(envelope, payload, error.message)
        : payload;
      return { partitionKey: keyOf(() => undefined), data };
    }
  }

  countStored(messages: number, bytes: number): void {
    this.#messages += messages;
    this.#bytes += bytes;
    this.#lastMessageMs = this.#clock.nowMs();
    this.#counters.messages.add(messages, this.#labels);
    this.#counters.bytes.add(bytes, this.#labels);
  }

  status(): RouteStatus {
    return {
      topic: this.options.topic,
      stream: this.options.stream,
      messages: this.#messages,
      bytes: this.#bytes,
      undecodable: this.#undecodable,
      keyFallbacks: this.#keyFallbacks,
      lastMessageMs: this.#lastMessageMs,
    };
  }

  #countUndecodable(): void {
    this.#undecodable += 1;
    this.#counters.undecodable.add(1, this.#labels);
  }

  #countKeyFallback(): void {
    this.#keyFallbacks += 1;
    this.#counters.keyFallbacks.add(1, this.#labels);
  }
}
