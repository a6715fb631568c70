/**
 * A topic of Kafka. What sends to it is in `topic-sink.ts`, and loaded with its client when it is first
 * needed: that takes half a second of a processor, which a gateway without Kafka has no use for.
 */
import type { BatchSink } from '../../sink.ts';
import type { TlsFiles } from '../connection.ts';
import type { TopicSink } from './topic-sink.ts';

export interface KafkaSinkOptions extends TlsFiles {
  /** `host:port` of brokers to begin with; the others are learnt from them. */
  readonly brokers: readonly string[];
  readonly topic: string;
  readonly compression: 'none' | 'gzip' | 'snappy' | 'lz4';
  /** The most that is put into one request for a partition, before compression. */
  readonly requestBytes: number;
  readonly tls: boolean;
  readonly sasl: 'none' | 'plain' | 'scram-sha-256' | 'scram-sha-512';
  readonly username: string | null;
  readonly password: string | null;
  /** Until a connection stands. Default 10 s. */
  readonly connectTimeoutMs?: number;
  /** Until a request is answered. Default 30 s. */
  readonly requestTimeoutMs?: number;
}

export interface KafkaSink extends BatchSink {
  check(signal: AbortSignal): Promise<string>;
}

export function kafkaSink(options: KafkaSinkOptions): KafkaSink {
  let loading: Promise<TopicSink> | null = null;
  const loaded = (): Promise<TopicSink> => {
    loading ??= import('./topic-sink.ts').then((module) => new module.TopicSink(options));
    return loading;
  };
  return {
    kind: 'kafka',
    description: `kafka:${options.topic}`,
    limits: { records: 5000, bytes: 4 * 1024 ** 2, recordBytes: options.requestBytes },
    deliver: async (batch, signal) => (await loaded()).deliver(batch, signal),
    check: async (signal) => (await loaded()).check(signal),
    close: async () => {
      if (loading !== null) await (await loading).close();
    },
  };
}
