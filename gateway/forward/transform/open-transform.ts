/**
 * Runs a transform: call after call, until every record of each is answered or has failed.
 *
 * - Whatever keeps the function from being run at all is not the records' fault: no connection,
 *   throttling, no right, a module that can't be loaded. After a few tries that holds the plan.
 * - A function that throws, takes too long, needs too much memory or answers no JSON fails all the
 *   records of the call, as with Firehose, which does not look for the one that is to blame.
 * - An answer that is larger than it may be (6 MiB, as Lambda has it) says nothing of any record: those
 *   of the call are asked for again in halves, down to the one whose own answer is too large. Firehose
 *   fails them all.
 * - A record that is not answered as agreed fails by itself. Firehose does not ask again for it, we do.
 * - ProcessingFailed is an answer, and final.
 */
import type { Clock, Logger } from '../../../storage/ports.ts';
import {
  FunctionError,
  type FunctionErrorCode,
  type RemoteFunction,
} from '../../functions/function.ts';
import { payloadBytesMax } from '../../functions/limits.ts';
import { openFunction } from '../../functions/open.ts';
import { BackOff } from '../backoff.ts';
import type { ShapedRecord } from '../shape/shaped-record.ts';
import { SinkError, type SinkErrorCode } from '../sink.ts';
import { pause } from '../timing.ts';
import { readAnswer, type Failure } from './answer.ts';
import { callsOf, payloadOf, type Call, type Entry } from './batches.ts';
import { Settling } from './settling.ts';
import type {
  Transform,
  TransformContext,
  TransformedBatch,
  TransformOptions,
} from './transform.ts';

export interface TransformPorts {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly fetch: typeof fetch;
  /** 0 inclusive to 1 exclusive */
  readonly random: () => number;
}

/** What no record is to blame for, as workers of deliveries tell it. */
const holding: Readonly<Partial<Record<FunctionErrorCode, SinkErrorCode>>> = {
  unreachable: 'unreachable',
  throttled: 'throttled',
  denied: 'denied',
};

const advice: Readonly<Partial<Record<FunctionErrorCode, string>>> = {
  denied:
    'Correct transform.function (its name, address or path), or give the gateway the right to call it; a module has to load and to export the function, and is read anew with the next attempt: "headgate delivery resume" makes that at once.',
};

const failureCodes: Readonly<Partial<Record<FunctionErrorCode, string>>> = {
  timeout: 'Lambda.FunctionTimedOut',
  'bad-answer': 'Lambda.JsonProcessingException',
};

const summaryMs = 60_000;

/** Answers that were wrong are waited out like a destination that failed. */
const again = new SinkError('unavailable', 'the function is to be called again');

/**
 * How a record has failed that waited for a function until somebody lost patience.
 * @param error what `run` threw last
 */
export function failureOf(error: SinkError): Failure {
  const codes: Readonly<Partial<Record<SinkErrorCode, string>>> = {
    throttled: 'Lambda.InvokeLimitExceeded',
    denied: 'Lambda.InvokeAccessDenied',
  };
  const errorCode = codes[error.code] ?? 'Lambda.InvokeAPIException';
  return { errorCode, errorMessage: error.message };
}

/** Nothing is started or asked until the first run. */
export function openTransform(options: TransformOptions, ports: TransformPorts): Transform {
  const called = openFunction(options.function, {
    ...{ clock: ports.clock, logger: ports.logger, fetch: ports.fetch },
    ...{ timeoutMs: options.timeoutSeconds * 1_000, answerBytesMax: payloadBytesMax },
  });
  const runner = new Runner(called, options, ports);
  return {
    description: called.description,
    run: (records, context, signal) => runner.run(records, context, signal),
    close: () => called.close(),
  };
}

class Runner {
  readonly #function: RemoteFunction;
  readonly #options: TransformOptions;
  readonly #ports: TransformPorts;
  #failuresInARow = 0;
  /** Of those the first, or a later one, is in the log. */
  #isLogged = false;
  #loggedMs = -Infinity;
  #unlogged = 0;

  constructor(called: RemoteFunction, options: TransformOptions, ports: TransformPorts) {
    this.#function = called;
    this.#options = options;
    this.#ports = ports;
  }

  async *run(
    records: AsyncIterable<readonly ShapedRecord[]>,
    context: TransformContext,
    signal: AbortSignal,
  ): AsyncGenerator<TransformedBatch> {
    const { batchBytes } = this.#options;
    const { payloadBytesMax } = this.#function;
    for await (const call of callsOf(records, context, { batchBytes, payloadBytesMax })) {
      yield await this.#settle(call, context, signal);
    }
  }

  async #settle(
    call: Call,
    context: TransformContext,
    signal: AbortSignal,
  ): Promise<TransformedBatch> {
    const { retries } = this.#options;
    const { random, clock } = this.#ports;
    const backOff = new BackOff(random);
    const settling = new Settling(call.entries);
    let held = 0;
    while (settling.open.length > 0 && settling.attempts <= retries) {
      if (settling.attempts + held > 0) {
        await pause(clock, backOff.failed(again), signal);
        signal.throwIfAborted();
      }
      const error = await this.#ask(call, settling.open, settling, context, signal);
      if (error === null) {
        settling.attempted();
        continue;
      }
      held += 1;
      if (!error.retryable || held > retries) throw error;
    }
    return settling.result();
  }

  /**
   * Asks once for entries of a call, in parts where their answer is too large.
   * @returns why the function could not be run; null: it was
   */
  async #ask(
    call: Call,
    asked: readonly Entry[],
    settling: Settling,
    context: TransformContext,
    signal: AbortSignal,
  ): Promise<SinkError | null> {
    const { id } = call;
    try {
      const payload = payloadOf(id, asked, context);
      const answer = await this.#function.call({ id, payload }, signal);
      const ids = asked.map((entry) => entry.id);
      settling.answered(asked, await readAnswer(answer, ids));
      this.#answered();
      return null;
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof FunctionError)) throw error;
      if (error.code === 'too-large' && asked.length > 1) {
        const middle = Math.ceil(asked.length / 2);
        for (const half of [asked.slice(0, middle), asked.slice(middle)]) {
          const held = await this.#ask(call, half, settling, context, signal);
          if (held !== null) return held;
        }
        return null;
      }
      this.#failed(error, asked.length);
      const code = holding[error.code];
      if (code !== undefined) return this.#held(code, error);
      const errorCode = failureCodes[error.code] ?? 'Lambda.FunctionError';
      settling.failed(asked, { errorCode, errorMessage: ofCall(error, asked.length) });
      return null;
    }
  }

  #held(code: SinkErrorCode, cause: FunctionError): SinkError {
    const { description } = this.#function;
    const { message } = cause;
    const which = message.includes(description) ? 'transform' : `transform ${description}`;
    return new SinkError(code, `the ${which} can't be run: ${message}`, {
      cause,
      advice: advice[cause.code] ?? null,
    });
  }

  #answered(): void {
    if (this.#isLogged) {
      this.#ports.logger.info({ failed: this.#failuresInARow }, 'A transform works again.');
    }
    this.#failuresInARow = 0;
    this.#isLogged = false;
  }

  /** One that fails now and then, or all the time, is logged once a minute, with its stack. */
  #failed(error: FunctionError, records: number): void {
    const { clock, logger } = this.#ports;
    this.#failuresInARow += 1;
    const fields = { error, code: error.code, records };
    const nowMs = clock.monotonicMs();
    if (nowMs - this.#loggedMs < summaryMs) {
      this.#unlogged += 1;
      logger.debug(fields, 'A transform failed again.');
      return;
    }
    logger.warn({ ...fields, unlogged: this.#unlogged }, 'A transform failed.');
    this.#loggedMs = nowMs;
    this.#unlogged = 0;
    this.#isLogged = true;
  }
}

/** Nothing says which of the records is to blame. */
function ofCall({ message }: FunctionError, records: number): string {
  if (records === 1) return message;
  return `The call failed, and with it all ${records} records that it had: ${message}`;
}
