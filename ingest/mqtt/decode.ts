/**
 * What becomes of a payload: checked or transcoded by its route's decoder, and put into an envelope
 * when the route asks for one. What can't be decoded is kept as it came.
 */
import { isUtf8 } from 'node:buffer';
import { cborToJson } from './cbor.ts';
import { UndecodableError } from './errors.ts';

export type Decoder = 'json' | 'cbor' | 'text' | 'binary';

export interface Decoded {
  /** What is stored without an envelope. */
  readonly data: Buffer;
  /** The payload as a JSON value, for the envelope. */
  readonly json: () => string;
  /** The payload's value, for the partition key; undefined when it has no fields. */
  readonly value: () => unknown;
}

/** @throws UndecodableError */
export function decode(decoder: Decoder, payload: Buffer): Decoded {
  switch (decoder) {
    case 'json':
      return decodeJson(payload);
    case 'cbor': {
      const json = cborToJson(payload);
      return {
        data: Buffer.from(json),
        json: () => json,
        value: () => JSON.parse(json) as unknown,
      };
    }
    case 'text': {
      if (!isUtf8(payload)) throw new UndecodableError('not UTF-8');
      const text = payload.toString('utf8');
      return { data: payload, json: () => JSON.stringify(text), value: () => text };
    }
    case 'binary':
      return {
        data: payload,
        json: () => `"${payload.toString('base64')}"`,
        value: () => undefined,
      };
  }
}

function decodeJson(payload: Buffer): Decoded {
  if (!isUtf8(payload)) throw new UndecodableError('not UTF-8');
  const text = payload.toString('utf8');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new UndecodableError('not JSON', { cause: error });
  }
  // Within strings JSON escapes its line ends, so those left are white space: the envelope stays on
  // one line, and numbers keep every digit that was sent.
  return { data: payload, json: () => text.replace(/[\r\n]/g, ' '), value: () => value };
}

export interface Envelope {
  readonly topic: string;
  readonly receivedMs: number;
}

/** `{"topic", "receivedAt", "payload"}`: the payload as JSON value, text, or base64 if binary. */
export function inEnvelope(envelope: Envelope, decoded: Decoded): Buffer {
  return Buffer.from(`${opening(envelope)}"payload":${decoded.json()}}`);
}

/** The same for what could not be decoded: base64, and why. */
export function inEnvelopeRaw(envelope: Envelope, payload: Buffer, problem: string): Buffer {
  const rest = `"payload":"${payload.toString('base64')}","undecodable":${JSON.stringify(problem)}}`;
  return Buffer.from(opening(envelope) + rest);
}

function opening(envelope: Envelope): string {
  const receivedAt = new Date(envelope.receivedMs).toISOString();
  return `{"topic":${JSON.stringify(envelope.topic)},"receivedAt":"${receivedAt}",`;
}
