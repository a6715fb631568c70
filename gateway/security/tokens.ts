/**
 * The secrets that let someone in, kept as hashes in a folder of the data directory.
 *
 * Three kinds, one mechanism:
 * - A *token* is for programs and for people who keep one: made at the first start (and by
 *   `headgate token`), shown once, good until it is revoked.
 * - A *login code* is what the one-time link carries: good for one login within 15 minutes. A new
 *   one is printed at every start, so that a link in a terminal's history or a log opens nothing.
 * - A *session* is what a browser's cookie holds after a login: good for 7 days or until logout.
 *
 * Layout: `<folder>/{tokens,codes,sessions}/<SHA-256 of the secret, hex>`, files of mode 0600 in
 * folders of mode 0700, holding `{"createdMs", "expiresMs"}`. The name is the lookup: checking a
 * secret is opening one file, so a token made or revoked by another process counts at once, and
 * a code is spent by whoever manages to unlink it. Secrets carry 256 random bits, which is why a
 * plain hash is enough: there is nothing to guess, and nothing that timing could tell.
 *
 * Limits: 64 tokens (more are refused), 64 codes and 256 sessions (the oldest give way).
 * A session that cannot be written (disk full) lives in memory: a full disk is when one most
 * needs to look at the page.
 *
 * Cookies, headers and the counting of attempts live in http/authentication.ts.
 */
import { createHash, randomBytes as cryptoRandomBytes } from 'node:crypto';
import { mkdir, readFile, readdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../storage/ports.ts';
import { codeOf, writeAccessFile } from './access-files.ts';

const loginCodeLifeMs = 15 * 60_000;
const sessionLifeMs = 7 * 24 * 3_600_000;
const maxTokens = 64;
const maxCodes = 64;
const maxSessions = 256;

type Kind = 'tokens' | 'codes' | 'sessions';

interface Entry {
  readonly createdMs: number;
  /** null: it does not expire. */
  readonly expiresMs: number | null;
}

export interface TokensOptions {
  /** Made when missing; usually `<dataDir>/access`. */
  readonly folder: string;
  readonly clock: Clock;
  /** Cryptographic randomness; the system's when left out. */
  readonly randomBytes?: (size: number) => Buffer;
}

/** Too many tokens exist already. */
export class TooManyTokensError extends Error {
  override readonly name = 'TooManyTokensError';
}

export class Tokens {
  readonly #folder: string;
  readonly #clock: Clock;
  readonly #randomBytes: (size: number) => Buffer;
  readonly #sessionsInMemory = new Map<string, Entry>();

  private constructor(options: TokensOptions) {
    this.#folder = options.folder;
    this.#clock = options.clock;
    this.#randomBytes = options.randomBytes ?? cryptoRandomBytes;
  }

  /** Opens the folder, made when missing. Any number of processes may have it open. */
  static async open(options: TokensOptions): Promise<Tokens> {
    for (const kind of ['tokens', 'codes', 'sessions'] satisfies Kind[]) {
      await mkdir(join(options.folder, kind), { recursive: true, mode: 0o700 });
    }
    return new Tokens(options);
  }

  /** At the first start a token, to be shown once; null when there is one already. */
  async createFirstToken(): Promise<string | null> {
    const existing = await this.#list('tokens');
    return existing.length > 0 ? null : await this.createToken();
  }

  /** A new token, to be shown once. @throws TooManyTokensError past 64 */
  async createToken(): Promise<string> {
    const existing = await this.#list('tokens');
    if (existing.length >= maxTokens) {
      throw new TooManyTokensError(
        `there are ${maxTokens} tokens already: revoke them in ${join(this.#folder, 'tokens')}`,
      );
    }
    return this.#create('tokens', 'hg_', null);
  }

  /** Revokes every token and ends every session; returns how many tokens there were. */
  async revokeAll(): Promise<number> {
    const tokens = await this.#list('tokens');
    for (const kind of ['tokens', 'codes', 'sessions'] satisfies Kind[]) {
      for (const hash of await this.#list(kind)) await this.#remove(kind, hash);
    }
    this.#sessionsInMemory.clear();
    return tokens.length;
  }

  /** Whether this is a token that counts. */
  async checkToken(token: string): Promise<boolean> {
    return (await this.#read('tokens', hashOf(token))) !== null;
  }

  /** A code for one login link: `/login?token=<code>`, good once and for 15 minutes. */
  async createLoginCode(): Promise<string> {
    await this.#makeRoom('codes', maxCodes);
    return this.#create('codes', 'once_', loginCodeLifeMs);
  }

  /** Spends a code. Of several that try at once, one is told true. */
  async redeemLoginCode(code: string): Promise<boolean> {
    const hash = hashOf(code);
    if ((await this.#read('codes', hash)) === null) return false;
    return this.#remove('codes', hash);
  }

  /** A new session; what is returned goes into the cookie. */
  async createSession(): Promise<{ readonly secret: string; readonly lifeMs: number }> {
    try {
      await this.#makeRoom('sessions', maxSessions);
      const secret = await this.#create('sessions', '', sessionLifeMs);
      return { secret, lifeMs: sessionLifeMs };
    } catch (error) {
      if (!isDiskTrouble(error)) throw error;
      const secret = this.#newSecret('');
      const nowMs = this.#clock.nowMs();
      const oldest = this.#sessionsInMemory.keys().next();
      if (this.#sessionsInMemory.size >= maxSessions && oldest.done !== true) {
        this.#sessionsInMemory.delete(oldest.value);
      }
      this.#sessionsInMemory.set(hashOf(secret), {
        createdMs: nowMs,
        expiresMs: nowMs + sessionLifeMs,
      });
      return { secret, lifeMs: sessionLifeMs };
    }
  }

  async checkSession(secret: string): Promise<boolean> {
    const hash = hashOf(secret);
    const inMemory = this.#sessionsInMemory.get(hash);
    if (inMemory !== undefined) return this.#counts(inMemory);
    return (await this.#read('sessions', hash)) !== null;
  }

  /** Logs out. Ending one that is over is harmless. */
  async endSession(secret: string): Promise<void> {
    const hash = hashOf(secret);
    this.#sessionsInMemory.delete(hash);
    await this.#remove('sessions', hash);
  }

  #newSecret(prefix: string): string {
    return prefix + this.#randomBytes(32).toString('base64url');
  }

  async #create(kind: Kind, prefix: string, lifeMs: number | null): Promise<string> {
    const secret = this.#newSecret(prefix);
    const createdMs = this.#clock.nowMs();
    const entry: Entry = { createdMs, expiresMs: lifeMs === null ? null : createdMs + lifeMs };
    const path = join(this.#folder, kind, hashOf(secret));
    await writeAccessFile(path, JSON.stringify(entry), this.#folder);
    return secret;
  }

  /** The entry, or null when there is none, it is not ours to understand, or it is over. */
  async #read(kind: Kind, hash: string): Promise<Entry | null> {
    let text: string;
    try {
      text = await readFile(join(this.#folder, kind, hash), 'utf8');
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return null;
      throw error;
    }
    const entry = parseEntry(text);
    if (entry === null) return null;
    if (this.#counts(entry)) return entry;
    await this.#remove(kind, hash);
    return null;
  }

  #counts(entry: Entry): boolean {
    return entry.expiresMs === null || this.#clock.nowMs() < entry.expiresMs;
  }

  async #list(kind: Kind): Promise<string[]> {
    const names = await readdir(join(this.#folder, kind));
    return names.filter((name) => /^[0-9a-f]{64}$/.test(name));
  }

  /** Drops what is over, then the oldest, until one more fits. */
  async #makeRoom(kind: Kind, max: number): Promise<void> {
    const hashes = await this.#list(kind);
    if (hashes.length < max) return;
    const entries: { hash: string; createdMs: number }[] = [];
    for (const hash of hashes) {
      const entry = await this.#read(kind, hash);
      if (entry !== null) entries.push({ hash, createdMs: entry.createdMs });
    }
    entries.sort((a, b) => a.createdMs - b.createdMs);
    const surplus = Math.max(0, entries.length - max + 1);
    for (const { hash } of entries.slice(0, surplus)) await this.#remove(kind, hash);
  }

  /** Whether it was this call that removed it. */
  async #remove(kind: Kind, hash: string): Promise<boolean> {
    try {
      await unlink(join(this.#folder, kind, hash));
      return true;
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return false;
      throw error;
    }
  }
}

function hashOf(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}

function parseEntry(text: string): Entry | null {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== 'object' || value === null) return null;
    const { createdMs, expiresMs } = value as Record<string, unknown>;
    if (typeof createdMs !== 'number') return null;
    if (typeof expiresMs !== 'number' && expiresMs !== null) return null;
    return { createdMs, expiresMs };
  } catch {
    return null;
  }
}

function isDiskTrouble(error: unknown): boolean {
  return ['ENOSPC', 'EDQUOT', 'EROFS', 'EIO'].includes(String(codeOf(error)));
}
