/**
 * `npm run soak [-- name …] [--seeds 1..1000]`: repeats what is named, or everything, seed after
 * seed. The first that fails ends it, with the line that repeats just that one.
 */
import { readdirSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { withScope } from '../support/scope.ts';
import type { Soak, SoakFigures } from './soak.ts';

/** Files of this folder that are no soak. */
const parts = new Set(['soak.ts', 'run.ts']);
const progressEveryMs = 10_000;

const names = readdirSync(import.meta.dirname)
  .filter((file) => file.endsWith('.ts') && !parts.has(file))
  .map((file) => file.slice(0, -'.ts'.length))
  .sort();

interface Asked {
  readonly names: readonly string[];
  readonly seeds: { readonly first: number; readonly last: number } | null;
}

function usage(problem: string): never {
  process.stderr.write(
    `${problem}\nnpm run soak -- [${names.join(' | ')}] … [--seeds FIRST..LAST]\n`,
  );
  process.exit(2);
}

function parse(args: readonly string[]): Asked {
  const options = { seeds: { type: 'string' } } as const;
  const { values, positionals } = parseArgs({ args: [...args], options, allowPositionals: true });
  const unknown = positionals.filter((name) => !names.includes(name));
  if (unknown.length > 0) usage(`There is no soak ${unknown.join(', ')}.`);
  const asked = positionals.length > 0 ? positionals : names;
  if (values.seeds === undefined) return { names: asked, seeds: null };
  const match = /^(\d+)(?:\.\.(\d+))?$/.exec(values.seeds);
  if (match === null) usage(`--seeds takes 7 or 1..1000, not ${values.seeds}.`);
  const first = Number(match[1]);
  return { names: asked, seeds: { first, last: Number(match[2] ?? first) } };
}

async function repeat(soak: Soak, first: number, last: number): Promise<void> {
  process.stdout.write(`${soak.name}: ${soak.title}; seeds ${first} to ${last}\n`);
  const totals = new Map<string, { sum: number; most: number }>();
  const startedMs = performance.now();
  let noteMs = startedMs;
  for (let seed = first; seed <= last; seed += 1) {
    const note = (text: string): void => {
      if (first === last) process.stdout.write(`  ${text}\n`);
    };
    let figures: SoakFigures;
    try {
      figures = await withScope(({ after }) => soak.run({ after, seed, note }));
    } catch (error) {
      process.stdout.write(
        `FAILED with seed ${seed}: npm run soak -- ${soak.name} --seeds ${seed}\n`,
      );
      throw error;
    }
    for (const [name, value] of Object.entries(figures)) {
      const { sum, most } = totals.get(name) ?? { sum: 0, most: -Infinity };
      totals.set(name, { sum: sum + value, most: Math.max(most, value) });
    }
    if (performance.now() - noteMs > progressEveryMs) {
      noteMs = performance.now();
      process.stdout.write(`  ${seed - first + 1} of ${last - first + 1} held\n`);
    }
  }
  const seconds = Math.round((performance.now() - startedMs) / 1000);
  process.stdout.write(`  all ${last - first + 1} held, in ${seconds} s\n`);
  for (const [name, { sum, most }] of totals) {
    const shown = (value: number): string => value.toLocaleString('en-US');
    process.stdout.write(`  ${name}: ${shown(sum)} in all, ${shown(most)} at most\n`);
  }
}

const asked = parse(process.argv.slice(2));
for (const name of asked.names) {
  const { soak } = (await import(`./${name}.ts`)) as { soak: Soak };
  await repeat(soak, asked.seeds?.first ?? 1, asked.seeds?.last ?? soak.seeds);
}
process.exit(0);
