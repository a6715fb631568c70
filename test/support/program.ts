import { buildSync } from 'esbuild';
import { createHash, randomUUID } from 'node:crypto';
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');
const made = new Map<string, string>();
/** What threads of a program run: it looks for them beside itself. */
const threads = ['gateway/forward/format/thread/encoder-thread.ts'];

/**
 * Makes one file of JavaScript of a program of the tests' own, and returns where that is. Node
 * starts it in a third of the time that it takes by way of tsx, which counts where a program is
 * killed and started again many times.
 * @param path the program, in TypeScript
 */
export function compiled(path: string): string {
  const known = made.get(path);
  if (known !== undefined) return known;
  const code = bundled(path);
  const name = createHash('sha256').update(code).digest('hex').slice(0, 32);
  const file = written(`${name}.mjs`, code);
  for (const thread of threads) {
    const threadFile = basename(thread, '.ts');
    if (Buffer.from(code).includes(`./${threadFile}.js`)) {
      written(`${threadFile}.js`, bundled(join(root, thread)));
    }
  }
  made.set(path, file);
  return file;
}

function bundled(path: string): Uint8Array {
  const { outputFiles } = buildSync({
    ...{ entryPoints: [path], absWorkingDir: root, write: false, bundle: true },
    ...{ packages: 'external', platform: 'node', format: 'esm', target: 'node20' },
  });
  return outputFiles[0]?.contents ?? new Uint8Array();
}

function written(name: string, code: Uint8Array): string {
  const file = join(root, 'build/test-programs', name);
  // Other tests may make the same one: it appears whole.
  const unfinished = `${file}.${randomUUID()}`;
  mkdirSync(join(root, 'build/test-programs'), { recursive: true });
  writeFileSync(unfinished, code);
  renameSync(unfinished, file);
  return file;
}
