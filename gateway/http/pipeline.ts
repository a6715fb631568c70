/**
 * The requests of one HTTP/1.1 connection, answered one after the other (RFC 9112, section 9.3.2).
 *
 * Node hands over at once all requests that arrive together. A client that sends two hundred in a
 * row and reads nothing would have two hundred answers made and held for it; here the next answer
 * is begun only when the one before has been sent.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** More than this waiting in one connection, and it is cut: no client of ours pipelines at all. */
const waitingMax = 32;

export class Pipelines {
  /** What waits, by connection; the first has begun. */
  readonly #bySocket = new WeakMap<Socket, (() => void)[]>();

  /**
   * Begins the answer when its turn has come.
   * @returns false when too many wait: the connection is to be cut
   */
  enter(incoming: IncomingMessage, outgoing: ServerResponse, begin: () => void): boolean {
    const { socket } = incoming;
    const queue = this.#bySocket.get(socket) ?? [];
    if (queue.length > waitingMax) return false;
    this.#bySocket.set(socket, queue);
    outgoing.once('close', () => {
      queue.shift();
      // After a cut connection nobody waits for the rest.
      if (!socket.destroyed) queue[0]?.();
    });
    queue.push(begin);
    if (queue.length === 1) begin();
    return true;
  }
}
