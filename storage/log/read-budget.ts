/**
 * Bounds what reads from the disk hold in memory at a time, however many there are: who asks for
 * more than is left waits, in the order of asking.
 */
export class ReadBudget {
  readonly #maxBytes: number;
  readonly #waiting: { readonly bytes: number; readonly go: () => void }[] = [];
  #usedBytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /**
   * Resolves with what gives the bytes back, to be called once. More than there is at all counts as
   * all of it.
   */
  async take(bytes: number): Promise<() => void> {
    const share = Math.min(bytes, this.#maxBytes);
    if (this.#waiting.length > 0 || this.#usedBytes + share > this.#maxBytes) {
      await new Promise<void>((go) => this.#waiting.push({ bytes: share, go }));
    } else {
      this.#usedBytes += share;
    }
    return () => {
      this.#usedBytes -= share;
      this.#letGo();
    };
  }

  #letGo(): void {
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      if (this.#usedBytes + next.bytes > this.#maxBytes) return;
      this.#waiting.shift();
      this.#usedBytes += next.bytes;
      next.go();
    }
  }
}
