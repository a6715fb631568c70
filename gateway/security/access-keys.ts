/**
 * The access keys that AWS clients sign with: an id, a secret of 40 characters, a name for whom it
 * speaks, and the policies that say what it may do (none: everything).
 *
 * They are of two kinds: those of the configuration (`auth.keys`), and those that
 * `headgate access-key` makes, a file each: `<folder>/keys/<id>`, mode 0600, with the secret wrapped
 * by the master key. A signature can only be checked by who has the secret itself, so unlike a
 * token it can't be kept as a hash.
 *
 * Invariants
 * - A file is written once and never changed, and its unlinking is what revokes the key. So what was
 *   read may be kept, and each use asks no more than whether the file is still there: a key made or
 *   revoked by another process counts at once.
 * - A file that can't be understood is no key. One that another master key wrapped is an error,
 *   which names both master keys.
 *
 * Limit: 1,000 keys that were made.
 */
import { existsSync } from 'node:fs';
import { readFile, readdir, unlink } from 'node:fs/promises';
import { randomBytes as cryptoRandomBytes, randomInt } from 'node:crypto';
import { join } from 'node:path';
import { z } from 'zod';
import { checkMasterKey, type KeyContext, type MasterKey } from '../../storage/keys.ts';
import type { Clock } from '../../storage/ports.ts';
import { codeOf, makeAccessFolder, writeAccessFile } from './access-files.ts';
import { parsePolicyText, PolicyError, type Policy } from './policy-document.ts';

const keysMax = 1_000;
const idAlphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

export interface ConfiguredKey {
  readonly name: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Policy documents, as JSON; none: it may do everything. */
  readonly policies: readonly string[];
}

export interface AccessKey {
  readonly name: string;
  readonly secretAccessKey: string;
  readonly policies: readonly Policy[];
}

export interface AccessKeyDescription {
  readonly accessKeyId: string;
  /** null: its file is damaged. */
  readonly name: string | null;
  /** null: from the configuration, or damaged. */
  readonly createdMs: number | null;
  /** How many policies there are; 0: it may do everything. */
  readonly policies: number;
  readonly configured: boolean;
}

export interface AccessKeysOptions {
  /** Usually `<dataDir>/access`. */
  readonly folder: string;
  readonly masterKey: MasterKey;
  /** Those of before: what they have wrapped is wrapped by `masterKey` when the folder is opened. */
  readonly previous?: readonly MasterKey[];
  readonly configured: readonly ConfiguredKey[];
  readonly clock: Clock;
}

const fileSchema = z.object({
  name: z.string(),
  createdMs: z.number(),
  masterKeyId: z.string(),
  secret: z.base64(),
  policies: z.array(z.string()),
});

interface KeyFile extends Omit<z.infer<typeof fileSchema>, 'policies'> {
  readonly policies: readonly Policy[];
}

/** What was asked for can't be done, in words for people. */
export class AccessKeyError extends Error {
  override readonly name = 'AccessKeyError';
}

export class AccessKeys {
  readonly #folder: string;
  readonly #masterKey: MasterKey;
  readonly #clock: Clock;
  #configured: ReadonlyMap<string, AccessKey>;
  /** What was read of the files. */
  readonly #made = new Map<string, AccessKey>();

  private constructor(options: AccessKeysOptions, folder: string) {
    this.#folder = folder;
    this.#masterKey = options.masterKey;
    this.#clock = options.clock;
    this.#configured = readConfigured(options.configured);
  }

  /**
   * Opens the folder, made when missing. Any number of processes may have it open.
   * @throws StorageError `wrong-key`, `key-unavailable` for what a key of before has wrapped
   */
  static async open(options: AccessKeysOptions): Promise<AccessKeys> {
    const folder = join(options.folder, 'keys');
    await makeAccessFolder(folder);
    const keys = new AccessKeys(options, folder);
    for (const before of options.previous ?? []) await keys.#rewrap(before);
    return keys;
  }

  async #rewrap(before: MasterKey): Promise<void> {
    for (const accessKeyId of await this.#ids()) {
      const path = join(this.#folder, accessKeyId);
      const file = readOrNull(await readFile(path, 'utf8').catch(() => ''));
      if (file?.masterKeyId !== before.id || before.id === this.#masterKey.id) continue;
      const context = contextOf(accessKeyId);
      const secret = await before.unwrap(Buffer.from(file.secret, 'base64'), context);
      const wrapped = (await this.#masterKey.wrap(secret, context)).toString('base64');
      const rewrapped = { ...file, masterKeyId: this.#masterKey.id, secret: wrapped };
      await writeAccessFile(path, `${JSON.stringify(rewrapped)}\n`);
    }
  }

  /** Takes over changed `auth.keys`. @throws PolicyError */
  update(configured: readonly ConfiguredKey[]): void {
    this.#configured = readConfigured(configured);
  }

  /**
   * The key of an id that counts; null: there is none.
   * @throws StorageError `wrong-key`, `key-unavailable`
   */
  async find(accessKeyId: string): Promise<AccessKey | null> {
    const configured = this.#configured.get(accessKeyId);
    if (configured !== undefined) return configured;
    const known = this.#known(accessKeyId);
    if (known !== null) return known;
    const file = isId(accessKeyId) ? await this.#read(accessKeyId) : null;
    if (file === null || file === 'damaged') return null;
    checkMasterKey(this.#masterKey, file.masterKeyId, `the access key ${accessKeyId}`);
    const wrapped = Buffer.from(file.secret, 'base64');
    const secret = await this.#masterKey.unwrap(wrapped, contextOf(accessKeyId));
    const key = { name: file.name, secretAccessKey: secret.toString(), policies: file.policies };
    this.#made.set(accessKeyId, key);
    // It may have been revoked meanwhile.
    return this.#known(accessKeyId);
  }

  /** What a key that was found may do; none: everything; null: it counts no more. */
  policiesOf(accessKeyId: string): readonly Policy[] | null {
    return (this.#configured.get(accessKeyId) ?? this.#known(accessKeyId))?.policies ?? null;
  }

  /**
   * A new key; its secret is to be shown once.
   * @param policies documents as JSON; none: it may do everything
   * @throws AccessKeyError past 1,000 keys or for a name that is none; PolicyError; StorageError
   *   `key-unavailable`
   */
  async create(
    name: string,
    policies: readonly string[],
  ): Promise<{ readonly accessKeyId: string; readonly secretAccessKey: string }> {
    if (!/^[\w+=,.@-]{1,64}$/.test(name)) {
      throw new AccessKeyError('a key is named by 1 to 64 letters, digits and + = , . @ _ -');
    }
    for (const text of policies) parsePolicyText(text, 'identity');
    if ((await this.#ids()).length >= keysMax) {
      throw new AccessKeyError(`there are ${keysMax} access keys already: revoke some`);
    }
    const accessKeyId = `AKIA${randomText(16)}`;
    const secretAccessKey = cryptoRandomBytes(30).toString('base64');
    const wrapped = await this.#masterKey.wrap(
      Buffer.from(secretAccessKey),
      contextOf(accessKeyId),
    );
    const file: z.infer<typeof fileSchema> = {
      name,
      createdMs: this.#clock.nowMs(),
      masterKeyId: this.#masterKey.id,
      secret: wrapped.toString('base64'),
      policies: [...policies],
    };
    await writeAccessFile(join(this.#folder, accessKeyId), `${JSON.stringify(file)}\n`);
    return { accessKeyId, secretAccessKey };
  }

  /** Those of the configuration first, then by age. Secrets are not read. */
  async list(): Promise<readonly AccessKeyDescription[]> {
    const made: AccessKeyDescription[] = [];
    for (const accessKeyId of await this.#ids()) {
      const file = await this.#read(accessKeyId);
      if (file === null) continue;
      const { name, createdMs, policies } =
        file === 'damaged' ? { name: null, createdMs: null, policies: [] } : file;
      made.push({ accessKeyId, name, createdMs, policies: policies.length, configured: false });
    }
    made.sort((a, b) => (a.createdMs ?? 0) - (b.createdMs ?? 0));
    const configured = [...this.#configured].map(([accessKeyId, { name, policies }]) => ({
      ...{ accessKeyId, name, createdMs: null, policies: policies.length, configured: true },
    }));
    return [...configured, ...made];
  }

  /** Whether there was such a key. @throws AccessKeyError for one of the configuration */
  async revoke(accessKeyId: string): Promise<boolean> {
    if (this.#configured.has(accessKeyId)) {
      throw new AccessKeyError(`${accessKeyId} is in the configuration: take it out of auth.keys`);
    }
    if (!isId(accessKeyId)) return false;
    this.#made.delete(accessKeyId);
    try {
      await unlink(join(this.#folder, accessKeyId));
      return true;
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return false;
      throw error;
    }
  }

  #known(accessKeyId: string): AccessKey | null {
    const known = this.#made.get(accessKeyId);
    if (known === undefined) return null;
    // A name that the system has in memory: microseconds, and no detour over the pool of threads.
    if (existsSync(join(this.#folder, accessKeyId))) return known;
    this.#made.delete(accessKeyId);
    return null;
  }

  async #ids(): Promise<readonly string[]> {
    return (await readdir(this.#folder)).filter(isId);
  }

  async #read(accessKeyId: string): Promise<KeyFile | 'damaged' | null> {
    let text: string;
    try {
      text = await readFile(join(this.#folder, accessKeyId), 'utf8');
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return null;
      throw error;
    }
    try {
      const file = fileSchema.parse(JSON.parse(text));
      return { ...file, policies: readPolicies(file.policies) };
    } catch (error) {
      if (isDamage(error)) return 'damaged';
      throw error;
    }
  }
}

function readConfigured(keys: readonly ConfiguredKey[]): ReadonlyMap<string, AccessKey> {
  return new Map(
    keys.map(({ name, accessKeyId, secretAccessKey, policies }) => [
      accessKeyId,
      { name, secretAccessKey, policies: readPolicies(policies) },
    ]),
  );
}

function readPolicies(texts: readonly string[]): readonly Policy[] {
  return texts.map((text) => parsePolicyText(text, 'identity'));
}

/** null: it is damaged. */
function readOrNull(text: string): z.infer<typeof fileSchema> | null {
  try {
    return fileSchema.parse(JSON.parse(text));
  } catch (error) {
    if (isDamage(error)) return null;
    throw error;
  }
}

function isDamage(error: unknown): boolean {
  return (
    error instanceof SyntaxError || error instanceof z.ZodError || error instanceof PolicyError
  );
}

/** Nothing that could lead out of the folder. */
function isId(text: string): boolean {
  return /^\w{1,128}$/.test(text);
}

function contextOf(accessKeyId: string): KeyContext {
  return { purpose: 'headgate access key', accessKeyId };
}

function randomText(length: number): string {
  return Array.from({ length }, () => idAlphabet.charAt(randomInt(idAlphabet.length))).join('');
}
