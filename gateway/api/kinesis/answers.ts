/** HTTP answers of the AWS APIs: small ones at once, large ones piece by piece, errors in kind. */
import { setImmediate } from 'node:timers/promises';
import { AwsAuthError } from '../../security/aws-error.ts';
import { toKinesisError } from './errors.ts';
import { encodeAnswer, encodeWhole, type Format } from './wire.ts';

type Headers = Readonly<Record<string, string>>;

/** What the service speaks where it does not know what the client speaks. */
export const fallbackFormat: Format = {
  encoding: 'cbor',
  contentType: 'application/x-amz-cbor-1.1',
};

/**
 * The answer of an operation; one without members has no body.
 * @param hold called when the answer is so large that it is sent in pieces, before the first
 */
export function answerResponse(
  answer: object,
  { encoding, contentType }: Format,
  headers: Headers,
  hold: () => void,
): Response {
  const init = { headers: { ...headers, 'content-type': contentType } };
  if (Object.keys(answer).length === 0) return new Response('', init);
  const pieces = encodeAnswer(encoding, answer);
  const first = pieces.next();
  if (first.done === true) throw new Error('an answer without a piece');
  const second = pieces.next();
  if (second.done === true) return new Response(toBody(first.value), init);
  hold();
  return new Response(bodyOf([first.value, second.value], pieces), init);
}

function toBody(bytes: Buffer): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.length);
}

/** Makes a piece when the client has taken the last one, and lets others have a turn before each. */
function bodyOf(
  begun: readonly Buffer[],
  rest: Generator<Buffer, void>,
): ReadableStream<Uint8Array> {
  const waiting = [...begun];
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const ready = waiting.shift();
        if (ready !== undefined) {
          controller.enqueue(ready);
          return;
        }
        await setImmediate();
        const next = rest.next();
        if (next.done === true) controller.close();
        else controller.enqueue(next.value);
      },
      cancel() {
        rest.return();
      },
    },
    { highWaterMark: 0 },
  );
}

export interface ErrorAnswer {
  readonly type: string;
  readonly message: string;
  readonly status: number;
  /** It is ours to mend, and so belongs in the log. */
  readonly ours: boolean;
  readonly cause: unknown;
}

/** Those of the authenticator and the authorizer say themselves how they are answered. */
export function toErrorAnswer(thrown: unknown): ErrorAnswer {
  if (thrown instanceof AwsAuthError) {
    const { type, message, status } = thrown;
    return { type, message, status, ours: false, cause: undefined };
  }
  const { type, message, status, ours, cause } = toKinesisError(thrown);
  return { type, message, status, ours, cause };
}

const accessErrors = new Set<string>([
  'MissingAuthenticationTokenException',
  'IncompleteSignatureException',
  'InvalidSignatureException',
  'UnrecognizedClientException',
  'AccessDeniedException',
]);

/**
 * In the encoding of the request. A request of no known encoding gets what the service sends: XML
 * when it is not let in, else CBOR.
 * @param format null: none of ours
 */
export function errorResponse(
  { type, message, status }: ErrorAnswer,
  format: Format | null,
  headers: Headers,
): Response {
  if (format === null && accessErrors.has(type)) {
    const body = `<${type}>\n  <Message>${xmlText(message)}</Message>\n</${type}>\n`;
    return new Response(body, { status: 403, headers: { ...headers, 'content-type': 'text/xml' } });
  }
  const { encoding, contentType } = format ?? fallbackFormat;
  // The service writes this one word with a capital in errors of types.
  const key = type === 'SerializationException' ? 'Message' : 'message';
  const answer = { __type: type, ...(message === '' ? {} : { [key]: message }) };
  return new Response(toBody(encodeWhole(encoding, answer)), {
    status,
    headers: { ...headers, 'content-type': contentType },
  });
}

function xmlText(text: string): string {
  return text.replace(/[<>&'"]/g, (character) => `&#${character.charCodeAt(0)};`);
}
