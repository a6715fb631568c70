/** Certificates for tests, made by openssl. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Certificate {
  /** PEM. */
  readonly cert: string;
  readonly key: string;
}

/** Makes an authority of its own, which signs what it is asked for. Needs `openssl`. */
export class Authority {
  readonly cert: string;
  readonly #folder: string;

  constructor(folder: string, name: string) {
    this.#folder = folder;
    openssl(folder, [
      'req',
      '-x509',
      ...newKey('ca.key'),
      '-subj',
      `/CN=${name}`,
      '-out',
      'ca.pem',
    ]);
    this.cert = read(folder, 'ca.pem');
  }

  /** `name` is the common name, and a DNS name and, where it is one, an address. */
  issue(name: string): Certificate {
    const folder = this.#folder;
    openssl(folder, ['req', ...newKey('own.key'), '-subj', `/CN=${name}`, '-out', 'own.csr']);
    writeFileSync(join(folder, 'own.ext'), `subjectAltName=DNS:${name},IP:127.0.0.1\n`);
    openssl(folder, [
      ...['x509', '-req', '-in', 'own.csr', '-CA', 'ca.pem', '-CAkey', 'ca.key'],
      ...['-CAcreateserial', '-days', '2', '-extfile', 'own.ext', '-out', 'own.pem'],
    ]);
    return { cert: read(folder, 'own.pem'), key: read(folder, 'own.key') };
  }
}

function newKey(path: string): string[] {
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'];
  return [...curve, '-nodes', '-keyout', path];
}

function openssl(folder: string, args: readonly string[]): void {
  execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });
}

function read(folder: string, name: string): string {
  return readFileSync(join(folder, name), 'utf8');
}
