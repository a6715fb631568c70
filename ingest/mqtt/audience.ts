/**
 * Who listens: the subscriptions of connected clients and those that sessions queue for, counted by
 * filter. A message that nobody hears needs no broker between its device and the log.
 */
import { TopicTree } from './topics.ts';

const TOPICS_CACHED_MAX = 4096;

export class Audience {
  readonly #counts = new Map<string, number>();
  readonly #tree = new TopicTree<true>();
  /** Answers for the topics asked about lately; forgotten as a whole when it is full or may be wrong. */
  readonly #known = new Map<string, boolean>();

  add(filter: string): void {
    const count = this.#counts.get(filter) ?? 0;
    this.#counts.set(filter, count + 1);
    if (count > 0) return;
    this.#tree.add(filter, true);
    this.#known.clear();
  }

  remove(filter: string): void {
    const count = this.#counts.get(filter) ?? 0;
    if (count > 1) {
      this.#counts.set(filter, count - 1);
    } else if (count === 1) {
      this.#counts.delete(filter);
      this.#tree.remove(filter, true);
      this.#known.clear();
    }
  }

  hears(topic: string): boolean {
    let heard = this.#known.get(topic);
    if (heard === undefined) {
      if (this.#known.size >= TOPICS_CACHED_MAX) this.#known.clear();
      heard = this.#tree.match(topic).length > 0;
      this.#known.set(topic, heard);
    }
    return heard;
  }
}
