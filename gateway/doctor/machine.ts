/** The machine and the process: Node, memory, open files, libuv's pool, the clock. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { availableParallelism, totalmem } from 'node:os';
import { failure, fine, warning, type Diagnosis } from './diagnosis.ts';

const MiB = 2 ** 20;
const nodeLeast = [20, 19] as const;
const memoryLeastBytes = 256 * MiB;
const openFilesLeast = 4096;
const poolLeast = 8;
/** No clock that is right says less. */
const yearLeastMs = Date.UTC(2026, 0, 1);
const askTimeoutMs = 3000;

export function diagnoseNode(version: string): Diagnosis {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const old = major < nodeLeast[0] || (major === nodeLeast[0] && minor < nodeLeast[1]);
  return old
    ? failure('Node.js', `${version} is too old`, `install ${nodeLeast.join('.')} or newer`)
    : fine('Node.js', version);
}

/** Memory that programs can still get, in a container within its limit. */
export async function diagnoseMemory(): Promise<Diagnosis> {
  const meminfo = await textOf('/proc/meminfo');
  const available = Number(/^MemAvailable: +(\d+) kB/m.exec(meminfo)?.[1] ?? NaN) * 1024;
  const limit = Number((await textOf('/sys/fs/cgroup/memory.max')).trim() || NaN);
  const used = Number((await textOf('/sys/fs/cgroup/memory.current')).trim() || NaN);
  const inContainer = limit - used;
  const bytes = [available, inContainer].filter(Number.isFinite);
  return bytes.length === 0
    ? fine('Memory', `${formatMiB(totalmem())} in all`)
    : judgeMemory(Math.min(...bytes));
}

export function judgeMemory(availableBytes: number): Diagnosis {
  return availableBytes < memoryLeastBytes
    ? warning(
        'Memory',
        `only ${formatMiB(availableBytes)} can still be had`,
        'the gateway takes some 150 MiB, and 40 MiB per camera: end other programs, or raise the limit of the container',
      )
    : fine('Memory', `${formatMiB(availableBytes)} can still be had`);
}

/** @param pid of the gateway; null: of this process, which has the limits of the next one */
export async function diagnoseOpenFiles(pid: number | null): Promise<Diagnosis> {
  const limits = await textOf(`/proc/${pid ?? 'self'}/limits`);
  // The second number is the hard one, which Node takes for itself.
  const hard = /^Max open files +\S+ +(\S+)/m.exec(limits)?.[1];
  if (hard === undefined) return fine('Open files', 'this system does not tell its limit');
  return judgeOpenFiles(hard === 'unlimited' ? Infinity : Number(hard));
}

export function judgeOpenFiles(limit: number): Diagnosis {
  return limit < openFilesLeast
    ? warning(
        'Open files',
        `at most ${limit}: every connection, camera and file counts`,
        `raise it: "ulimit -Hn ${openFilesLeast}" or more, LimitNOFILE= in a unit, --ulimit nofile= for a container`,
      )
    : fine('Open files', Number.isFinite(limit) ? `at most ${limit}` : 'no limit');
}

/** @param size what UV_THREADPOOL_SIZE is for the gateway; undefined: it is not set, or unknown */
export function judgePool(size: string | undefined, running: boolean): Diagnosis {
  const name = 'Thread pool';
  const wanted = Math.max(16, 2 * availableParallelism());
  const advice = `set UV_THREADPOOL_SIZE=${wanted} before the gateway starts, as "npm start" and the unit of "headgate service" do`;
  if (size === undefined) {
    return running
      ? warning(name, 'four threads, which a slow disk holds all at once', advice)
      : fine(name, 'is set by "npm start" and by the unit of "headgate service"');
  }
  return Number(size) >= poolLeast
    ? fine(name, `${size} threads`)
    : warning(name, `${size} threads, which a slow disk holds all at once`, advice);
}

// ---------------------------------------------------------------- the clock

export async function diagnoseClock(nowMs: number): Promise<Diagnosis> {
  return judgeClock(nowMs, await isSynchronised());
}

/** @param synchronised null: nobody here can tell */
export function judgeClock(nowMs: number, synchronised: boolean | null): Diagnosis {
  const time = new Date(nowMs).toISOString();
  if (nowMs < yearLeastMs) {
    return failure(
      'Clock',
      `it says ${time}, which is over`,
      'set it, and have it synchronised (systemd-timesyncd or chrony): footage and records carry its time, and TLS to the cloud fails',
    );
  }
  if (synchronised === true) return fine('Clock', `${time}, synchronised`);
  return warning(
    'Clock',
    synchronised === false
      ? `${time}, and not synchronised`
      : `${time}; nobody here can tell whether it is synchronised`,
    'have it synchronised (systemd-timesyncd or chrony): S3 and Kinesis refuse requests that are 15 minutes off',
  );
}

async function isSynchronised(): Promise<boolean | null> {
  if (existsSync('/run/systemd/timesync/synchronized')) return true;
  const systemd = await output('timedatectl', ['show', '--property=NTPSynchronized', '--value']);
  if (systemd === 'yes' || systemd === 'no') return systemd === 'yes';
  const chrony = await output('chronyc', ['-c', 'tracking']);
  // The last of the fields says "Normal", or "Not synchronised".
  return chrony === null ? null : !/not synchroni[sz]ed$/i.test(chrony);
}

/** What a program prints; null when it is not there or fails. */
export function output(program: string, args: readonly string[]): Promise<string | null> {
  return new Promise((resolve) => {
    execFile(program, args, { timeout: askTimeoutMs }, (error, stdout) => {
      resolve(error === null ? stdout.trim() : null);
    });
  });
}

/** What a variable of the environment is for another process; undefined: unset, or not to be seen. */
export async function variableOf(pid: number, name: string): Promise<string | undefined> {
  const text = await textOf(`/proc/${pid}/environ`);
  const entry = text.split('\0').find((one) => one.startsWith(`${name}=`));
  return entry?.slice(name.length + 1);
}

/** Empty where it can't be read. */
function textOf(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '');
}

function formatMiB(bytes: number): string {
  return `${Math.floor(bytes / MiB)} MiB`;
}
