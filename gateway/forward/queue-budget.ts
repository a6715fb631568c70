/**
 * The memory for records that are read and not yet taken by a record sink, of all deliveries
 * together. Each queue can always hold a little, so that one whose destination hangs keeps none
 * other from going on; what is beyond that comes out of one purse. A queue that gets nothing more
 * reads on when its oldest records are taken: the log is the buffer.
 */
const ownBytes = 256 * 1024;

export class QueueBudget {
  #left: number;

  /** @param totalBytes beyond what each queue can always hold */
  constructor(totalBytes: number) {
    this.#left = totalBytes;
  }

  /** How much more a queue may hold that holds `heldBytes` now. */
  roomFor(heldBytes: number): number {
    return Math.max(0, ownBytes - heldBytes) + Math.max(0, this.#left);
  }

  /** A queue has changed what it holds. What was read at once may go beyond its room. */
  change(fromBytes: number, toBytes: number): void {
    this.#left += beyondOwn(fromBytes) - beyondOwn(toBytes);
  }
}

function beyondOwn(bytes: number): number {
  return Math.max(0, bytes - ownBytes);
}
