/** The inits of some fragments, each fetched once. */
import type { Init, VideoStore } from '../../../storage/model.ts';

export class Inits {
  readonly #inits: ReadonlyMap<number, Init>;

  private constructor(inits: ReadonlyMap<number, Init>) {
    this.#inits = inits;
  }

  /** @throws StorageError */
  static async of(video: VideoStore, rows: readonly { readonly initId: number }[]): Promise<Inits> {
    const inits = new Map<number, Init>();
    for (const id of new Set(rows.map(({ initId }) => initId))) inits.set(id, await video.init(id));
    return new Inits(inits);
  }

  /** Whether all that these rows need were fetched. */
  covers(rows: readonly { readonly initId: number }[]): boolean {
    return rows.every(({ initId }) => this.#inits.has(initId));
  }

  /** One that was fetched. */
  get(id: number): Init {
    const init = this.#inits.get(id);
    if (init === undefined) throw new Error(`init ${id} was not fetched`);
    return init;
  }
}
