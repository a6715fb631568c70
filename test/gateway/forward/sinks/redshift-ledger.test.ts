/** What the ledger of Redshift keeps, and what it lets go of. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import type { SinkError, TableLoad } from '../../../../gateway/forward/sink.ts';
import type { RedshiftSink } from '../../../../gateway/forward/sinks/redshift/redshift-sink.ts';
import { needsPostgres } from '../support/postgres.ts';
import { numbersIn, openRig, rowsFrom, stage, type Rig } from '../support/redshift-rig.ts';

const never = new AbortController().signal;

async function ledgerOf({ administrator }: Rig): Promise<string[]> {
  const { rows } = await administrator.query<{ load_id: string }>(
    'SELECT load_id FROM headgate_loads ORDER BY loaded_at',
  );
  return rows.map(({ load_id: id }) => id);
}

test('rows of loads that nothing asks for any more go once they are old, and no others', async (t) => {
  if (!needsPostgres(t)) return;
  const rig = await openRig(t);
  const sink = rig.sink({ ledgerSeconds: 0 });
  const [shard, other] = [randomUUID(), randomUUID()];
  let count = 0;
  const load = async (place: TableLoad['place'], into: RedshiftSink = sink): Promise<TableLoad> => {
    const made = { ...(await stage(sink, [rowsFrom(count, 2)])), place };
    count += 2;
    await into.load(made, never);
    return made;
  };
  const older = rig.sink({ ledgerSeconds: 86_400 });
  const first = await load({ shard, since: 0, from: 0, to: 10 });
  const elsewhere = await load({ shard: other, since: 0, from: 0, to: 5 });
  const second = await load({ shard, since: 0, from: 10, to: 20 }, older);
  assert.deepEqual(await ledgerOf(rig), [first.id, elsewhere.id, second.id], 'not old enough');
  // A lane of what is new: the one before it, which has come to 20, may still ask for its plan.
  const newer = await load({ shard, since: 1000, from: 1000, to: 1010 });
  const after = await load({ shard, since: 1000, from: 1010, to: 1020 });
  assert.deepEqual(await ledgerOf(rig), [first.id, elsewhere.id, second.id, after.id]);
  const third = await load({ shard, since: 0, from: 20, to: 30 });
  assert.deepEqual(await ledgerOf(rig), [elsewhere.id, after.id, third.id]);
  assert.ok(newer.place.to > third.place.from);
  // What is asked for again, because its answer was lost, is there.
  for (const again of [third, after, elsewhere]) await sink.load(again, never);
  const numbers = await numbersIn(rig);
  assert.deepEqual(
    numbers,
    numbers.map((_, index) => index),
    'something was loaded twice',
  );
  assert.equal(numbers.length, count);
});

test('a ledger of an earlier release is told from a missing table, and loads go on once it is mended', async (t) => {
  if (!needsPostgres(t)) return;
  const rig = await openRig(t);
  const { administrator } = rig;
  const sink = rig.sink({ ledgerSeconds: 0 });
  await administrator.query(
    `CREATE TABLE headgate_loads (load_id VARCHAR(36) NOT NULL PRIMARY KEY,
       table_name VARCHAR(256) NOT NULL, manifest VARCHAR(2048) NOT NULL,
       objects INTEGER NOT NULL, records BIGINT NOT NULL, loaded_at TIMESTAMP NOT NULL)`,
  );
  await administrator.query(
    `INSERT INTO headgate_loads VALUES ('old', 'public.t', 's3://b/m', 1, 1, TIMESTAMP '2020-01-01')`,
  );
  await administrator.query('GRANT ALL ON headgate_loads TO PUBLIC');
  const load = await stage(sink, [rowsFrom(0, 2)]);
  const advised: string[] = [];
  for (const attempt of [() => sink.check(never), () => sink.load(load, never)]) {
    await assert.rejects(attempt, (error: SinkError) => {
      assert.equal(error.code, 'missing');
      assert.match(error.message, /ledger headgate_loads was made by an earlier release/);
      advised.push(/(ALTER TABLE .*)\.$/.exec(error.advice ?? '')?.[1] ?? '');
      return true;
    });
  }
  const [statements = '', again] = advised;
  assert.equal(statements, again);
  await administrator.query(statements);
  await sink.check(never);
  await sink.load(load, never);
  assert.deepEqual(await numbersIn(rig), [0, 1]);
  assert.deepEqual(await ledgerOf(rig), ['old', load.id]);
  // A column that the table lacks is none of the ledger's.
  const lacking = { ...load, id: randomUUID(), reading: { columns: ['nowhere'], options: '' } };
  await assert.rejects(sink.load(lacking, never), { code: 'missing', message: /nowhere/ });
});

test('a load that is refused leaves the ledger as it was', async (t) => {
  if (!needsPostgres(t)) return;
  const rig = await openRig(t);
  const sink = rig.sink({ ledgerSeconds: 0 });
  const shard = randomUUID();
  const whole = await stage(sink, [rowsFrom(0, 2)]);
  await sink.load({ ...whole, place: { shard, since: 0, from: 0, to: 10 } }, never);
  const bad = await stage(sink, [['no JSON']]);
  const refused = { ...bad, place: { shard, since: 0, from: 10, to: 20 } };
  await assert.rejects(sink.load(refused, never), { code: 'rejected' });
  assert.deepEqual(await ledgerOf(rig), [whole.id]);
});
