import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  keptCertificate,
  ownCertificate,
  ownNames,
  readCertificate,
} from '../../../gateway/security/certificates.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { needs } from '../../support/tools.ts';

const dayMs = 24 * 3_600_000;
const nowMs = Date.UTC(2026, 10, 21);
const names = [
  'box-7',
  'box-7.local',
  'localhost',
  '127.0.0.1',
  '::1',
  '192.0.2.10',
  '2001:db8::a',
];

test('the certificate names the machine, is vouched for by the box, and its keys are private', async (t) => {
  const folder = await temporaryFolder(t);
  const made = await ownCertificate({ folder, names, nowMs });
  const certificate = new X509Certificate(made.cert);
  for (const name of ['box-7', 'box-7.local', 'localhost']) {
    assert.equal(certificate.checkHost(name), name);
  }
  for (const address of ['127.0.0.1', '::1', '192.0.2.10', '2001:db8::a']) {
    assert.ok(certificate.checkIP(address), `${address} is in it`);
  }
  assert.equal(certificate.checkHost('elsewhere.example'), undefined);
  assert.match(made.fingerprint, /^([0-9A-F]{2}:){31}[0-9A-F]{2}$/);
  assert.ok(made.caFile, 'there is a file for devices');
  const authority = new X509Certificate(await readFile(made.caFile, 'utf8'));
  assert.equal(made.caFingerprint, authority.fingerprint256);
  assert.notEqual(made.caFingerprint, made.fingerprint);
  assert.ok(certificate.verify(authority.publicKey), 'signed by the authority');
  assert.ok(certificate.checkIssued(authority), 'and says so');
  for (const key of ['ca.key', 'gateway.key']) {
    assert.equal((await stat(join(folder, 'tls', key))).mode & 0o777, 0o600, key);
  }
  assert.equal((await stat(join(folder, 'tls'))).mode & 0o777, 0o700);
});

test('openssl finds nothing wrong with it', async (t) => {
  if (!needs(t, 'openssl')) return;
  const folder = await temporaryFolder(t);
  const { caFile } = await ownCertificate({ folder, names: ownNames(), nowMs: Date.now() });
  assert.ok(caFile, 'there is an authority');
  const leaf = join(folder, 'tls', 'gateway.pem');
  const args = ['verify', '-x509_strict', '-purpose', 'sslserver', '-CAfile', caFile, leaf];
  assert.match(execFileSync('openssl', args).toString(), /: OK/);
});

test('it stays the same from start to start, until it ends soon or the machine has moved', async (t) => {
  const folder = await temporaryFolder(t);
  const first = await ownCertificate({ folder, names, nowMs });
  const same = await ownCertificate({ folder, names: names.slice(1), nowMs: nowMs + 600 * dayMs });
  assert.equal(same.fingerprint, first.fingerprint, 'an address less is no reason');

  const later = await ownCertificate({ folder, names, nowMs: nowMs + 720 * dayMs });
  assert.notEqual(later.fingerprint, first.fingerprint, 'it would have ended within 90 days');
  assert.ok(later.notAfterMs > nowMs + 1400 * dayMs, 'the new one goes on');

  const moved = await ownCertificate({ folder, names: [...names, '198.51.100.4'], nowMs });
  assert.ok(new X509Certificate(moved.cert).checkIP('198.51.100.4'), 'the new address');
  const ca = await readFile(join(folder, 'tls', 'ca.pem'), 'utf8');
  assert.ok(first.cert.endsWith(ca) && moved.cert.endsWith(ca), 'devices need nothing new');
});

test('who only looks makes nothing', async (t) => {
  const folder = await temporaryFolder(t);
  assert.equal(await keptCertificate(folder), null);
  assert.deepEqual(await readdir(folder), []);
  const made = await ownCertificate({ folder, names, nowMs });
  assert.deepEqual(await keptCertificate(folder), made);
});

test('a clock of 1970 makes none that is over when the clock is right', async (t) => {
  const folder = await temporaryFolder(t);
  const { notAfterMs } = await ownCertificate({ folder, names, nowMs: 0 });
  assert.ok(notAfterMs > Date.UTC(2027, 0, 1), String(notAfterMs));
});

test('what a crash or a hand left damaged is made again', async (t) => {
  const folder = await temporaryFolder(t);
  const first = await ownCertificate({ folder, names, nowMs });
  await writeFile(join(folder, 'tls', 'gateway.key'), 'rubbish');
  const second = await ownCertificate({ folder, names, nowMs });
  assert.notEqual(second.fingerprint, first.fingerprint);
  await rm(join(folder, 'tls', 'ca.key'));
  await rm(join(folder, 'tls', 'gateway.pem'));
  const third = await ownCertificate({ folder, names, nowMs });
  const authority = new X509Certificate(await readFile(third.caFile ?? '', 'utf8'));
  assert.ok(new X509Certificate(third.cert).verify(authority.publicKey), 'by the new authority');
});

test("a certificate of one's own is checked before anything is served with it", async (t) => {
  const folder = await temporaryFolder(t);
  const { fingerprint } = await ownCertificate({ folder, names, nowMs });
  const file = (name: string): string => join(folder, 'tls', name);
  const read = await readCertificate(file('gateway.pem'), file('gateway.key'));
  assert.deepEqual([read.fingerprint, read.caFile], [fingerprint, null]);
  for (const [cert, key, reason] of [
    ['none.pem', 'gateway.key', /tls\.certFile: .*none\.pem can't be read: ENOENT/],
    ['gateway.key', 'gateway.key', /tls\.certFile: .* holds no certificate/],
    ['gateway.pem', 'gateway.pem', /tls\.keyFile: .* holds no private key/],
    ['gateway.pem', 'ca.key', /tls\.keyFile: .* is not the key of/],
  ] as const) {
    await assert.rejects(readCertificate(file(cert), file(key)), reason);
  }
});
