/** Programs of Java that tests run against, from Maven: on request alone, as they are large. */
import { execFile } from 'node:child_process';
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { TestContext } from 'node:test';
import { promisify } from 'node:util';
import { needs } from './tools.ts';

export interface Wanted {
  /** Of the folder where they are kept. */
  readonly name: string;
  /** What they are, for people. */
  readonly title: string;
  readonly pom: string;
  /** What the list leaves open, such as a version. */
  readonly properties?: Readonly<Record<string, string>>;
  /** The variable that asks for them, and whether it was set. */
  readonly variable: string;
  readonly isWanted: boolean;
  /** Of the download, in MB. */
  readonly megabytes: number;
}

/** Whether a variable is set. The gateway takes whatever begins so for a setting of its own. */
export function taken(variable: string): boolean {
  const isSet = process.env[variable] !== undefined;
  Reflect.deleteProperty(process.env, variable);
  return isSet;
}

const copyDependencies = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies';

/** The folder of all that a list names and needs; null, and a skip, where that can't be had. */
export async function mavenJars(t: TestContext, wanted: Wanted): Promise<string | null> {
  if (!wanted.isWanted) {
    const size = `${wanted.megabytes} MB`;
    t.skip(`takes minutes and a download of ${size}: set ${wanted.variable}=1 for it`);
    return null;
  }
  if (!needs(t, 'java', 'mvn')) return null;
  // The list by which they were downloaded is kept beside them.
  const kept = resolve(import.meta.dirname, '../../build', wanted.name);
  const [list, have] = await Promise.all([
    readFile(wanted.pom, 'utf8'),
    readFile(join(kept, 'pom.xml'), 'utf8').catch(() => ''),
  ]);
  const jars = join(kept, 'jars');
  if (list === have) return jars;
  await rm(kept, { recursive: true, force: true });
  await mkdir(kept, { recursive: true });
  const pom = join(kept, 'wanted.xml');
  await cp(wanted.pom, pom);
  const properties = Object.entries({ ...wanted.properties, outputDirectory: jars });
  try {
    await promisify(execFile)('mvn', [
      ...['-q', '-B', '-f', pom, copyDependencies],
      ...properties.map(([name, value]) => `-D${name}=${value}`),
    ]);
  } catch (error) {
    const { stdout } = error as { readonly stdout: string };
    if (!/Could not (transfer|find)|Unknown host|could not be resolved/.test(stdout)) throw error;
    t.skip(`needs a Maven repository with ${wanted.title}, and reaches none`);
    return null;
  }
  await writeFile(join(kept, 'pom.xml'), list);
  return jars;
}
