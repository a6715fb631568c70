/**
 * Gives pictures their decode times. Matroska has them in the order of decoding, each with the time
 * at which it is shown; MP4 wants both times.
 *
 * The decode times of a fragment are the times of its pictures, sorted, all moved back so far that
 * the first ones are decoded before they are shown; later ones are moved where they are not. What comes n-th in that order is known when as many more
 * pictures are there as are reordered at once; how many that is shows in the pictures themselves,
 * the first eight of a run at least. Where more are reordered later on, decode times are off for a
 * while; when a picture is shown is always right, since the difference goes with it.
 *
 * A fragment is complete in itself: its pictures are shown before those of the next.
 */

export interface ShownFrame {
  readonly shownTicks: number;
  /** null: until the next one. */
  readonly durationTicks: number | null;
  readonly keyframe: boolean;
  readonly bytes: Buffer;
}

export interface OrderedFrame {
  readonly frame: ShownFrame;
  readonly decodeTicks: number;
  readonly durationTicks: number;
}

/** Pictures of a run that are looked at before the first one goes on. */
const firstLook = 8;
/** No decoder has room for more (H.264, annex A; H.265, annex A). */
const reorderedMax = 16;

export class DecodeOrder {
  readonly #lastDurationTicksMax: number;
  readonly #defaultTicks: number;
  #reordered = 0;
  #delayTicks: number | null = null;
  #lastDecodeTicks = -Infinity;
  /** Of the next picture; null: its fragment begins with it. */
  #nextDecodeTicks: number | null = null;
  /** Of the last picture that went on, for one of which nothing is said. */
  #usualTicks: number | null = null;
  /** In the order of decoding; `#sorted` has their times, sorted. */
  #waiting: ShownFrame[] = [];
  #sorted: number[] = [];
  /** Times of the last pictures of the fragment, those that went on too. */
  #recent: number[] = [];

  /**
   * @param defaultTicks what a picture lasts of which nothing is known
   * @param lastDurationTicksMax how long the last picture of a fragment lasts at most, as the one
   *   before it did
   */
  constructor(defaultTicks: number, lastDurationTicksMax: number) {
    this.#defaultTicks = defaultTicks;
    this.#lastDurationTicksMax = lastDurationTicksMax;
  }

  /** Takes the next picture and yields those whose times are known now. */
  *push(frame: ShownFrame): Generator<OrderedFrame, void> {
    const { shownTicks } = frame;
    const later = this.#recent.filter((ticks) => ticks > shownTicks).length;
    this.#reordered = Math.min(reorderedMax, Math.max(this.#reordered, later));
    this.#recent.push(shownTicks);
    if (this.#recent.length > 2 * reorderedMax) this.#recent.shift();
    this.#waiting.push(frame);
    let at = this.#sorted.length;
    while (at > 0 && (this.#sorted[at - 1] ?? 0) > shownTicks) at -= 1;
    this.#sorted.splice(at, 0, shownTicks);
    for (;;) {
      const enough = this.#reordered + 2;
      const wanted = this.#delayTicks === null ? Math.max(enough, firstLook) : enough;
      if (this.#waiting.length < wanted) return;
      yield* this.#next();
    }
  }

  /** The fragment ends: yields what is left of it. */
  *flush(): Generator<OrderedFrame, void> {
    while (this.#waiting.length > 0) yield* this.#next();
    this.#recent = [];
  }

  *#next(): Generator<OrderedFrame, void> {
    this.#delayTicks ??= this.#delay();
    // Where the one before it was said to end: the times in a chunk follow from each other.
    const decodeTicks =
      this.#nextDecodeTicks ?? Math.max(this.#wanted(0), this.#lastDecodeTicks + 1);
    const isLast = this.#waiting.length === 1;
    const nextTicks = isLast ? null : Math.max(this.#wanted(1), decodeTicks + 1);
    this.#sorted.shift();
    const frame = this.#waiting.shift();
    if (frame === undefined) return;
    const durationTicks = nextTicks === null ? this.#lastDuration(frame) : nextTicks - decodeTicks;
    this.#lastDecodeTicks = decodeTicks;
    this.#nextDecodeTicks = nextTicks;
    if (!isLast) this.#usualTicks = durationTicks;
    yield { frame, decodeTicks, durationTicks };
  }

  /**
   * When a picture that waits should be decoded: in its place, and before it and all after it are
   * shown. Where pictures are missing a place is too late for that; and players that meet a picture
   * which is shown before it is decoded move all others instead.
   */
  #wanted(index: number): number {
    const placeTicks = (this.#sorted[index] ?? Infinity) - (this.#delayTicks ?? 0);
    const shown = this.#waiting.slice(index).map(({ shownTicks }, after) => shownTicks - after);
    return Math.min(placeTicks, ...shown);
  }

  /** How far decode times are before the sorted ones; of those pictures whose place is sure. */
  #delay(): number {
    const sure = this.#waiting.slice(0, Math.max(1, this.#waiting.length - this.#reordered));
    return Math.max(
      0,
      ...sure.map(({ shownTicks }, index) => (this.#sorted[index] ?? shownTicks) - shownTicks),
    );
  }

  #lastDuration({ durationTicks }: ShownFrame): number {
    const usual = Math.min(this.#usualTicks ?? this.#defaultTicks, this.#lastDurationTicksMax);
    return Math.max(1, durationTicks ?? usual);
  }
}
