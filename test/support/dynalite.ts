/** A lease table for consumers that keep theirs in DynamoDB. */
import { once } from 'node:events';
import type { Server } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import type { Scope } from './scope.ts';

const dynalite = createRequire(import.meta.url)('dynalite') as (options: {
  readonly createTableMs: number;
  readonly updateTableMs: number;
}) => Server;

/** dynalite, its tables in memory, on a free port until the test ends. Returns its endpoint. */
export async function startDynalite(context: Scope): Promise<string> {
  // Consumers look every twenty seconds whether a table is there.
  const server = dynalite({ createTableMs: 0, updateTableMs: 0 });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  context.after(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
