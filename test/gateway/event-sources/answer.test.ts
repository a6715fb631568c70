import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { readAnswer } from '../../../gateway/event-sources/answer.ts';
import { functionError, ImpatientClock } from '../functions/support/functions.ts';
import { numbered } from '../forward/support/rig.ts';
import { noting, openSources, until } from './support/sources.ts';

const ids = ['one', 'two', 'three'];
const read = (answer: string, rules = { reportsFailures: true, hasState: false }) =>
  readAnswer(Buffer.from(answer), ids, rules);
const failures = (...list: unknown[]): string => JSON.stringify({ batchItemFailures: list });

describe('the answer to a batch', () => {
  it('is success when it names no failure', () => {
    const none = ['', 'null', '{}', '{"batchItemFailures":null}', '{"batchItemFailures":[]}'];
    for (const answer of none) assert.equal(read(answer).failedAt, null, answer);
  });

  it('goes again from the first record that it names, whatever the order', () => {
    assert.equal(read(failures({ itemIdentifier: 'two' })).failedAt, 1);
    const mixed = failures({ itemIdentifier: 'three' }, { itemIdentifier: 'two' });
    assert.equal(read(mixed).failedAt, 1);
  });

  const lies = {
    'an id that was not in the batch': failures({ itemIdentifier: 'four' }),
    'one of them among others': failures({ itemIdentifier: 'two' }, { itemIdentifier: 'four' }),
    'an empty id': failures({ itemIdentifier: '' }),
    'an id that is null': failures({ itemIdentifier: null }),
    'an id under another name': failures({ id: 'two' }),
    'a number': failures(2),
    'nothing in the list': failures(null),
    'no list': '{"batchItemFailures":"two"}',
    'a text': '"two"',
    'a list': '["two"]',
    'no JSON': '{"batchItemFailures":',
  };
  for (const [name, answer] of Object.entries(lies)) {
    it(`fails the batch for ${name}`, () => {
      assert.throws(() => read(answer), functionError('bad-answer'));
    });
  }

  it('is not looked at when nothing was asked', () => {
    const rules = { reportsFailures: false, hasState: false };
    assert.equal(read('rubbish', rules).failedAt, null);
    assert.equal(read(failures({ itemIdentifier: 'two' }), rules).failedAt, null);
  });

  it('hands on a state, and tells one that is too large', () => {
    const rules = { reportsFailures: false, hasState: true };
    assert.deepEqual(read('{"state":{"sum":3}}', rules).state, { sum: 3 });
    assert.deepEqual(read('{}', rules).state, {});
    const large = JSON.stringify({ state: { text: 'x'.repeat(1_000_000) } });
    assert.equal(read(large, rules).isStateTooLarge, true);
  });
});

describe('partial failures', () => {
  it('do what comes before them once, and put aside the one that never goes', async (t) => {
    const sources = await openSources(t, { clock: new ImpatientClock() });
    const { target, notes } = await noting(
      t,
      `const bad = event.Records.findIndex((_, index) => JSON.parse(texts[index]).id === 13);
       note(texts.slice(0, bad === -1 ? undefined : bad));
       if (bad === -1) return { batchItemFailures: [] };
       return { batchItemFailures: [{ itemIdentifier: event.Records[bad].kinesis.sequenceNumber }] };`,
    );
    await sources.store.log.append('readings', numbered(0, 40));
    const source = sources.begin({
      ...{ function: target, reportBatchItemFailures: true, bisectOnError: true, retries: 1 },
      deadLetter: { stream: 'letters' },
    });
    await until(source, ({ records }) => records === 40);
    const done = (notes() as string[][])
      .flat()
      .map((text) => (JSON.parse(text) as { id: number }).id);
    assert.deepEqual(
      done,
      Array.from({ length: 40 }, (_, id) => id).filter((id) => id !== 13),
    );
    assert.equal((await sources.texts('letters')).length, 1);
  });

  it('that lie fail the batch, and none of it is taken for done', async (t) => {
    const sources = await openSources(t, { clock: new ImpatientClock() });
    const { target, notes } = await noting(
      t,
      `note(texts);
       return calls < 4 ? { batchItemFailures: [{ itemIdentifier: 'invented' }] } : null;`,
    );
    await sources.store.log.append('readings', numbered(0, 3));
    const source = sources.begin({ function: target, reportBatchItemFailures: true });
    const { metrics } = await until(source, ({ records }) => records === 3);
    assert.equal(metrics.Errors, 3);
    assert.deepEqual(new Set((notes() as string[][]).map((texts) => texts.length)), new Set([3]));
  });
});
