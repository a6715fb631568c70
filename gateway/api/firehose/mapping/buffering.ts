/** `BufferingHints` and `RetryOptions` as the configuration has them. */
import { refusal } from './refusal.ts';

const MiB = 2 ** 20;

export interface Hints {
  readonly SizeInMBs?: number;
  readonly IntervalInSeconds?: number;
}

export interface Buffer {
  readonly maxBytes: number;
  readonly maxSeconds: number;
}

/**
 * @param defaults of the destination, where no hints are given
 * @throws Refusal where only one of the two is given
 */
export function bufferOf(hints: Hints | undefined, defaults: Required<Hints>): Buffer {
  const { SizeInMBs: size, IntervalInSeconds: seconds } = hints ?? {};
  if ((size === undefined) !== (seconds === undefined)) {
    throw refusal('BufferingHints', 'have both SizeInMBs and IntervalInSeconds, or neither.');
  }
  return {
    maxBytes: (size ?? defaults.SizeInMBs) * MiB,
    maxSeconds: seconds ?? defaults.IntervalInSeconds,
  };
}
