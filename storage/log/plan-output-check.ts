/**
 * Verifies what plans were made into (`plan-output.ts`), and mends it: what is damaged goes, and what
 * is no longer whole is made anew. What was half-written when the gateway ended is no damage.
 */
import { crc32 } from 'node:zlib';
import { StorageError } from '../errors.ts';
import type { Finding } from '../finding.ts';
import type { Database } from '../sqlite.ts';
import type { Queries } from './batch-table.ts';

const belongsToPlan = `(application_id, source_kind, source_id) IN
  (SELECT application_id, source_kind, source_id FROM plan)`;
const advice =
  'no record is lost: "headgate check --repair" has it made again, and what was sent of it may come twice';

interface Piece {
  readonly id: number;
  readonly application_id: number;
  readonly source_id: number;
  readonly piece: number;
}

interface FullPiece extends Piece {
  readonly key_id: number;
  readonly checksum: number;
  readonly body: Buffer;
}

/** @param keyIds of the data keys there are */
export async function* checkPlanOutputs(
  queries: Queries,
  keyIds: ReadonlySet<number>,
): AsyncGenerator<Finding, void> {
  for await (const { piece, what } of damagedPieces(queries, (id) => !keyIds.has(id))) {
    yield {
      severity: 'error',
      code: 'plan-output-damaged',
      where: `application ${piece.application_id}, shard ${piece.source_id}`,
      what: `piece ${piece.piece} of what its plan was made into: ${what}`,
      advice,
    };
  }
  const short = await queries.all<{ application_id: number; source_id: number }>(
    `SELECT application_id, source_id FROM plan WHERE output_pieces > (
       SELECT count(*) FROM plan_output WHERE plan_output.application_id = plan.application_id
          AND plan_output.source_kind = plan.source_kind
          AND plan_output.source_id = plan.source_id AND piece < output_pieces)`,
  );
  for (const { application_id: application, source_id: id } of short) {
    yield {
      severity: 'warning',
      code: 'plan-output-damaged',
      where: `application ${application}, shard ${id}`,
      what: 'pieces of what its plan was made into are missing',
      advice: 'no record is lost: it is made again, and what was sent of it may come twice',
    };
  }
}

/** @param isLost whether nothing that is sealed with a data key can be read again */
export async function* repairPlanOutputs(
  database: Database,
  isLost: (keyId: number) => boolean,
): AsyncGenerator<string, void> {
  for await (const { piece } of damagedPieces(database, isLost)) {
    await database.run('DELETE FROM plan_output WHERE id = ?', piece.id);
    yield `what the plan of application ${piece.application_id}, shard ${piece.source_id} was made into was damaged: it is made again`;
  }
  // Without all of its pieces, none of them counts.
  await database.run(
    `UPDATE plan SET output_pieces = NULL WHERE output_pieces > (
       SELECT count(*) FROM plan_output WHERE plan_output.application_id = plan.application_id
          AND plan_output.source_kind = plan.source_kind
          AND plan_output.source_id = plan.source_id AND piece < output_pieces)`,
  );
}

async function* damagedPieces(
  queries: Queries,
  isLost: (keyId: number) => boolean,
): AsyncGenerator<{ readonly piece: Piece; readonly what: string }, void> {
  for (let after = -1; ;) {
    const piece = await queries.get<Piece & { readonly belongs: number }>(
      `SELECT id, application_id, source_id, piece, ${belongsToPlan} AS belongs
         FROM plan_output WHERE id > ? ORDER BY id LIMIT 1`,
      after,
    );
    if (piece === undefined) return;
    after = piece.id;
    if (piece.belongs === 0) {
      yield { piece, what: 'it has no plan' };
      continue;
    }
    const what = await damageOf(queries, piece, isLost);
    if (what !== null) yield { piece, what };
  }
}

async function damageOf(
  queries: Queries,
  { id }: Piece,
  isLost: (keyId: number) => boolean,
): Promise<string | null> {
  try {
    const row = await queries.get<FullPiece>('SELECT * FROM plan_output WHERE id = ?', id);
    // It was completed meanwhile.
    if (row === undefined) return null;
    if (!Buffer.isBuffer(row.body) || crc32(row.body) !== row.checksum) return 'it is damaged';
    return row.key_id !== 0 && isLost(row.key_id)
      ? `it is encrypted with the data key ${row.key_id}, which is lost`
      : null;
  } catch (error) {
    if (!(error instanceof StorageError && error.code === 'corrupt')) throw error;
    return 'its page is damaged';
  }
}
