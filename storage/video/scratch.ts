/**
 * Memory that is used again and again: for who looks at one fragment after the other and keeps
 * nothing of it. Without it the megabytes of each would have to be collected.
 */
export class Scratch {
  readonly #buffers = { stored: Buffer.alloc(0), plain: Buffer.alloc(0) };

  /** So many bytes with anything in them; what was taken for the same before is gone. */
  take(what: 'stored' | 'plain', bytes: number): Buffer {
    if (this.#buffers[what].length < bytes) this.#buffers[what] = Buffer.allocUnsafeSlow(bytes);
    return this.#buffers[what].subarray(0, bytes);
  }
}
