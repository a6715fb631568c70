import { spawnSync } from 'node:child_process';
import { chown, writeFile } from 'node:fs/promises';
import { existsSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import { Client } from 'pg';
import { Child } from '../../../support/child.ts';
import { freePort } from '../../../support/gateway.ts';
import type { Scope } from '../../../support/scope.ts';
import { memoryFolder } from '../../../support/temporary-folder.ts';
import { findProgram } from '../../../support/tools.ts';

/** Debian keeps the programs of each version in a folder of its own, which is not in PATH. */
const versions = '/usr/lib/postgresql';
/** Nobody and its group: PostgreSQL does not run as root. */
const nobody = { uid: 65534, gid: 65534 };

function programsFolder(): string | null {
  const numbers = existsSync(versions) ? readdirSync(versions) : [];
  for (const number of numbers.sort((a, b) => Number(b) - Number(a))) {
    const folder = join(versions, number, 'bin');
    if (existsSync(join(folder, 'initdb'))) return folder;
  }
  const initdb = findProgram('initdb');
  return initdb === null ? null : dirname(initdb);
}

/** Skips the test, saying why, unless PostgreSQL is here. */
export function needsPostgres(context: TestContext): boolean {
  if (programsFolder() !== null) return true;
  context.skip('needs PostgreSQL, not on this machine');
  return false;
}

export interface Postgres {
  readonly host: '127.0.0.1';
  readonly port: number;
  readonly login: { readonly user: string; readonly password: string; readonly database: string };
  /** Ends with the test. */
  connect(): Promise<Client>;
}

/**
 * A real PostgreSQL with a database of its own, which asks for passwords.
 * @param settings of postgresql.conf
 */
export async function startPostgres(
  context: Scope,
  settings: Readonly<Record<string, string>> = {},
): Promise<Postgres> {
  const programs = programsFolder();
  if (programs === null) throw new Error('needs PostgreSQL, not on this machine');
  const folder = await memoryFolder(context);
  const data = join(folder, 'data');
  const passwordFile = join(folder, 'password');
  const login = { user: 'loader', password: "p'ass wörd", database: 'postgres' };
  await writeFile(passwordFile, login.password);
  const asRoot = process.getuid?.() === 0;
  const identity = asRoot ? nobody : {};
  if (asRoot) {
    await chown(folder, nobody.uid, nobody.gid);
    await chown(passwordFile, nobody.uid, nobody.gid);
  }
  const options = { ...identity, cwd: folder, env: { LC_ALL: 'C', PATH: process.env['PATH'] } };
  const made = spawnSync(
    join(programs, 'initdb'),
    [
      ...['--pgdata', data, '--username', login.user, '--pwfile', passwordFile],
      ...['--auth', 'scram-sha-256', '--encoding', 'UTF8', '--no-sync'],
    ],
    { ...options, encoding: 'utf8' },
  );
  if (made.status !== 0) throw new Error(`initdb: ${made.stderr}`);
  const port = await freePort();
  const all = {
    ...{ listen_addresses: '127.0.0.1', unix_socket_directories: '', fsync: 'off' },
    ...settings,
  };
  const flags = Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const args = ['-D', data, '-p', String(port), ...flags];
  const server = new Child(join(programs, 'postgres'), args, options);
  // Its own way of ending at once: killed, it would leave its sessions behind for a while.
  context.after(() => server.stop('SIGQUIT'));
  await server.line(/ready to accept connections/);
  return {
    host: '127.0.0.1',
    port,
    login,
    connect: async () => {
      const client = new Client({ ...login, host: '127.0.0.1', port });
      client.on('error', () => undefined);
      await client.connect();
      context.after(() => client.end());
      return client;
    },
  };
}
