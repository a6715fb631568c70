/** What ends at some time and then undoes what was made for it: a test, a benchmark, a soak run. */
export interface Scope {
  /** Registers work for the end. */
  readonly after: (work: () => unknown) => void;
}

/** Runs work that makes things for as long as it lasts; all of them are undone, the last made first. */
export async function withScope<T>(work: (scope: Scope) => Promise<T>): Promise<T> {
  const undoing: (() => unknown)[] = [];
  try {
    return await work({ after: (undo) => undoing.push(undo) });
  } finally {
    for (const undo of undoing.reverse()) await undo();
  }
}
