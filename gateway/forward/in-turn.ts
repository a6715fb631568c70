/** Does one thing after the other; what fails holds up nothing behind it. */
export class InTurn {
  #last: Promise<unknown> = Promise.resolve();

  /** @throws whatever `work` throws */
  run<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => undefined);
    return turn;
  }
}
