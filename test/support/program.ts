import { buildSync } from 'esbuild';
import { createHash, randomUUID } from 'node:crypto';
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');
const made = new Map<string, string>();

/**
 * Makes one file of JavaScript of a program of the tests' own, and returns where that is. Node
 * starts it in a third of the time that it takes by way of tsx, which counts where a program is
 * killed and started again many times.
 * @param path the program, in TypeScript
 */
export function compiled(path: string): string {
  const known = made.get(path);
  if (known !== undefined) return known;
  const { outputFiles } = buildSync({
    ...{ entryPoints: [path], absWorkingDir: root, write: false, bundle: true },
    ...{ packages: 'external', platform: 'node', format: 'esm', target: 'node20' },
  });
  const code = outputFiles[0]?.contents ?? new Uint8Array();
  const name = createHash('sha256').update(code).digest('hex').slice(0, 32);
  const file = join(root, 'build/test-programs', `${name}.mjs`);
  // Other tests may make the same one: it appears whole.
  const unfinished = `${file}.${randomUUID()}`;
  mkdirSync(join(root, 'build/test-programs'), { recursive: true });
  writeFileSync(unfinished, code);
  renameSync(unfinished, file);
  made.set(path, file);
  return file;
}
