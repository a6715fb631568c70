/** Where the program is installed, and its version; the same from source and from `dist`. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';

const packageSchema = z.object({ version: z.string() });

export interface PackageInfo {
  /** The folder of package.json; absolute. */
  readonly folder: string;
  readonly version: string;
}

export function packageInfo(): PackageInfo {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json'))) {
    const parent = dirname(folder);
    if (parent === folder) throw new Error('the program has no package.json above it');
    folder = parent;
  }
  const text = readFileSync(join(folder, 'package.json'), 'utf8');
  return { folder, version: packageSchema.parse(JSON.parse(text)).version };
}
