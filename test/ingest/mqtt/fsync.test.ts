import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { it } from 'node:test';
import { startChild } from '../../support/child.ts';
import { compiled } from '../../support/program.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { publishPacket, RawClient } from './support.ts';

const MESSAGES = 20;

/**
 * A killed process can't show this, because the kernel keeps what it was given: only the order of the
 * system calls shows that the log was on disk before the device was told.
 */
it('fsyncs the write-ahead log before every PUBACK', { timeout: 600_000 }, async (t) => {
  if (spawnSync('strace', ['-o', '/dev/null', 'true']).status !== 0) {
    t.skip('strace is not installed, or may not trace here');
    return;
  }
  const folder = await temporaryFolder(t);
  const trace = join(folder, 'trace');
  const script = fileURLToPath(new URL('crash-child.ts', import.meta.url));
  const child = startChild(t, 'strace', [
    ...['-f', '-y', '-xx', '-s', '256', '-o', trace],
    ...['-e', 'trace=read,write,writev,sendmsg,fsync,fdatasync'],
    ...[process.execPath, compiled(script), join(folder, 'store')],
  ]);
  const [, traced, port] = (await child.line(/^process (\d+) port (\d+)$/)).map(Number);
  t.after(() => kill(traced!));
  const client = await RawClient.login(t, port!, 'traced');
  for (let messageId = 1; messageId <= MESSAGES; messageId++) {
    const payload = payloadOf(messageId);
    client.send(publishPacket({ topic: 'site/a/n', payload, qos: 1, messageId }));
    assert.equal((await client.packet()).type, 4);
  }
  client.socket.destroy();
  kill(traced!);
  await child.exited;

  const calls = readFileSync(trace, 'utf8').split('\n');
  for (let messageId = 1; messageId <= MESSAGES; messageId++) {
    const arrival = indexOf(calls, 0, (call) => call.includes(hex(payloadOf(messageId))));
    const puback = `"${hex(Buffer.from([0x40, 2, messageId >> 8, messageId & 0xff]))}`;
    const answer = indexOf(calls, arrival, (call) => call.includes(puback));
    const synced = syncsOfLog(calls.slice(arrival, answer));
    assert.ok(synced > 0, `message ${messageId} was acknowledged without an fsync`);
  }
});

/** Ends what is traced; strace follows it. */
function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended already.
  }
}

function payloadOf(messageId: number): string {
  return `reading ${String(messageId).padStart(4, '0')}`;
}

function hex(bytes: string | Buffer): string {
  return [...Buffer.from(bytes)].map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('');
}

function indexOf(calls: readonly string[], from: number, is: (call: string) => boolean): number {
  const index = calls.findIndex((call, at) => at >= from && is(call));
  assert.notEqual(index, -1, 'a call is missing in the trace');
  return index;
}

/** How many syncs of the write-ahead log began and ended, well, within these calls. */
function syncsOfLog(calls: readonly string[]): number {
  const begun = new Set<string>();
  let ended = 0;
  for (const call of calls) {
    const [, thread = '', rest = ''] = /^(\d+)\s+(.*)$/.exec(call) ?? [];
    const begins = /^f(data)?sync\(/.test(rest) && rest.includes(hex('.db-wal'));
    if (begins && rest.endsWith('<unfinished ...>')) begun.add(thread);
    else if (begins && rest.endsWith('= 0')) ended += 1;
    else if (/^<\.\.\. f(data)?sync resumed>.*= 0$/.test(rest) && begun.delete(thread)) ended += 1;
  }
  return ended;
}
