/** What the doctor makes of what it sees; that it sees it is tested in ../cli/doctor.test.ts. */
import assert from 'node:assert/strict';
import { readFile, stat } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { test } from 'node:test';
import type { Diagnosis } from '../../../gateway/doctor/diagnosis.ts';
import {
  diagnoseMount,
  judgeFileSystem,
  judgeInodes,
  judgeSpace,
  judgeSyncs,
} from '../../../gateway/doctor/disk.ts';
import {
  diagnoseNode,
  judgeClock,
  judgeMemory,
  judgeOpenFiles,
  judgePool,
} from '../../../gateway/doctor/machine.ts';
import { diagnosePort } from '../../../gateway/doctor/ports.ts';

function isWell(found: Diagnosis): void {
  assert.equal(found.status, 'ok', JSON.stringify(found));
  assert.equal(found.advice, null, 'where nothing is wrong there is nothing to do');
}

function isIll(found: Diagnosis, status: 'warn' | 'fail', message: RegExp, advice: RegExp): void {
  assert.equal(found.status, status, JSON.stringify(found));
  assert.match(found.message, message);
  assert.match(found.advice ?? '', advice);
}

test('a folder where a disk should be mounted', async (t) => {
  const roots = await Promise.all([stat('/'), stat('/mnt')]);
  if (roots[0].dev !== roots[1].dev) {
    t.skip('something is mounted at /mnt');
    return;
  }
  const [found] = await diagnoseMount('Delivery copy', '/mnt/headgate-has-no-such-disk/out');
  assert.ok(found);
  isIll(found, 'warn', /on the disk of the system/, /mount its disk/);
  assert.deepEqual(await diagnoseMount('Delivery copy', '/var/lib/headgate/out'), []);
  const mounted = (await readFile('/proc/mounts', 'utf8'))
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .find((folder) => /^\/(mnt|media)\//.test(folder));
  if (mounted !== undefined) assert.deepEqual(await diagnoseMount('Delivery copy', mounted), []);
});

test('the machine', () => {
  isWell(diagnoseNode('20.19.0'));
  isWell(diagnoseNode('24.1.0'));
  isIll(diagnoseNode('20.18.3'), 'fail', /20\.18\.3 is too old/, /20\.19 or newer/);
  isIll(diagnoseNode('18.20.0'), 'fail', /too old/, /install/);
  isWell(judgeMemory(2 ** 30));
  isIll(judgeMemory(100 * 2 ** 20), 'warn', /only 100 MiB/, /150 MiB, and 40 MiB per camera/);
  isWell(judgeOpenFiles(Infinity));
  isWell(judgeOpenFiles(524_288));
  isIll(judgeOpenFiles(1024), 'warn', /at most 1024/, /LimitNOFILE/);
  isWell(judgePool('16', true));
  isWell(judgePool(undefined, false));
  isIll(judgePool(undefined, true), 'warn', /four threads/, /UV_THREADPOOL_SIZE=\d+/);
  isIll(judgePool('4', true), 'warn', /4 threads/, /UV_THREADPOOL_SIZE/);
});

test('the clock', () => {
  const nowMs = Date.UTC(2026, 10, 21);
  isWell(judgeClock(nowMs, true));
  isIll(judgeClock(nowMs, false), 'warn', /not synchronised/, /chrony/);
  isIll(judgeClock(nowMs, null), 'warn', /nobody here can tell/, /15 minutes/);
  isIll(judgeClock(0, true), 'fail', /1970-01-01/, /set it/);
});

test('the disk', () => {
  const data = { name: 'Data', folder: '/data', minFreeBytes: 2e9 };
  isWell(judgeSpace(data, 3e9));
  isIll(judgeSpace(data, 1e9), 'warn', /less than the 2 GB/, /retentionHours/);
  isIll(judgeSpace(data, 1e6), 'fail', /free for \/data/, /make room/);
  isWell(judgeInodes('Data', 0, 0));
  isWell(judgeInodes('Data', 1e6, 5e5));
  isIll(judgeInodes('Data', 1e6, 500), 'warn', /500 of 1000000 left/, /small files/);
  isWell(judgeFileSystem('Data', '/data', 0xef53));
  isWell(judgeFileSystem('Data', '/data', 0x12345678));
  isIll(judgeFileSystem('Data', '/data', 0x01021994), 'warn', /empty after a restart/, /dataDir/);
  isIll(judgeFileSystem('Data', '/data', 0x6969), 'fail', /nfs/, /disk of this machine/);
});

test('an fsync that is slow brings a proposal, unless it is followed already', () => {
  const times = (ms: number): number[] => Array.from({ length: 50 }, () => ms);
  isWell(judgeSyncs('Data', times(0.4), 0));
  isWell(judgeSyncs('Data', [...times(3), 400], 0));
  const slow = judgeSyncs('Data', [...times(24.3), 90], 0);
  isIll(slow, 'warn', /24\.3 ms, at worst 90\.0 ms/, /log\.lingerMs: 25,/);
  isIll(judgeSyncs('Data', times(900), 0), 'warn', /900\.0/, /log\.lingerMs: 50,/);
  isWell(judgeSyncs('Data', times(24.3), 25));
  isWell(judgeSyncs('Data', [], 0));
});

test('a port that another program has is named with it', async (t) => {
  const server = createServer();
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  t.after(() => new Promise((resolve) => server.close(resolve)));
  const { port } = server.address() as AddressInfo;
  const listener = { name: 'MQTT', host: '127.0.0.1', port, key: 'mqtt.port' };
  const taken = await diagnosePort(listener, null);
  assert.equal(taken.name, `Port ${port}`);
  isIll(taken, 'fail', new RegExp(`held by .*${process.pid}`), /set mqtt\.port/);
  isWell(await diagnosePort(listener, process.pid));
  isWell(await diagnosePort(listener, 'unknown'));
  isIll(await diagnosePort(listener, process.pid + 1), 'fail', /held by/, /end it/);
  isWell(await diagnosePort({ ...listener, port: 0 }, null));
  const elsewhere = await diagnosePort({ ...listener, host: '192.0.2.77', port: 1 }, null);
  isIll(elsewhere, 'fail', /EADDRNOTAVAIL|EACCES/, /./);
});
