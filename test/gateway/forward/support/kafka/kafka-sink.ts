import assert from 'node:assert/strict';
import { SinkError, type BatchItem } from '../../../../../gateway/forward/sink.ts';
import {
  kafkaSink,
  type KafkaSink,
  type KafkaSinkOptions,
} from '../../../../../gateway/forward/sinks/kafka/kafka-sink.ts';
import type { Scope } from '../../../../support/scope.ts';
import { batchOf } from '../batches.ts';

const never = new AbortController().signal;

/** A sink that gives up soon; closed with the test. */
export function sinkOf(context: Scope, options: Partial<KafkaSinkOptions>): KafkaSink {
  const sink = kafkaSink({
    ...{ brokers: [], topic: 'readings', compression: 'none', requestBytes: 900_000 },
    ...{ tls: false, sasl: 'none', username: null, password: null },
    ...{ caFile: null, certFile: null, keyFile: null },
    ...{ connectTimeoutMs: 3_000, requestTimeoutMs: 5_000 },
    ...options,
  });
  context.after(() => sink.close());
  return sink;
}

/** Again and again, what was not taken, as a worker does; returns how many attempts failed. */
export async function deliverAll(sink: KafkaSink, items: readonly BatchItem[]): Promise<number> {
  let failed = 0;
  for (let left = items; left.length > 0;) {
    try {
      const outcomes = await sink.deliver(batchOf(left), never);
      left = left.filter((_, index) => outcomes[index] !== null);
      if (left.length > 0) failed += 1;
    } catch (error) {
      assert.ok(error instanceof SinkError, String(error));
      failed += 1;
    }
  }
  return failed;
}
