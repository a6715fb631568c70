/**
 * What splits and merges make of the shards of a stream, worked out in memory: nothing here knows
 * of tables.
 *
 * Invariants
 * - The open pieces divide the hash keys without a gap or an overlap, before and after each step.
 * - A piece has at most two parents and two children, as in the service model.
 * - It is closed at the moment at which its children are made, which lies in a later second than
 *   that in which it was made: sequence numbers outside begin with the second.
 */
import { StorageError } from '../errors.ts';
import { evenRanges, hashKeyMax } from './hash-keys.ts';

/** A shard that is there, or is to be made. */
export interface Piece {
  readonly index: number;
  readonly first: bigint;
  readonly last: bigint;
  readonly parents: readonly number[];
  readonly createdMs: number;
  closedMs: number | null;
  /** Indexes of the shards that were there before and that it comes from, itself if it was. */
  readonly origins: ReadonlySet<number>;
}

export type OpenShard = Pick<Piece, 'index' | 'first' | 'last' | 'createdMs'>;

export class Reshape {
  /** Shards that were there and are closed now. */
  readonly closed: Piece[] = [];
  /** New shards in the order of their index; some may be closed again. */
  readonly added: Piece[] = [];
  readonly #open = new Map<number, Piece>();
  readonly #firstIndex: number;
  readonly #nowMs: number;

  constructor(open: readonly OpenShard[], nextIndex: number, nowMs: number) {
    for (const { index, first, last, createdMs } of open) {
      const rest = { parents: [], closedMs: null, origins: new Set([index]) };
      this.#open.set(index, { index, first, last, createdMs, ...rest });
    }
    this.#firstIndex = nextIndex;
    this.#nowMs = nowMs;
  }

  get openShards(): number {
    return this.#open.size;
  }

  /** @throws StorageError `not-found`, `invalid-argument` */
  split(index: number, at: bigint): void {
    const piece = this.#openPiece(index);
    if (at <= piece.first || at > piece.last) {
      throw new StorageError(
        'invalid-argument',
        `shard ${index} owns the hash keys ${piece.first} to ${piece.last}: it can't be split at ${at}`,
      );
    }
    this.#cut(piece, at);
  }

  /** @throws StorageError `not-found`, `invalid-argument` */
  merge(index: number, adjacentIndex: number): void {
    const piece = this.#openPiece(index);
    const adjacent = this.#openPiece(adjacentIndex);
    if (piece.last + 1n !== adjacent.first && adjacent.last + 1n !== piece.first) {
      throw new StorageError(
        'invalid-argument',
        `the hash keys of the shards ${index} and ${adjacentIndex} are no neighbours`,
      );
    }
    this.#join(piece, adjacent);
  }

  /** Splits and merges until `count` pieces are as even as they can be. */
  spread(count: number): void {
    const ranges = evenRanges(count);
    const begins = ranges.slice(1).map(({ first }) => first);
    let next = 0;
    for (const piece of this.#inOrder()) {
      const from = next;
      while ((begins[next] ?? hashKeyMax) <= piece.last && next < begins.length) next += 1;
      this.#cutAll(
        piece,
        begins.slice(from, next).filter((begin) => begin > piece.first),
      );
    }
    const pieces = this.#inOrder();
    let at = 0;
    for (const { last } of ranges) {
      const from = at;
      while ((pieces[at]?.last ?? hashKeyMax + 1n) <= last) at += 1;
      this.#joinAll(pieces.slice(from, at));
    }
  }

  #inOrder(): Piece[] {
    return [...this.#open.values()].sort((a, b) => (a.first < b.first ? -1 : 1));
  }

  /** In halves, so that few generations lie between the first and the last. */
  #cutAll(piece: Piece, begins: readonly bigint[]): void {
    const middle = begins.length >> 1;
    const begin = begins[middle];
    if (begin === undefined) return;
    const [left, right] = this.#cut(piece, begin);
    this.#cutAll(left, begins.slice(0, middle));
    this.#cutAll(right, begins.slice(middle + 1));
  }

  #joinAll(pieces: readonly Piece[]): void {
    for (let row = pieces; row.length > 1;) {
      const pairs = Array.from({ length: Math.ceil(row.length / 2) }, (_, pair) =>
        row.slice(2 * pair, 2 * pair + 2),
      );
      row = pairs.flatMap(([left, right]) =>
        left === undefined ? [] : [right === undefined ? left : this.#join(left, right)],
      );
    }
  }

  #cut(piece: Piece, at: bigint): [Piece, Piece] {
    const madeMs = this.#close([piece]);
    const left = this.#make([piece], { first: piece.first, last: at - 1n }, madeMs);
    return [left, this.#make([piece], { first: at, last: piece.last }, madeMs)];
  }

  #join(piece: Piece, adjacent: Piece): Piece {
    const madeMs = this.#close([piece, adjacent]);
    const [low, high] = piece.first < adjacent.first ? [piece, adjacent] : [adjacent, piece];
    return this.#make([piece, adjacent], { first: low.first, last: high.last }, madeMs);
  }

  /** @returns when */
  #close(pieces: readonly Piece[]): number {
    const newestMs = Math.max(...pieces.map(({ createdMs }) => createdMs));
    const closedMs = Math.max(this.#nowMs, (Math.floor(newestMs / 1000) + 1) * 1000);
    for (const piece of pieces) {
      piece.closedMs = closedMs;
      this.#open.delete(piece.index);
      if (piece.index < this.#firstIndex) this.closed.push(piece);
    }
    return closedMs;
  }

  #make(
    parents: readonly Piece[],
    range: { readonly first: bigint; readonly last: bigint },
    createdMs: number,
  ): Piece {
    const piece: Piece = {
      index: this.#firstIndex + this.added.length,
      ...range,
      parents: parents.map(({ index }) => index),
      createdMs,
      closedMs: null,
      origins: new Set(parents.flatMap(({ origins }) => [...origins])),
    };
    this.added.push(piece);
    this.#open.set(piece.index, piece);
    return piece;
  }

  #openPiece(index: number): Piece {
    const piece = this.#open.get(index);
    if (piece !== undefined) return piece;
    const wasThere = index >= 0 && index < this.#firstIndex;
    throw wasThere
      ? new StorageError('invalid-argument', `shard ${index} is closed`)
      : new StorageError('not-found', `there is no shard ${index}`);
  }
}
