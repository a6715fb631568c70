/**
 * Applications, leases and plans in memory, as of the last commit: what is listed, and what retention
 * asks about every batch. `applications.ts` changes it after each commit.
 */
import type { ApplicationOptions, Lease, SourceKey } from '../model.ts';
import type { Queries } from './batch-table.ts';

interface ApplicationState {
  readonly id: number;
  options: ApplicationOptions;
  readonly leases: Map<string, LeaseState>;
}

interface LeaseState {
  readonly source: SourceKey;
  readonly owner: string | null;
  readonly counter: number;
  readonly start: number;
  readonly checkpoint: number;
  readonly plan: { readonly from: number; readonly to: number } | null;
}

export interface LeaseRow {
  readonly application_id: number;
  readonly source_kind: SourceKey['kind'];
  readonly source_id: number;
  readonly owner: string | null;
  readonly counter: number;
  readonly taken_counter: number;
  readonly checkpoint: number;
  readonly start_position: number;
}

export interface PlanRow {
  readonly application_id: number;
  readonly source_kind: SourceKey['kind'];
  readonly source_id: number;
  readonly from_position: number;
  readonly to_position: number;
  readonly detail: string;
  readonly created_ms: number;
  readonly output_pieces: number | null;
  readonly appended_to: number;
}

export type LeaseChange = Partial<Omit<LeaseState, 'source'>>;

export function keyOf(source: SourceKey): string {
  return `${source.kind} ${source.id}`;
}

export class ApplicationMemory {
  readonly #byName = new Map<string, ApplicationState>();

  ensure(id: number, options: ApplicationOptions): void {
    const known = this.#byName.get(options.name);
    if (known !== undefined) known.options = { ...options };
    else this.#byName.set(options.name, { id, options: { ...options }, leases: new Map() });
  }

  /** null when there is no such application. */
  idOf(name: string): number | null {
    return this.#byName.get(name)?.id ?? null;
  }

  remove(name: string): void {
    this.#byName.delete(name);
  }

  /** Changes a lease, or adds it. */
  change(application: string, source: SourceKey, change: LeaseChange): void {
    const leases = this.#byName.get(application)?.leases;
    const before = leases?.get(keyOf(source)) ?? {
      source: { ...source },
      owner: null,
      counter: 0,
      start: 0,
      checkpoint: 0,
      plan: null,
    };
    leases?.set(keyOf(source), { ...before, ...change });
  }

  /** Removes one lease. */
  forgetLease(application: string, source: SourceKey): void {
    this.#byName.get(application)?.leases.delete(keyOf(source));
  }

  /** Removes all leases of a source. */
  forget(source: SourceKey): void {
    for (const { leases } of this.#byName.values()) leases.delete(keyOf(source));
  }

  nameOf(applicationId: number): string | null {
    const found = [...this.#byName].find(([, { id }]) => id === applicationId);
    return found?.[0] ?? null;
  }

  /** A lease that nobody holds has the owner ''. */
  list(): readonly (ApplicationOptions & { readonly leases: readonly Lease[] })[] {
    return [...this.#byName.values()].map(({ options, leases }) => ({
      ...options,
      leases: [...leases.values()].map((state) => ({
        application: options.name,
        source: state.source,
        owner: state.owner ?? '',
        counter: state.counter,
        start: state.start,
        checkpoint: state.checkpoint,
      })),
    }));
  }

  /**
   * The lowest position of a source that a required application or a saved plan still needs; null
   * when nobody needs anything.
   */
  pin(source: SourceKey): number | null {
    const key = keyOf(source);
    let lowest: number | null = null;
    for (const { options, leases } of this.#byName.values()) {
      const state = leases.get(key);
      if (state === undefined) continue;
      for (const needed of [options.required ? state.checkpoint : null, state.plan?.from]) {
        if (needed !== null && needed !== undefined) lowest = Math.min(lowest ?? needed, needed);
      }
    }
    return lowest;
  }
}

/** Reads back what was committed. */
export async function loadApplications(queries: Queries): Promise<ApplicationMemory> {
  const memory = new ApplicationMemory();
  const names = new Map<number, string>();
  const applications = await queries.all<{ id: number; name: string; required: number }>(
    'SELECT id, name, required FROM application',
  );
  for (const { id, name, required } of applications) {
    names.set(id, name);
    memory.ensure(id, { name, required: required === 1 });
  }
  for (const row of await queries.all<LeaseRow>('SELECT * FROM lease')) {
    const { owner, counter, start_position: start, checkpoint } = row;
    const name = names.get(row.application_id);
    const source = { kind: row.source_kind, id: row.source_id };
    if (name !== undefined) memory.change(name, source, { owner, counter, start, checkpoint });
  }
  for (const row of await queries.all<PlanRow>('SELECT * FROM plan')) {
    const name = names.get(row.application_id);
    const source = { kind: row.source_kind, id: row.source_id };
    const plan = { from: row.from_position, to: row.to_position };
    if (name !== undefined) memory.change(name, source, { plan });
  }
  return memory;
}
