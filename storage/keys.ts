/**
 * The keys for data at rest: data keys, each wrapped by a master key, kept in the database.
 *
 * Layout of what is sealed: nonce (12 bytes) · ciphertext · tag (16 bytes), AES-256-GCM. Associated
 * data: the id of the data key, its scope, and what the caller gives (stream, row, …), so that
 * nothing sealed for one place opens in another.
 *
 * Invariants
 * - Nonces are random, never counted from sequence numbers: what is written anew, as by compaction,
 *   would use them twice. With random ones a key is good for 2^32 uses (NIST SP 800-38D, 8.3); it
 *   gives way to a new one at 2^31.
 * - Uses are counted on disk before they happen, 2^20 at a time: a crash counts too many, never too
 *   few.
 * - A data key is on disk, wrapped, before anything is sealed with it. Its scope is bound into the
 *   wrapping. Old keys stay for as long as something may be sealed with them.
 *
 * Which batches and fragments are sealed, and when they are sealed anew, is not decided here; where
 * the master key comes from neither.
 */
import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import { StorageError } from './errors.ts';
import type { Clock } from './ports.ts';
import type { SqlValue } from './sqlite.ts';
import type { Writer } from './writer.ts';

export const keyBytes = 32;
const nonceBytes = 12;
const tagBytes = 16;
/** What sealing adds to the plain bytes. */
export const sealedOverheadBytes = nonceBytes + tagBytes;

const usesMaxDefault = 2 ** 31;
const usesAtOnceDefault = 2 ** 20;
const scopePattern = /^[a-z]+\/\d{1,16}$/;

/** What a wrapped key is for; it unwraps only with the same. */
export type KeyContext = Readonly<Record<string, string>>;

/** The key of keys: in a file, in the environment, or in a service that never lets it out. */
export interface MasterKey {
  /** Tells one from another, and nothing else. */
  readonly id: string;
  /** @throws StorageError `key-unavailable` */
  wrap(dataKey: Buffer, context: KeyContext): Promise<Buffer>;
  /** @throws StorageError `wrong-key`, `key-unavailable` */
  unwrap(wrapped: Buffer, context: KeyContext): Promise<Buffer>;
}

/** The bytes of a master key that is written in Base64 or hexadecimal; null: it is none. */
export function parseMasterKey(text: string): Buffer | null {
  const word = text.trim();
  if (/^[0-9a-f]{64}$/i.test(word)) return Buffer.from(word, 'hex');
  if (!/^[A-Za-z0-9+/_-]{43}=?$/.test(word)) return null;
  return Buffer.from(word, 'base64');
}

/** A master key of 32 bytes at hand. @throws StorageError `invalid-argument` */
export function localMasterKey(key: Buffer): MasterKey {
  if (key.length !== keyBytes) {
    throw new StorageError('invalid-argument', `a master key has ${keyBytes} bytes`);
  }
  const id = `local:${createHash('sha256').update('headgate master key ').update(key).digest('hex').slice(0, 16)}`;
  return {
    id,
    wrap: (dataKey, context) => Promise.resolve(seal(key, dataKey, contextBytes(context))),
    unwrap: (wrapped, context) => {
      const dataKey = unseal(key, wrapped, contextBytes(context));
      return dataKey !== null
        ? Promise.resolve(dataKey)
        : Promise.reject(
            new StorageError('wrong-key', `the master key ${id} does not open what is wrapped`),
          );
    },
  };
}

/** @throws StorageError `wrong-key` that names both, where the master key at hand is another one */
export function checkMasterKey(masterKey: MasterKey, wrappedBy: string, what: string): void {
  if (masterKey.id === wrappedBy) return;
  throw new StorageError(
    'wrong-key',
    `${what} was encrypted under the master key ${wrappedBy}, and the one in use is ${masterKey.id}: put the right one back`,
  );
}

export interface Sealed {
  readonly keyId: number;
  /** nonce · ciphertext · tag */
  readonly bytes: Buffer;
}

interface DataKey {
  readonly id: number;
  readonly scope: string;
  readonly plain: Buffer;
}

/** The newest key of a scope, and how far it may be used. */
interface CurrentKey extends DataKey {
  uses: number;
  /** Uses that are counted on disk already. */
  reserved: number;
  /** Further ones being counted, or a new key being made. */
  growing: Promise<void> | null;
}

interface DataKeyRow {
  readonly id: number;
  readonly scope: string;
  readonly master_key_id: string;
  readonly wrapped: Buffer;
  readonly uses: number;
}

export interface KeyringOptions {
  readonly writer: Pick<Writer, 'transact'>;
  readonly queries: { get<T>(sql: string, ...params: readonly SqlValue[]): Promise<T | undefined> };
  readonly masterKey: MasterKey;
  readonly clock: Clock;
  /** Uses after which a data key gives way to a new one; 2^31 when left out. */
  readonly usesMax?: number;
  /** Uses counted on disk at a time; 2^20 when left out. */
  readonly usesAtOnce?: number;
}

/**
 * Seals and opens. A scope is what has a data key of its own: `stream/12`, `camera/3`.
 *
 * @example
 * await keyring.ready('stream/12'); // before the group commit that needs it
 * const { keyId, bytes } = keyring.seal('stream/12', body, row);
 * const body = await keyring.open(keyId, bytes, row);
 */
export class Keyring {
  readonly #options: KeyringOptions;
  readonly #usesMax: number;
  readonly #usesAtOnce: number;
  readonly #current = new Map<string, CurrentKey>();
  readonly #loading = new Map<string, Promise<void>>();
  readonly #plain = new Map<number, DataKey>();

  constructor(options: KeyringOptions) {
    this.#options = options;
    this.#usesMax = options.usesMax ?? usesMaxDefault;
    this.#usesAtOnce = options.usesAtOnce ?? usesAtOnceDefault;
  }

  /**
   * Loads or makes the key of a scope, so that `seal` can use it. Goes through the writer: never
   * awaited inside a transaction.
   * @throws StorageError `wrong-key`, `key-unavailable`, `disk-full`, `write-failed`
   */
  async ready(scope: string): Promise<void> {
    if (this.#current.has(scope)) return;
    let loading = this.#loading.get(scope);
    if (loading === undefined) {
      loading = this.#load(scope).finally(() => this.#loading.delete(scope));
      this.#loading.set(scope, loading);
    }
    await loading;
  }

  /**
   * At once, for inside a transaction.
   * @throws StorageError `overloaded` when more was sealed than could be counted meanwhile
   */
  seal(scope: string, plain: Uint8Array, associatedData: Uint8Array): Sealed {
    const key = this.#current.get(scope);
    if (key === undefined) throw new TypeError(`ready('${scope}') comes before seal`);
    if (key.uses >= key.reserved) {
      throw new StorageError('overloaded', `the uses of the data key ${key.id} can't be counted`);
    }
    key.uses += 1;
    if (key.reserved - key.uses < this.#usesAtOnce / 2) this.#growInBackground(scope, key);
    return { keyId: key.id, bytes: seal(key.plain, plain, bindingOf(key, associatedData)) };
  }

  /** @throws StorageError `corrupt`, `not-found`, `wrong-key`, `key-unavailable` */
  async open(keyId: number, sealed: Uint8Array, associatedData: Uint8Array): Promise<Buffer> {
    const key = this.#plain.get(keyId) ?? (await this.#fetch(keyId));
    const plain = unseal(key.plain, sealed, bindingOf(key, associatedData));
    if (plain !== null) return plain;
    throw new StorageError('corrupt', `what is sealed with the data key ${keyId} was changed`);
  }

  /** A new key for what is sealed from now on. @throws as `ready` */
  async rotate(scope: string): Promise<void> {
    await this.#make(scope);
  }

  async #load(scope: string): Promise<void> {
    const row = await this.#options.queries.get<DataKeyRow>(
      'SELECT * FROM data_key WHERE scope = ? ORDER BY id DESC LIMIT 1',
      scope,
    );
    if (row === undefined || row.uses >= this.#usesMax) {
      await this.#make(scope);
      return;
    }
    const key = await this.#unwrap(row);
    const reserved = await this.#reserve(key.id);
    this.#current.set(scope, {
      ...key,
      uses: reserved - this.#usesAtOnce,
      reserved,
      growing: null,
    });
  }

  /** Counts further uses on disk; returns up to where they go. */
  async #reserve(id: number): Promise<number> {
    const [row] = await this.#options.writer.transact((transaction) =>
      transaction.all<{ uses: number }>(
        'UPDATE data_key SET uses = uses + ? WHERE id = ? RETURNING uses',
        this.#usesAtOnce,
        id,
      ),
    );
    if (row === undefined) throw new StorageError('not-found', `there is no data key ${id}`);
    return row.uses;
  }

  async #make(scope: string): Promise<void> {
    if (!scopePattern.test(scope)) {
      throw new StorageError('invalid-argument', `${scope} is no scope of a data key`);
    }
    const { masterKey, writer, clock } = this.#options;
    const plain = randomBytes(keyBytes);
    const wrapped = await masterKey.wrap(plain, contextOf(scope));
    const { lastId: id } = await writer.transact((transaction) =>
      transaction.run(
        `INSERT INTO data_key (scope, master_key_id, wrapped, created_ms, uses)
           VALUES (?, ?, ?, ?, ?)`,
        ...[scope, masterKey.id, wrapped, clock.nowMs(), this.#usesAtOnce],
      ),
    );
    const key = { id, scope, plain };
    this.#plain.set(id, key);
    this.#current.set(scope, { ...key, uses: 0, reserved: this.#usesAtOnce, growing: null });
  }

  /** What fails here shows when the reserved uses are over. */
  #growInBackground(scope: string, key: CurrentKey): void {
    if (key.growing !== null) return;
    const grow = async (): Promise<void> => {
      if (key.reserved >= this.#usesMax) await this.#make(scope);
      else key.reserved = await this.#reserve(key.id);
    };
    key.growing = grow().then(
      () => {
        key.growing = null;
      },
      () => {
        key.growing = null;
      },
    );
  }

  async #fetch(keyId: number): Promise<DataKey> {
    const row = await this.#options.queries.get<DataKeyRow>(
      'SELECT * FROM data_key WHERE id = ?',
      keyId,
    );
    if (row === undefined) throw new StorageError('not-found', `there is no data key ${keyId}`);
    return this.#unwrap(row);
  }

  async #unwrap(row: DataKeyRow): Promise<DataKey> {
    const known = this.#plain.get(row.id);
    if (known !== undefined) return known;
    const { masterKey } = this.#options;
    checkMasterKey(masterKey, row.master_key_id, `the data key ${row.id} of ${row.scope}`);
    const plain = await masterKey.unwrap(row.wrapped, contextOf(row.scope));
    const key = { id: row.id, scope: row.scope, plain };
    this.#plain.set(row.id, key);
    return key;
  }
}

function contextOf(scope: string): KeyContext {
  return { purpose: 'headgate data key', scope };
}

/** Names sorted, so that a context is the same bytes however it was written down. */
function contextBytes(context: KeyContext): Buffer {
  const entries = Object.entries(context).sort(([a], [b]) => (a < b ? -1 : 1));
  return Buffer.from(JSON.stringify(entries));
}

function bindingOf({ id, scope }: DataKey, associatedData: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(`${id} ${scope}\0`), associatedData]);
}

function seal(key: Buffer, plain: Uint8Array, associatedData: Uint8Array): Buffer {
  const nonce = randomBytes(nonceBytes);
  const cipher = createCipheriv('aes-256-gcm', key, nonce);
  cipher.setAAD(associatedData);
  return Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

/** null: another key, other associated data, or bytes that were changed. */
function unseal(key: Buffer, sealed: Uint8Array, associatedData: Uint8Array): Buffer | null {
  if (sealed.length < sealedOverheadBytes) return null;
  const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, nonceBytes), {
    authTagLength: tagBytes,
  });
  decipher.setAAD(associatedData);
  decipher.setAuthTag(sealed.subarray(sealed.length - tagBytes));
  try {
    const body = sealed.subarray(nonceBytes, sealed.length - tagBytes);
    return Buffer.concat([decipher.update(body), decipher.final()]);
  } catch {
    return null;
  }
}
