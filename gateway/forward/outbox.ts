/**
 * The fragments of a camera that a media sink has not confirmed yet, in order, and how far the
 * delivery has come by that.
 *
 * The checkpoint is a media file's. What was confirmed of the next one is kept beside it, as an
 * attribute of the camera: after a restart none of it is sent again.
 */
import { z } from 'zod';
import type { Fragment, Plan } from '../../storage/model.ts';
import type { Worker } from './attempts.ts';
import { footageOf, type FootageStep } from './footage.ts';

/** Fragments that are on their way at once, at most. */
const awaitedMax = 16;

export interface Outgoing {
  readonly fragment: Fragment;
  /** Of its first picture, as it is sent and acknowledged. */
  readonly timecodeMs: number;
  /** As it was sent; 0 before. */
  sizeBytes: number;
  /** Over the connection that is open. */
  isSent: boolean;
  isDone: boolean;
  refusals: number;
  /** The checkpoint behind it: it is the last of its media file. */
  position: number | null;
}

const placeShape = z.object({ checkpoint: z.number(), number: z.number() });

export interface OutboxOptions {
  readonly cameraId: number;
  readonly camera: string;
  /** Names the attribute. */
  readonly application: string;
}

export class Outbox {
  readonly #worker: Worker;
  readonly #options: OutboxOptions;
  readonly #stop = new AbortController();
  readonly #steps: AsyncGenerator<FootageStep, void>;
  readonly #waiting: Outgoing[] = [];
  /** The last one that was confirmed before the start. */
  readonly #after: number;
  /** Of an upload to where the delivery went before: it keeps footage from being deleted. */
  #oldPlan: Plan | null;
  #pulling: Promise<void> | null = null;
  #isEnded = false;
  #wake: () => void = () => undefined;

  private constructor(
    worker: Worker,
    options: OutboxOptions,
    place: { readonly after: number; readonly oldPlan: Plan | null },
  ) {
    this.#worker = worker;
    this.#options = options;
    this.#after = place.after;
    this.#oldPlan = place.oldPlan;
    const signal = AbortSignal.any([worker.signal, this.#stop.signal]);
    const camera = { id: options.cameraId, name: options.camera };
    this.#steps = footageOf({ ...worker, signal }, camera);
  }

  /** @throws StorageError `not-found` */
  static async open(worker: Worker, options: OutboxOptions): Promise<Outbox> {
    const { attributes } = await worker.video.camera(options.camera);
    const place = placeShape.safeParse(attributes[options.application]);
    const isOurs = place.success && place.data.checkpoint === worker.lease.checkpoint;
    return new Outbox(worker, options, {
      after: isOurs ? place.data.number : -1,
      oldPlan: await worker.lease.plan(),
    });
  }

  /** Those that were sent over the connection that is open. */
  get awaited(): readonly Outgoing[] {
    return this.#waiting.filter(({ isSent, isDone }) => isSent && !isDone);
  }

  /** Resolves when another one may be sent. */
  async room(): Promise<void> {
    while (this.awaited.length >= awaitedMax) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** The first that was not sent over this connection, once there is one; null: no more will come. */
  async next(): Promise<Outgoing | null> {
    for (;;) {
      const next = this.#waiting.find(({ isSent, isDone }) => !isSent && !isDone);
      if (next !== undefined || this.#isEnded) return next ?? null;
      this.#pulling ??= this.#pull().finally(() => {
        this.#pulling = null;
      });
      await this.#pulling;
    }
  }

  /** Another connection is opened: what is not confirmed goes again. */
  rewind(): void {
    for (const outgoing of this.#waiting) outgoing.isSent = false;
  }

  /** The one that was sent with a time, and is not done; undefined: there is none. */
  awaitedAt(timecodeMs: number): Outgoing | undefined {
    return this.awaited.find((outgoing) => outgoing.timecodeMs === timecodeMs);
  }

  /** Has done with one, and keeps how far everything before it has come. @throws StorageError */
  async done(outgoing: Outgoing): Promise<void> {
    outgoing.isDone = true;
    this.#wake();
    let position: number | null = null;
    let number: number | null = null;
    while (this.#waiting[0]?.isDone === true) {
      const first = this.#waiting.shift();
      position = first?.position ?? position;
      number = first?.position === null ? first.fragment.number : null;
    }
    const { lease, video } = this.#worker;
    if (position !== null) await this.#advance(position);
    if (number === null) return;
    const { camera, application } = this.#options;
    const { checkpoint } = lease;
    await video.setCameraAttribute(camera, application, { checkpoint, number });
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#pulling?.catch(() => undefined);
    await this.#steps.return();
  }

  /** Takes the next step of the footage in. */
  async #pull(): Promise<void> {
    const step = await this.#steps.next();
    if (step.done === true) {
      this.#isEnded = true;
      return;
    }
    if (step.value.kind === 'fragment') {
      const { fragment } = step.value;
      if (fragment.number <= this.#after) return;
      this.#waiting.push({
        ...{ fragment, timecodeMs: Math.floor(fragment.startUs / 1000) },
        ...{ sizeBytes: 0, isSent: false, isDone: false, refusals: 0, position: null },
      });
      return;
    }
    const last = this.#waiting.at(-1);
    if (last !== undefined) last.position = step.value.position;
    else await this.#advance(step.value.position);
  }

  async #advance(position: number): Promise<void> {
    const { lease } = this.#worker;
    await lease.advance(position);
    if (this.#oldPlan === null || position < this.#oldPlan.to) return;
    await lease.completePlan();
    this.#oldPlan = null;
  }
}
