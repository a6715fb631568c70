/**
 * `npm run bench [-- name …]`: runs the benchmarks one after another, prints a table for each and
 * writes all figures, with the machine they were taken on, as JSON. What is wrong with one does not
 * keep the others from running; the exit code says so.
 */
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { mkdir, mkdtemp, rm, statfs, writeFile } from 'node:fs/promises';
import { arch, cpus, loadavg, platform, release, totalmem } from 'node:os';
import { join, resolve } from 'node:path';
import { withScope } from '../support/scope.ts';
import { markdownTable, reaches, type Benchmark, type Figure } from './bench.ts';

const root = resolve(import.meta.dirname, '../..');
const build = join(root, 'build');
/** Files of this folder that are no benchmark. */
const parts = new Set(['bench.ts', 'run.ts']);

const names = readdirSync(import.meta.dirname)
  .filter((file) => file.endsWith('.ts') && !parts.has(file))
  .map((file) => file.slice(0, -'.ts'.length))
  .sort();

interface Outcome {
  readonly name: string;
  readonly title: string;
  readonly seconds: number;
  /** The machine's load over the last minute when it began: above about 0.5, don't believe it. */
  readonly loadBefore: number;
  readonly figures: readonly (Figure & { readonly reached: boolean | null })[];
  readonly error?: string;
}

async function run({ name, title, run: measure }: Benchmark): Promise<Outcome> {
  const startedMs = Date.now();
  const [loadBefore = 0] = loadavg();
  const outcome = { name, title, loadBefore };
  const seconds = (): number => Math.round((Date.now() - startedMs) / 1000);
  const note = (text: string): void => {
    process.stderr.write(`  ${name}: ${text}\n`);
  };
  try {
    const figures = await withScope(async ({ after }) => {
      await mkdir(build, { recursive: true });
      const folder = await mkdtemp(join(build, 'bench-'));
      after(() => rm(folder, { recursive: true, force: true }));
      return measure({ after, note, folder });
    });
    const judged = figures.map((figure) => ({ ...figure, reached: reaches(figure) }));
    return { ...outcome, seconds: seconds(), figures: judged };
  } catch (error) {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return { ...outcome, seconds: seconds(), figures: [], error: text };
  }
}

async function machine(): Promise<Record<string, unknown>> {
  const { blocks, bsize } = await statfs(root);
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryBytes: totalmem(),
    diskBytes: blocks * bsize,
    system: `${platform()} ${release()} ${arch()}`,
    node: process.version,
  };
}

function revision(): string | null {
  try {
    return execFileSync('git', ['rev-parse', 'HEAD'], { cwd: root, encoding: 'utf8' }).trim();
  } catch {
    return null;
  }
}

const asked = process.argv.slice(2);
const unknown = asked.filter((name) => !names.includes(name));
if (unknown.length > 0) {
  process.stderr.write(
    `There is no benchmark ${unknown.join(', ')}; there are ${names.join(', ')}.\n`,
  );
  process.exit(2);
}
const outcomes: Outcome[] = [];
for (const name of asked.length > 0 ? asked : names) {
  const { benchmark } = (await import(`./${name}.ts`)) as { benchmark: Benchmark };
  process.stderr.write(`${name}: ${benchmark.title}\n`);
  const outcome = await run(benchmark);
  outcomes.push(outcome);
  const body = outcome.error ?? markdownTable(outcome.figures);
  process.stdout.write(`\n### ${name}: ${outcome.title} (${outcome.seconds} s)\n\n${body}\n\n`);
}
const path = join(build, 'bench.json');
const report = {
  takenAt: new Date().toISOString(),
  revision: revision(),
  machine: await machine(),
};
await writeFile(path, `${JSON.stringify({ ...report, benchmarks: outcomes }, null, 2)}\n`);
process.stdout.write(`The figures are in ${path}.\n`);
process.exit(outcomes.some(({ error }) => error !== undefined) ? 1 : 0);
