/** What of a shard was read and is not done: the checkpoint is before the first of it. */
export class Outstanding {
  /** Sequence numbers in order. */
  #order: number[] = [];
  #first = 0;
  readonly #done = new Set<number>();
  #readTo: number;

  constructor(from: number) {
    this.#readTo = from;
  }

  /** All before it is done. */
  get position(): number {
    return this.#order[this.#first] ?? this.#readTo;
  }

  add(sequence: number): void {
    this.#order.push(sequence);
  }

  /** What was not added before it needs nothing done. */
  readTo(position: number): void {
    this.#readTo = position;
  }

  done(sequence: number): void {
    this.#done.add(sequence);
    for (let next = this.#order[this.#first]; next !== undefined; next = this.#order[this.#first]) {
      if (!this.#done.delete(next)) break;
      this.#first += 1;
    }
    if (this.#first > 1_000 && this.#first * 2 > this.#order.length) {
      this.#order = this.#order.slice(this.#first);
      this.#first = 0;
    }
  }
}
