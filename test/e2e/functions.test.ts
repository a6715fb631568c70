/**
 * A whole gateway that hands records to a function, killed in the middle again and again: nothing is
 * left out, what fails is put aside, and another function takes over at a reload.
 */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Functions } from '../../gateway/api/rest/function-schemas.ts';
import { headgate } from '../gateway/cli/command.ts';
import { GatewayProcess } from '../support/gateway.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const records = 3_000;
const poison = 1_234;

const handler = `
import { appendFileSync } from 'node:fs';
export async function handler({ Records }) {
  const ids = Records.map(({ kinesis }) => Number(Buffer.from(kinesis.data, 'base64').toString()));
  if (ids.includes(${poison})) throw new Error('poison');
  await new Promise((resolve) => setTimeout(resolve, 5));
  appendFileSync('./notes', ids.map((id) => id + '\\n').join(''));
}
`;

async function put(gateway: GatewayProcess, first: number, count: number): Promise<void> {
  const list = Array.from({ length: count }, (_, index) => ({
    ...{ partitionKey: 'k', data: String(first + index), encoding: 'utf8' },
  }));
  const response = await fetch(`${gateway.url}/api/v1/streams/readings/records`, {
    method: 'POST',
    headers: { authorization: `Bearer ${gateway.token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ records: list }),
  });
  assert.equal(response.status, 200, await response.text());
}

async function notedIn(folder: string): Promise<readonly number[]> {
  const text = await readFile(join(folder, 'notes'), 'utf8').catch(() => '');
  return text.split('\n').flatMap((line) => (line === '' ? [] : [Number(line)]));
}

test('a function gets every record, however often the gateway is killed', async (t) => {
  const folder = await temporaryFolder(t);
  await writeFile(join(folder, 'handle.mjs'), handler);
  const sections = `
streams: { readings: {}, letters: {} }
functions:
  notes:
    from: { stream: readings }
    function: { module: { path: ./handle.mjs } }
    batchSize: 20
    bisectOnError: true
    retries: 1
    deadLetter: { stream: letters }
`;
  const gateway = await GatewayProcess.start(t, folder, sections);
  for (let first = 0; first < records; first += 500) await put(gateway, first, 500);
  for (const share of [0.2, 0.5, 0.8]) {
    for (;;) {
      const noted = new Set(await notedIn(folder));
      if (noted.size >= records * share) break;
      await gateway.get('/functions');
    }
    await gateway.kill();
    await gateway.restart();
  }
  const { functions } = await gateway.until<Functions>('/functions', (answer) =>
    answer.functions.every(({ backlog }) => backlog.records === 0),
  );
  const noted = await notedIn(folder);
  const wanted = Array.from({ length: records }, (_, id) => id).filter((id) => id !== poison);
  // In their order, when what was repeated after a kill is left out.
  assert.deepEqual([...new Set(noted)], wanted);
  // At most a batch for each kill.
  assert.ok(noted.length <= wanted.length + 3 * 20, `${noted.length}`);
  assert.equal(functions[0]?.function.kind, 'module');
  assert.equal(functions[0].lastError, null);
  const letters = await gateway.get<{ records: readonly { data: string }[] }>(
    '/streams/letters/shards/0/records?position=earliest&waitSeconds=10',
  );
  assert.ok(letters.records.length >= 1);

  const shown = await headgate(folder, ['status']);
  assert.match(shown.stdout, /FUNCTION/);
  assert.match(shown.stdout, /notes +readings +running/);
  const doctor = await headgate(folder, ['doctor']);
  assert.match(doctor.stdout, /Function notes/);

  await writeFile(join(folder, 'other.mjs'), handler.replace("'./notes'", "'./others'"));
  const path = join(folder, 'headgate.yaml');
  await writeFile(path, (await readFile(path, 'utf8')).replace('./handle.mjs', './other.mjs'));
  await gateway.child.line(/functions\.notes/);
  await put(gateway, records, 1);
  await gateway.until<Functions>('/functions', ({ functions: [one] }) => one?.records === 1);
  assert.equal(await readFile(join(folder, 'others'), 'utf8'), `${records}\n`);
});
