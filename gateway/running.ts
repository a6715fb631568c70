/**
 * What a running gateway leaves for the commands in its data folder (`running.json`): where it
 * really listens, and what it was started as. The configuration file may say something else by now,
 * or nothing that can be used.
 *
 * Only who has the store writes it, and takes it away at the end; after a kill -9 it is still there,
 * so who reads it finds out whether anything answers. It holds no secrets.
 */
import { chmod, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { entrancesSchema } from './entrances.ts';

const runningSchema = z.object({
  processId: z.int().positive(),
  /** Where this machine reaches it over HTTP. */
  url: z.url(),
  /** There was no configuration file. */
  demonstration: z.boolean(),
  /** How other machines get in; null: they don't. */
  entrances: entrancesSchema.nullable(),
});

export type Running = z.infer<typeof runningSchema>;

/** @throws the system's errors */
export async function writeRunning(dataDir: string, running: Running): Promise<void> {
  const path = pathIn(dataDir);
  await writeFile(`${path}.new`, `${JSON.stringify(running)}\n`, { mode: 0o600 });
  await chmod(`${path}.new`, 0o600);
  await rename(`${path}.new`, path);
}

/** Null when there is none that can be read. */
export async function readRunning(dataDir: string): Promise<Running | null> {
  try {
    return runningSchema.parse(JSON.parse(await readFile(pathIn(dataDir), 'utf8')));
  } catch {
    return null;
  }
}

export async function removeRunning(dataDir: string): Promise<void> {
  await rm(pathIn(dataDir), { force: true });
}

function pathIn(dataDir: string): string {
  return join(dataDir, 'running.json');
}
