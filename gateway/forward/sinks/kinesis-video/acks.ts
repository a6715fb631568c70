/**
 * Reads the acknowledgements of PutMedia: JSON objects one after the other, with nothing but white
 * space between them, in pieces of any size (Kinesis Video Streams Developer Guide, PutMedia).
 */
import { z } from 'zod';
import { SinkError, type MediaAck, type SinkErrorCode } from '../../sink.ts';
import { adviceFor } from '../advice.ts';

/** They have a few hundred bytes. */
const ackBytesMax = 8 * 1024;

const ackShape = z.object({
  EventType: z.enum(['BUFFERING', 'RECEIVED', 'PERSISTED', 'ERROR', 'IDLE']),
  FragmentTimecode: z.number().optional(),
  ErrorId: z.coerce.number().optional(),
  ErrorCode: z.string().max(256).optional(),
});

type Ack = z.infer<typeof ackShape>;

/** A fragment that is too large or too long, and always will be. */
const tooLarge = new Set([4001, 4002]);
/** Errors that are the fragment's: also out of order, or not readable. */
const ofFragment = new Set([...tooLarge, 4004, 4005, 4006, 4007, 4009, 4010, 4011]);

export class AckReader {
  #text = '';

  /** @throws SinkError `unavailable` for what is no acknowledgement */
  push(piece: Buffer): readonly MediaAck[] {
    this.#text += piece.toString('latin1');
    const acks: MediaAck[] = [];
    for (;;) {
      const end = this.#text.indexOf('}');
      if (end < 0) break;
      const ack = mediaAck(parse(this.#text.slice(0, end + 1)));
      if (ack !== null) acks.push(ack);
      this.#text = this.#text.slice(end + 1);
    }
    if (this.#text.length > ackBytesMax) throw unreadable(this.#text);
    return acks;
  }
}

function parse(text: string): Ack {
  try {
    return ackShape.parse(JSON.parse(text));
  } catch (error) {
    throw unreadable(text, error);
  }
}

/** null: it only tells of progress. */
function mediaAck({ EventType, FragmentTimecode, ErrorId = 0, ErrorCode }: Ack): MediaAck | null {
  if (EventType === 'PERSISTED' && FragmentTimecode !== undefined) {
    return { type: 'persisted', timecodeMs: FragmentTimecode };
  }
  if (EventType !== 'ERROR') return null;
  const reason = ErrorCode ?? `error ${ErrorId}`;
  const advice = adviceFor(reason, {
    ...{ service: 'kinesis-video', region: null, clockOffsetMs: null },
  });
  return {
    type: 'error',
    timecodeMs: FragmentTimecode ?? null,
    isOfFragment: ofFragment.has(ErrorId),
    error: new SinkError(codeOf(ErrorId), `${reason} (${ErrorId})`, { advice }),
  };
}

function codeOf(errorId: number): SinkErrorCode {
  if (tooLarge.has(errorId)) return 'too-large';
  if (ofFragment.has(errorId)) return 'rejected';
  if (errorId === 4000) return 'unreachable';
  if (errorId === 4008) return 'missing';
  return errorId >= 4500 && errorId < 4600 ? 'denied' : 'unavailable';
}

function unreadable(text: string, cause?: unknown): SinkError {
  const shown = JSON.stringify(text.slice(0, 100));
  return new SinkError('unavailable', `an acknowledgement that can't be read: ${shown}`, { cause });
}
