/**
 * The state of a shard's open window, kept with the position that it is of: after a crash the one
 * counts whose records the checkpoint has passed.
 *
 * A state is written before the checkpoint moves over its records, and in another of two places than
 * the one before it. So at every moment one of them is whole and fits the checkpoint. The places are
 * plans of two applications of their own, with the state as their output: it is encrypted as the
 * shard's stream is, and gone with the shard. A plan holds back one record from being deleted.
 */
import type { Applications, SourceKey } from '../../storage/model.ts';
import type { LeaseKeeper } from '../forward/lease-keeper.ts';
import type { OpenWindow } from './settle.ts';

/** A piece of a plan's output has at most 1 MiB. */
const pieceBytes = 2 ** 20;

interface Kept {
  readonly at: number;
  readonly startMs: number;
  readonly endMs: number;
}

export class WindowStates {
  readonly #places: readonly LeaseKeeper[];
  readonly #nowMs: () => number;
  /** Which place has the newest state. */
  #newest = 0;

  /** @param places two */
  constructor(places: readonly LeaseKeeper[], nowMs: () => number) {
    this.#places = places;
    this.#nowMs = nowMs;
  }

  /** The window that was open at a checkpoint; null: none was. @throws StorageError */
  async open(checkpoint: number): Promise<OpenWindow | null> {
    let newest: { readonly kept: Kept; readonly state: string } | null = null;
    for (const [index, place] of this.#places.entries()) {
      const kept = keptIn((await place.plan())?.detail);
      const pieces = kept === null ? null : await place.planOutput();
      if (kept === null || pieces === null || kept.at > checkpoint) continue;
      if (newest !== null && newest.kept.at > kept.at) continue;
      const all: Buffer[] = [];
      for await (const piece of pieces) all.push(piece);
      newest = { kept, state: Buffer.concat(all).toString('utf8') };
      this.#newest = index;
    }
    if (newest === null) return null;
    const { startMs, endMs } = newest.kept;
    return { startMs, endMs, agesFromMs: endMs, state: JSON.parse(newest.state) as unknown };
  }

  /** @param at the first position whose record is not in the state @throws StorageError */
  async save({ startMs, endMs, state }: OpenWindow, at: number): Promise<void> {
    const other = (this.#newest + 1) % this.#places.length;
    const place = this.#places[other];
    if (place === undefined) return;
    if ((await place.plan()) !== null) await place.completePlan();
    const detail: Kept = { at, startMs, endMs };
    await place.savePlan({ from: at - 1, to: at, detail, createdMs: this.#nowMs() });
    const bytes = Buffer.from(JSON.stringify(state));
    const count = Math.ceil(bytes.length / pieceBytes);
    for (let index = 0; index < count; index += 1) {
      const piece = bytes.subarray(index * pieceBytes, (index + 1) * pieceBytes);
      await place.savePlanOutput(index, piece, index === count - 1);
    }
    this.#newest = other;
  }

  /** No window is open any more. @throws StorageError */
  async clear(): Promise<void> {
    // The older one first: it must not be taken for the newest.
    for (let turn = 1; turn <= this.#places.length; turn += 1) {
      const place = this.#places[(this.#newest + turn) % this.#places.length];
      if (place !== undefined && (await place.plan()) !== null) await place.completePlan();
    }
  }
}

/**
 * Has places begin anew that are ahead of a checkpoint: their state is of records that go again, and
 * a place takes nothing from before where it was.
 * @throws StorageError
 */
export async function forgetAhead(
  applications: Applications,
  places: readonly string[],
  source: SourceKey,
  checkpoint: number,
): Promise<void> {
  for (const place of places) {
    const leases = applications.list().find(({ name }) => name === place)?.leases ?? [];
    const lease = leases.find(
      (one) => one.source.kind === source.kind && one.source.id === source.id,
    );
    if (lease === undefined) continue;
    const { to = 0 } = (await applications.plan(lease)) ?? {};
    if (Math.max(lease.checkpoint, to) <= checkpoint) continue;
    await applications.beginAnew(place, [], [{ source, position: checkpoint }]);
  }
}

function keptIn(detail: unknown): Kept | null {
  const { at, startMs, endMs } = (detail ?? {}) as Partial<Kept>;
  if (typeof at !== 'number' || typeof startMs !== 'number' || typeof endMs !== 'number') {
    return null;
  }
  return { at, startMs, endMs };
}
