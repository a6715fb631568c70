/** The answer of SubscribeToShard: its events as messages of an event stream, one at a time. */
import { setImmediate, setTimeout } from 'node:timers/promises';
import type { Bindings } from '../../http/server.ts';
import { whenAnswered } from '../../http/authentication.ts';
import { toErrorAnswer } from './answers.ts';
import { encodeMessage } from './event-stream.ts';
import type { Subscription } from './subscription.ts';
import { encodeAnswer, encodeWhole, type Format } from './wire.ts';

export const eventStreamType = 'application/vnd.amazon.eventstream';

/**
 * Passes before the first event, so that it seldom reaches a client in one piece with the message
 * before it: lifion-kinesis overlooks what is behind a message, and subscribes again.
 */
const firstEventDelayMs = 20;

/** What the service model lets a stream of events end with; everything else is an internal failure. */
const modeledErrors = new Set([
  'ResourceNotFoundException',
  'ResourceInUseException',
  'KMSInvalidStateException',
]);

export interface EventAnswerOptions {
  readonly format: Format;
  readonly headers: Readonly<Record<string, string>>;
  readonly env: Partial<Bindings> | undefined;
  /** Is told of what ended it that is ours to mend. */
  readonly failed: (error: unknown) => void;
}

/** Asks for an event when the client has taken the one before. */
export function eventResponse(subscription: Subscription, options: EventAnswerOptions): Response {
  const { headers, env } = options;
  const outgoing = env?.outgoing;
  subscription.connect(() => outgoing?.destroy());
  if (outgoing !== undefined) {
    whenAnswered(env, () => {
      subscription.close();
    });
  }
  const messages = messagesOf(subscription, options);
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const next = await messages.next();
        if (next.done !== true) controller.enqueue(next.value);
        else {
          // What the client has not got yet is still being sent; without a socket nobody says so.
          if (outgoing === undefined) subscription.close();
          controller.close();
        }
      },
      cancel() {
        subscription.close();
      },
    },
    { highWaterMark: 0 },
  );
  return new Response(body, { headers: { ...headers, 'content-type': eventStreamType } });
}

async function* messagesOf(
  subscription: Subscription,
  { format, failed }: EventAnswerOptions,
): AsyncGenerator<Buffer, void> {
  yield* message('event', 'initial-response', [encodeWhole(format.encoding, {})], format);
  try {
    await setTimeout(firstEventDelayMs);
    for (;;) {
      const event = await subscription.next();
      if (event === null) return;
      const payload: Buffer[] = [];
      for (const piece of encodeAnswer(format.encoding, event)) {
        if (payload.length > 0) await setImmediate();
        payload.push(piece);
      }
      subscription.holds(payload.reduce((sum, { length }) => sum + length, 0));
      yield* message('event', 'SubscribeToShardEvent', payload, format);
    }
  } catch (thrown) {
    const error = toErrorAnswer(thrown);
    // The gateway stops: a client that is told nothing comes back, and finds where it was.
    if (error.type === 'ServiceUnavailable') return;
    if (error.ours) failed(error.cause ?? thrown);
    const type = modeledErrors.has(error.type) ? error.type : 'InternalFailureException';
    const payload = encodeWhole(format.encoding, { message: error.message });
    yield* message('exception', type, [payload], format);
  } finally {
    subscription.end(null);
  }
}

/** In one piece where it is small: then it goes out at once. */
function message(
  kind: 'event' | 'exception',
  type: string,
  payload: readonly Buffer[],
  { contentType }: Format,
): readonly Buffer[] {
  const headers = {
    [`:${kind}-type`]: type,
    ':content-type': contentType,
    ':message-type': kind,
  };
  const pieces = encodeMessage(headers, payload);
  return payload.length > 1 ? pieces : [Buffer.concat(pieces)];
}
