/**
 * The disk under a folder: room, inodes, what kind of file system it is, and how long an fsync
 * takes, by which every acknowledgement is as late.
 */
import { open, rm, statfs, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { formatSize } from '../config/leaves.ts';
import { failure, fine, warning, type Diagnosis } from './diagnosis.ts';

const syncsMax = 60;
const measureMsMax = 3000;
const freeLeastBytes = 64 * 2 ** 20;
const inodesLeast = 10_000;
/** Acknowledgements that take longer are worth a word. */
const syncMsMax = 8;
const lingerMsMax = 50;

export interface DiskOptions {
  /** In words: `Data`, `Footage`. */
  readonly name: string;
  readonly folder: string;
  /** Below this, old things are deleted or new ones refused. */
  readonly minFreeBytes: number;
  /** `log.lingerMs`; null: nothing is acknowledged from this disk. */
  readonly lingerMs: number | null;
}

export async function diagnoseDisk(options: DiskOptions): Promise<readonly Diagnosis[]> {
  const { name, folder, lingerMs } = options;
  const there = await existing(folder);
  const { type, bavail, bsize, files, ffree } = await statfs(there);
  const findings = [
    judgeSpace(options, bavail * bsize),
    judgeInodes(name, files, ffree),
    judgeFileSystem(name, folder, type),
  ];
  if (lingerMs === null) return findings;
  try {
    const times = await measureSyncs(there);
    return [...findings, judgeSyncs(name, times, lingerMs)];
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return [
      ...findings,
      failure(name, `can't be written: ${reason}`, `let this user write to ${there}`),
    ];
  }
}

/** The folder, or the nearest one above it that is there. */
async function existing(folder: string): Promise<string> {
  for (let path = folder; ; path = dirname(path)) {
    const found = await stat(path).catch(() => null);
    if (found?.isDirectory() === true || path === dirname(path)) return path;
  }
}

/** Where disks are mounted by hand, or when they are plugged in. */
const mountFolders = ['/mnt/', '/media/', '/run/media/'];

/** Whether a folder that looks like one on a disk of its own is on the system's, as it is while that is not mounted. */
export async function diagnoseMount(name: string, folder: string): Promise<readonly Diagnosis[]> {
  if (!mountFolders.some((mounts) => folder.startsWith(mounts))) return [];
  const [{ dev }, root] = await Promise.all([stat(await existing(folder)), stat('/')]);
  return dev === root.dev
    ? [
        warning(
          name,
          `${folder} is on the disk of the system: nothing is mounted there`,
          'mount its disk, or choose another folder: what is written now fills the disk of the system',
        ),
      ]
    : [];
}

export function judgeSpace(
  { name, folder, minFreeBytes }: Pick<DiskOptions, 'name' | 'folder' | 'minFreeBytes'>,
  freeBytes: number,
): Diagnosis {
  const free = `${formatSize(Math.floor(freeBytes / 2 ** 20) * 2 ** 20)} free for ${folder}`;
  if (freeBytes < freeLeastBytes) {
    return failure(name, free, 'make room: even deleting needs some');
  }
  if (freeBytes < minFreeBytes) {
    return warning(
      name,
      `${free}, less than the ${formatSize(minFreeBytes)} that are to stay free`,
      'make room, or keep less (retentionHours, maxBytes): the oldest is being deleted, or new data refused',
    );
  }
  return fine(name, free);
}

/** @param total 0: this file system has no fixed number of them */
export function judgeInodes(name: string, total: number, free: number): Diagnosis {
  const what = `${name} inodes`;
  if (total === 0) return fine(what, 'as many as there is room for');
  return free < inodesLeast
    ? warning(what, `${free} of ${total} left`, 'delete small files, or make the file system anew')
    : fine(what, `${free} left`);
}

/** File systems by the number that statfs(2) tells, as linux/magic.h has them. */
const kinds: Readonly<Record<number, string>> = {
  0xef53: 'ext4',
  0x58465342: 'xfs',
  0x9123683e: 'btrfs',
  0x2fc12fc1: 'zfs',
  0xf2f52010: 'f2fs',
  0x01021994: 'tmpfs',
  0x794c7630: 'overlay',
  0x6969: 'nfs',
  0xff534d42: 'cifs',
  0xfe534d42: 'smb',
  0x65735546: 'fuse',
  0x4d44: 'vfat',
  0x2011bab0: 'exfat',
};

const concerns: Readonly<Record<string, readonly ['warn' | 'fail', string, string]>> = {
  tmpfs: ['warn', 'memory, which is empty after a restart', 'set dataDir to a real disk'],
  overlay: [
    'warn',
    "a container's own layer, which goes with the container",
    'mount a volume or a folder there',
  ],
  nfs: networked('nfs'),
  cifs: networked('cifs'),
  smb: networked('smb'),
  vfat: ['warn', 'vfat, which keeps no file from other users', 'use ext4 or xfs'],
  exfat: ['warn', 'exfat, which keeps no file from other users', 'use ext4 or xfs'],
};

function networked(kind: string): readonly ['fail', string, string] {
  return [
    'fail',
    `${kind}, where neither locks nor fsync can be relied upon`,
    'set dataDir to a disk of this machine; mediaDir may be elsewhere',
  ];
}

export function judgeFileSystem(name: string, folder: string, type: number): Diagnosis {
  const what = `${name} file system`;
  const kind = kinds[type] ?? `0x${type.toString(16)}`;
  const concern = concerns[kind];
  if (concern === undefined) return fine(what, kind);
  const [status, message, advice] = concern;
  return { name: what, status, message: `${folder} is on ${message}`, advice };
}

/** Milliseconds of each fsync after a small write, as a group commit does. */
async function measureSyncs(folder: string): Promise<readonly number[]> {
  const path = join(folder, `.headgate-doctor-${performance.now().toString(36).slice(2)}`);
  const file = await open(path, 'wx', 0o600);
  try {
    const block = Buffer.alloc(16_384, 1);
    const times: number[] = [];
    const begunMs = performance.now();
    while (times.length < syncsMax && performance.now() - begunMs < measureMsMax) {
      await file.write(block, 0, block.length, times.length * block.length);
      const sinceMs = performance.now();
      await file.sync();
      times.push(performance.now() - sinceMs);
    }
    return times;
  } finally {
    await file.close();
    await rm(path, { force: true });
  }
}

export function judgeSyncs(name: string, timesMs: readonly number[], lingerMs: number): Diagnosis {
  const what = `${name} fsync`;
  const sorted = timesMs.toSorted((a, b) => a - b);
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
  const [middle, high] = [at(0.5), at(0.99)];
  const found = `takes ${middle.toFixed(1)} ms, at worst ${high.toFixed(1)} ms`;
  const proposedMs = Math.min(lingerMsMax, Math.ceil(middle));
  if (middle <= syncMsMax || lingerMs >= proposedMs / 2) return fine(what, found);
  return warning(
    what,
    `${found}: slow for a disk`,
    `set log.lingerMs: ${proposedMs}, which gathers more into each of them and spares flash memory`,
  );
}
