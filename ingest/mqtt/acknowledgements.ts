import type { Writable } from 'node:stream';

/**
 * The answers that are a message id and nothing else (PUBACK, PUBREC, PUBCOMP; OASIS MQTT 3.1.1, 3.4
 * to 3.7, and MQTT 5 where all is well), written in one go at the end of the turn, in their order.
 */
export class Acknowledgements {
  readonly #stream: Writable;
  #answers: number[] = [];

  constructor(stream: Writable) {
    this.#stream = stream;
  }

  add(type: number, messageId: number): void {
    if (this.#answers.length === 0) queueMicrotask(() => this.flush());
    this.#answers.push(((type << 4) << 24) | (2 << 16) | messageId);
  }

  flush(): void {
    const answers = this.#answers;
    if (answers.length === 0) return;
    this.#answers = [];
    if (this.#stream.destroyed || this.#stream.writableEnded) return;
    const bytes = Buffer.allocUnsafe(4 * answers.length);
    let at = 0;
    for (const answer of answers) at = bytes.writeInt32BE(answer, at);
    this.#stream.write(bytes);
  }
}
