/** Whether the addresses that the gateway is to listen on are free, and who has them if not. */
import { readdir, readFile, readlink } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { Listener } from '../opening.ts';
import { failure, fine, type Diagnosis } from './diagnosis.ts';

/** @param ownPid of the running gateway, which may have them; null: it does not run */
export async function diagnosePort(
  { name, host, port, key }: Listener,
  ownPid: number | 'unknown' | null,
): Promise<Diagnosis> {
  const what = `Port ${port}`;
  if (port === 0) return fine(`${name} port`, 'any free one');
  const code = await tryListening(host, port);
  if (code === null) return fine(what, `free for ${name}`);
  if (code === 'EADDRINUSE') {
    const holder = await holderOf(port);
    // WebRTC's is held by a process of the gateway.
    const isOwn = holder === null || holder.pid === ownPid || holder.parentPid === ownPid;
    if (ownPid !== null && (ownPid === 'unknown' || isOwn)) {
      return fine(what, `${name}, held by the running gateway`);
    }
    const who = holder === null ? 'another program' : `${holder.command} (process ${holder.pid})`;
    return failure(what, `held by ${who}`, `end it, or set ${key} to another port for ${name}`);
  }
  const advice: Readonly<Record<string, string>> = {
    EACCES: `set ${key} to 1024 or more, or give the program CAP_NET_BIND_SERVICE`,
    EADDRNOTAVAIL: `${host} is no address of this machine: set it to one, or use "listen: lan"`,
    ENOTFOUND: `${host} is no name of this machine: set it to an address`,
  };
  return failure(what, `can't be listened on at ${host}: ${code}`, advice[code] ?? `set ${key}`);
}

/** Null when it works, else the code of the error. */
function tryListening(host: string, port: number): Promise<string | null> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => {
      resolve(error.code ?? error.message);
    });
    server.listen({ host, port, exclusive: true }, () => {
      server.close(() => {
        resolve(null);
      });
    });
  });
}

/** The process that listens on a TCP port, as far as this user may see it. */
async function holderOf(
  port: number,
): Promise<{ pid: number; parentPid: number; command: string } | null> {
  const inodes = new Set<string>();
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6']) {
    const text = await readFile(table, 'utf8').catch(() => '');
    for (const line of text.split('\n')) {
      const [, local = '', , state, , , , , , inode = ''] = line.trim().split(/\s+/);
      const isListening = state === '0A';
      if (isListening && parseInt(local.split(':')[1] ?? '', 16) === port) inodes.add(inode);
    }
  }
  if (inodes.size === 0) return null;
  const processes = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  for (const pid of processes) {
    const descriptors = await readdir(`/proc/${pid}/fd`).catch(() => []);
    for (const descriptor of descriptors) {
      const target = await readlink(`/proc/${pid}/fd/${descriptor}`).catch(() => '');
      if (!inodes.has(/^socket:\[(\d+)\]$/.exec(target)?.[1] ?? '')) continue;
      const command = (await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '?')).trim();
      const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
      // After the name, which may hold anything: the state, then the parent.
      const parentPid = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1] ?? NaN);
      return { pid: Number(pid), parentPid, command };
    }
  }
  return null;
}
