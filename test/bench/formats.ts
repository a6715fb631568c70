/**
 * Objects of records, in every format, against a bare loop that does the least that has to be done:
 * the same library, fed with all records at once, in the thread that asks for it. That one holds up
 * the event loop all the while; ours is to leave it free.
 */
import { compress, init } from '@bokuweb/zstd-wasm';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { monitorEventLoopDelay, performance } from 'node:perf_hooks';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { formatOf, type FormatOptions } from '../../gateway/forward/format/formats.ts';
import type { ShapedRecord } from '../../gateway/forward/shape/shaped-record.ts';
import { median, type Benchmark, type Figure } from './bench.ts';

const objectRecords = 25_000;
const objects = 8;
const sliceRecords = 2_000;
const rounds = 3;

const columns = {
  device: 'string',
  metric: 'string',
  value: 'double',
  at: 'timestamp',
  site: 'string',
  sequence: 'bigint',
  battery: 'int',
  note: 'string',
} as const;

interface Case {
  readonly name: string;
  readonly options: FormatOptions;
  readonly bare: { readonly name: string; readonly run: () => Promise<unknown> };
  readonly target?: number;
}

export const benchmark: Benchmark = {
  name: 'formats',
  title: `Objects of ${objectRecords} records of about 200 B`,
  run: async ({ note }) => {
    await init();
    const records = Array.from({ length: objectRecords }, (_, at) => recordOf(at));
    const declared = Object.entries(columns).map(([name, type]) => ({ name, type }));
    const parquet = { name: 'JSON.parse and hyparquet-writer', run: () => bareParquet(records) };
    const cases: readonly Case[] = [
      {
        name: 'NDJSON, gzip',
        options: { type: 'ndjson' },
        bare: { name: 'gzip of the lines', run: () => promisify(gzip)(lines(records)) },
        target: 150_000,
      },
      {
        name: 'NDJSON, zstd',
        options: { type: 'ndjson', compression: 'zstd' },
        bare: {
          name: 'zstd of the lines',
          run: () => Promise.resolve(compress(lines(records), 3)),
        },
      },
      {
        name: 'CSV, gzip',
        options: { type: 'csv' },
        bare: { name: 'JSON.parse, join and gzip', run: () => bareCsv(records) },
      },
      {
        name: 'Parquet, its columns declared',
        options: { type: 'parquet', columns: declared },
        bare: parquet,
        target: 150_000,
      },
      {
        name: 'Parquet, its columns learnt',
        options: { type: 'parquet' },
        bare: parquet,
        target: 150_000,
      },
    ];
    const figures: Figure[] = [];
    for (const { name, options, bare, target } of cases) {
      note(name);
      const ours = await measured(() => encoded(options, records));
      const alone = await measured(bare.run);
      const { perSecond: value, loopDelayP99Ms } = ours;
      const against = { name: bare.name, value: alone.perSecond };
      figures.push({ name, value, unit: 'records/s', against, ratio: value / against.value });
      if (target !== undefined) {
        figures.push({
          ...{ name: `${name}, for its target`, value, unit: 'records/s' },
          target: { atLeast: target },
        });
      }
      figures.push({
        ...{ name: `${name}: event-loop delay, p99`, value: loopDelayP99Ms, unit: 'ms' },
        target: { atMost: 20 },
      });
    }
    return figures;
  },
};

/** The middle one of some rounds, the first left out: it warms up. */
async function measured(
  work: () => Promise<unknown>,
): Promise<{ readonly perSecond: number; readonly loopDelayP99Ms: number }> {
  const perSecond: number[] = [];
  const delaysMs: number[] = [];
  for (let round = 0; round <= rounds; round += 1) {
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    const startedMs = performance.now();
    for (let object = 0; object < objects; object += 1) await work();
    const tookMs = performance.now() - startedMs;
    delay.disable();
    if (round === 0) continue;
    perSecond.push((objects * objectRecords * 1000) / tookMs);
    delaysMs.push(delay.percentile(99) / 1e6);
  }
  return { perSecond: median(perSecond), loopDelayP99Ms: median(delaysMs) };
}

async function encoded(options: FormatOptions, records: readonly ShapedRecord[]): Promise<void> {
  const encoder = formatOf(options, { shardIndex: 0 }).encoder();
  for (let at = 0; at < records.length; at += sliceRecords) {
    await encoder.add(records.slice(at, at + sliceRecords));
  }
  const { object } = await encoder.end();
  encoder.close();
  if (object?.records !== records.length) throw new Error('records are missing');
}

function bareParquet(records: readonly ShapedRecord[]): Promise<unknown> {
  const rows = records.map((record) => parsed(record));
  const columnData = Object.keys(columns).map((name) => ({
    name,
    data: rows.map((row) => row[name]),
  }));
  return Promise.resolve(parquetWriteBuffer({ columnData }));
}

function bareCsv(records: readonly ShapedRecord[]): Promise<unknown> {
  const rows = records.map((record) => Object.values(parsed(record)).join(','));
  return promisify(gzip)(rows.join('\r\n'));
}

function parsed({ data }: ShapedRecord): Record<string, unknown> {
  return JSON.parse(data.toString()) as Record<string, unknown>;
}

function lines(records: readonly ShapedRecord[]): Buffer {
  const lineEnd = Buffer.from('\n');
  return Buffer.concat(records.flatMap(({ data }) => [data, lineEnd]));
}

function recordOf(at: number): ShapedRecord {
  const arrivalMs = Date.UTC(2026, 0, 1) + at * 137;
  const data = JSON.stringify({
    device: `sensor-${at % 500}`,
    metric: 'temperature',
    value: Math.round(Math.sin(at) * 20_000) / 1000,
    at: new Date(arrivalMs).toISOString(),
    site: 'plant-7',
    sequence: at,
    battery: (at * 31) % 100,
    note: Math.imul(at, 0x9e37_79b1).toString(36).padEnd(40, '.'),
  });
  return {
    ...{ sequence: at, subSequence: 0, partitionKey: `sensor-${at % 500}`, arrivalMs },
    ...{ data: Buffer.from(data), partition: null },
  };
}
