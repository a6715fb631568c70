/**
 * What batch sinks do when a batch can't go out as it is: in pieces that the destination takes, or
 * one write to a key at a time.
 */
import { isOfRecords, SinkError, type Outcomes } from '../sink.ts';

/** After as many pieces that were taken, larger ones are tried again. */
const piecesBeforeLarger = 100;

/**
 * Sends items in pieces of limited size. A piece that the destination calls too large is halved,
 * down to the single item that it refuses for good; how much it did take is remembered for the next
 * batches, and forgotten by and by.
 */
export class Pieces {
  readonly #longestBytes: number;
  readonly #isolating: boolean;
  #maxBytes: number;
  #taken = 0;

  /**
   * @param maxBytes of a piece; an item that is longer goes by itself
   * @param isolating halves a piece that was `rejected`, too, to find the item that is meant
   */
  constructor(maxBytes: number, { isolating }: { readonly isolating: boolean }) {
    this.#longestBytes = maxBytes;
    this.#isolating = isolating;
    this.#maxBytes = maxBytes;
  }

  /**
   * One piece after the other, in order; those behind one that failed as a whole are not tried.
   *
   * @param bytesOf what an item counts, more than 0
   * @param send throws a SinkError when nothing of the piece is known to have been taken
   * @throws SinkError when that is true of all
   */
  async send<T>(
    items: readonly T[],
    bytesOf: (item: T) => number,
    send: (piece: readonly T[]) => Promise<Outcomes>,
  ): Promise<Outcomes> {
    const outcomes: (SinkError | null)[] = [];
    const pieces = cut(items, bytesOf, this.#maxBytes);
    for (let piece = pieces.shift(); piece !== undefined; piece = pieces.shift()) {
      try {
        outcomes.push(...(await send(piece)));
        this.#wasTaken();
      } catch (error) {
        if (!(error instanceof SinkError)) throw error;
        const halves = this.#halves(piece, bytesOf, error);
        if (halves !== null && piece.length === 1) {
          outcomes.push(error);
        } else if (halves !== null) {
          pieces.unshift(...halves);
        } else {
          if (outcomes.length === 0) throw error;
          while (outcomes.length < items.length) outcomes.push(error);
          return outcomes;
        }
      }
    }
    return outcomes;
  }

  /** What to try instead; null: smaller pieces are no better. */
  #halves<T>(piece: readonly T[], bytesOf: (item: T) => number, error: SinkError): T[][] | null {
    if (error.code === 'too-large') {
      const bytes = piece.reduce((sum, item) => sum + bytesOf(item), 0);
      if (piece.length > 1) this.#maxBytes = Math.min(this.#maxBytes, Math.ceil(bytes / 2));
      this.#taken = 0;
      return cut(piece, bytesOf, this.#maxBytes);
    }
    if (error.code !== 'rejected' || !this.#isolating) return null;
    return cut(piece, () => 1, Math.ceil(piece.length / 2));
  }

  #wasTaken(): void {
    this.#taken += 1;
    if (this.#taken < piecesBeforeLarger) return;
    this.#taken = 0;
    this.#maxBytes = Math.min(this.#longestBytes, this.#maxBytes * 2);
  }
}

/** In order, as few pieces as fit; an item that is longer than a piece is one. */
export function cut<T>(
  items: readonly T[],
  bytesOf: (item: T) => number,
  maxBytes: number,
  maxItems = Infinity,
): T[][] {
  const pieces: T[][] = [];
  let bytes = 0;
  for (const item of items) {
    const itemBytes = bytesOf(item);
    const last = pieces.at(-1);
    if (last === undefined || bytes + itemBytes > maxBytes || last.length >= maxItems) {
      pieces.push([item]);
      bytes = itemBytes;
    } else {
      last.push(item);
      bytes += itemBytes;
    }
  }
  return pieces;
}

/**
 * Sends at most one item of each key, the one that counts in the end: the first where a later one
 * would not be taken any more, the last where it would replace the earlier ones. The others of its
 * key fare as it does, and only when it is refused for good it is the next one's turn. So whatever
 * fails and comes again, the order within a key is kept.
 *
 * @param send throws a SinkError when nothing is known to have been taken
 * @throws SinkError when that is true of all
 */
export async function oneOfEachKey<T extends object>(
  items: readonly T[],
  keyOf: (item: T) => string,
  counts: 'first' | 'last',
  send: (items: readonly T[]) => Promise<Outcomes>,
): Promise<Outcomes> {
  const outcomes = new Map<T, SinkError | null>();
  const waiting = new Map<string, T[]>();
  for (const item of counts === 'first' ? items : items.toReversed()) {
    const key = keyOf(item);
    const others = waiting.get(key);
    if (others === undefined) waiting.set(key, [item]);
    else others.push(item);
  }
  while (waiting.size > 0) {
    const chosen = new Set([...waiting.values()].flatMap(([first]) => first ?? []));
    const round = items.filter((item) => chosen.has(item));
    const results = await send(round).catch((error: unknown) => {
      if (!(error instanceof SinkError) || outcomes.size === 0) throw error;
      return round.map(() => error);
    });
    for (const [index, item] of round.entries()) {
      const outcome = results[index] ?? null;
      const key = keyOf(item);
      const same = waiting.get(key) ?? [];
      if (isOfRecords(outcome) && same.length > 1) {
        outcomes.set(item, outcome);
        waiting.set(key, same.slice(1));
      } else {
        for (const one of same) outcomes.set(one, outcome);
        waiting.delete(key);
      }
    }
  }
  return items.map((item) => outcomes.get(item) ?? null);
}
