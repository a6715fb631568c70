/**
 * A standard output for a child process, read as `connectPaced` reads: into one place of memory, and
 * not before it is wanted. The pipes that Node makes for a child are read into new memory, and at
 * each write.
 */
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectPaced } from '../reading-pace.ts';

export interface ChildOutput {
  readonly reader: Socket;
  /** For the child; to be destroyed here once it is started. */
  readonly writer: Socket;
}

/** Both ends of a connection; null where none can be made, as without a folder for what is temporary. */
export async function openChildOutput(): Promise<ChildOutput | null> {
  const server = createServer({ pauseOnConnect: true });
  let folder: string | null = null;
  try {
    // Nobody else may enter it.
    folder = await mkdtemp(join(tmpdir(), 'headgate-'));
    const path = join(folder, 'output');
    server.listen(path);
    await once(server, 'listening');
    const reader = connectPaced({ path });
    const both = await Promise.all([once(server, 'connection'), once(reader, 'connect')]);
    const [[writer]] = both as [[Socket], unknown];
    return { reader, writer };
  } catch {
    return null;
  } finally {
    server.close();
    if (folder !== null) await rm(folder, { recursive: true, force: true });
  }
}
