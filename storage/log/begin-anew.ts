/**
 * What an application knows of a source is forgotten or put elsewhere, within a transaction and only
 * while nobody works on it: a worker that has lost touch finds its lease gone.
 */
import type { Transaction } from '../group-commit.ts';
import type { SourceKey } from '../model.ts';
import type { ApplicationMemory } from './application-memory.ts';
import type { Tenures } from './tenures.ts';

export interface Parts {
  readonly transaction: Transaction;
  readonly memory: ApplicationMemory;
  readonly tenures: Tenures;
}

interface Named {
  readonly id: number;
  readonly name: string;
}

/** What goes when a lease goes for good. */
export const tablesOfLeases = ['lease', 'plan'] as const;

const ofSource = 'application_id = ? AND source_kind = ? AND source_id = ?';

/** Forgets the lease and the plan. @throws StorageError `lease-held` */
export async function forgetFree(
  { transaction, memory, tenures }: Parts,
  { id, name }: Named,
  source: SourceKey,
): Promise<void> {
  tenures.checkFree(id, source);
  for (const table of tablesOfLeases) {
    await transaction.run(
      `DELETE FROM ${table} WHERE ${ofSource}`,
      ...[id, source.kind, source.id],
    );
  }
  transaction.onCommit(() => {
    memory.forgetLease(name, source);
  });
}

/**
 * Begins at a position, without a plan. The counter rises, so that no lease of before is good for
 * what comes. @throws StorageError `lease-held`
 */
export async function startFree(
  { transaction, memory, tenures }: Parts,
  { id, name }: Named,
  source: SourceKey,
  position: number,
): Promise<void> {
  tenures.checkFree(id, source);
  await transaction.run(`DELETE FROM plan WHERE ${ofSource}`, ...[id, source.kind, source.id]);
  const [row] = await transaction.all<{ counter: number }>(
    `INSERT INTO lease (application_id, source_kind, source_id, owner, counter, taken_counter,
       checkpoint, start_position) VALUES (?, ?, ?, NULL, 0, 0, ?, ?)
       ON CONFLICT (application_id, source_kind, source_id) DO UPDATE SET owner = NULL,
         counter = counter + 1, checkpoint = excluded.checkpoint,
         start_position = excluded.start_position
       RETURNING counter`,
    ...[id, source.kind, source.id, position, position],
  );
  const begun = { owner: null, start: position, checkpoint: position, plan: null };
  transaction.onCommit(() => {
    memory.change(name, source, { ...begun, counter: row?.counter ?? 0 });
  });
}
