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
 * - What a master key of before has wrapped is wrapped by the one in use when the keys are opened,
 *   all of it in one transaction.
 *
 * Which batches are sealed, and when they are sealed anew, is the business of `log/sealing.ts`; how
 * the keys lie on the disk of `key-table.ts`; where the master key comes from is not known here.
 */
import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import { StorageError } from './errors.ts';
import { countUses, findKey, insertKey, loadKeys, newestKey, rewriteKey } from './key-table.ts';
import type { KeyQueries, WrappedKey } from './key-table.ts';
import type { Clock } from './ports.ts';
import type { Writer } from './writer.ts';

export const keyBytes = 32;
const nonceBytes = 12;
const tagBytes = 16;
const noncesAtOnce = 256;
/** What sealing adds to the plain bytes. */
export const sealedOverheadBytes = nonceBytes + tagBytes;

/** Uses after which a data key gives way to a new one. */
export const usesMax = 2 ** 31;
const usesAtOnceDefault = 2 ** 20;
const ageMaxDefaultMs = 90 * 24 * 3_600_000;
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
    wrap: (dataKey, context) =>
      Promise.resolve(Buffer.concat(seal(key, dataKey, contextBytes(context)))),
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

export interface SealedPieces {
  readonly keyId: number;
  /** As `Sealed.bytes`, where they lie. */
  readonly pieces: readonly [nonce: Buffer, ciphertext: Buffer, tag: Buffer];
}

interface DataKey {
  readonly id: number;
  readonly scope: string;
  readonly plain: Buffer;
}

/** The newest key of a scope, and how far it may be used. */
interface CurrentKey extends DataKey {
  readonly createdMs: number;
  uses: number;
  /** Uses that are counted on disk already. */
  reserved: number;
  /** Further ones being counted, or a new key being made. */
  growing: Promise<void> | null;
}

export interface KeyringOptions {
  readonly writer: Pick<Writer, 'transact'>;
  readonly queries: KeyQueries;
  readonly masterKey: MasterKey;
  /** Those of before, to unwrap what they have wrapped; none when left out. */
  readonly previous?: readonly MasterKey[];
  readonly clock: Clock;
  /** After which time a data key gives way to a new one; 90 days when left out. */
  readonly ageMaxMs?: number;
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
  readonly #ageMaxMs: number;
  readonly #current = new Map<string, CurrentKey>();
  readonly #making = new Map<string, Promise<void>>();
  readonly #plain = new Map<number, DataKey>();

  constructor(options: KeyringOptions) {
    this.#options = options;
    this.#usesMax = options.usesMax ?? usesMax;
    this.#usesAtOnce = options.usesAtOnce ?? usesAtOnceDefault;
    this.#ageMaxMs = options.ageMaxMs ?? ageMaxDefaultMs;
  }

  /**
   * Holds what is wrapped against the master keys at hand, and wraps anew what those of before have
   * wrapped. Nothing is changed when something is wrapped by none of them.
   * @throws StorageError `wrong-key`, `key-unavailable`, `disk-full`, `write-failed`
   */
  static async open(options: KeyringOptions): Promise<Keyring> {
    const { masterKey, previous = [], queries, writer } = options;
    const rewrapped: WrappedKey[] = [];
    for (const key of (await loadKeys(queries)).keys) {
      if (key.masterKeyId === masterKey.id) continue;
      const before = previous.find(({ id }) => id === key.masterKeyId);
      if (before === undefined) checkMasterKey(masterKey, key.masterKeyId, nameOf(key));
      const plain = await before?.unwrap(key.wrapped, contextOf(key.scope));
      if (plain === undefined) continue;
      const wrapped = await masterKey.wrap(plain, contextOf(key.scope));
      rewrapped.push({ ...key, wrapped, masterKeyId: masterKey.id });
    }
    if (rewrapped.length > 0) {
      await writer.transact(async (transaction) => {
        for (const key of rewrapped) await rewriteKey(transaction, key);
      });
    }
    return new Keyring(options);
  }

  /**
   * Loads or makes the key of a scope, so that `seal` can use it; one that has become too old gives
   * way to a new one. Goes through the writer: never awaited inside a transaction.
   * @throws StorageError `wrong-key`, `key-unavailable`, `disk-full`, `write-failed`
   */
  async ready(scope: string): Promise<void> {
    const current = this.#current.get(scope);
    if (current === undefined) await this.#once(scope, () => this.#load(scope));
    else if (this.#isOld(current)) await this.rotate(scope);
  }

  /** Whether `seal` would do it now. */
  canSeal(scope: string): boolean {
    const key = this.#current.get(scope);
    return key !== undefined && key.uses < key.reserved;
  }

  /** The key that `seal` uses now; null: none yet. */
  keyIdOf(scope: string): number | null {
    return this.#current.get(scope)?.id ?? null;
  }

  /**
   * At once, for inside a transaction.
   * @throws StorageError `key-unavailable` before `ready`; `overloaded` when more was sealed than
   *   could be counted meanwhile
   */
  seal(scope: string, plain: Uint8Array, associatedData: Uint8Array): Sealed {
    const { keyId, pieces } = this.sealPieces(scope, plain, associatedData);
    return { keyId, bytes: Buffer.concat(pieces) };
  }

  /** As `seal`, for what is too large to be copied for nothing. */
  sealPieces(scope: string, plain: Uint8Array, associatedData: Uint8Array): SealedPieces {
    const key = this.#current.get(scope);
    if (key === undefined) {
      throw new StorageError('key-unavailable', `the data key of ${scope} is not at hand`);
    }
    if (key.uses >= key.reserved) {
      throw new StorageError('overloaded', `the uses of the data key ${key.id} can't be counted`);
    }
    key.uses += 1;
    if (key.reserved - key.uses < this.#usesAtOnce / 2) this.#growInBackground(scope, key);
    return { keyId: key.id, pieces: seal(key.plain, plain, bindingOf(key, associatedData)) };
  }

  /** @throws StorageError `corrupt`, `wrong-key` also for a key that is lost, `key-unavailable` */
  async open(keyId: number, sealed: Uint8Array, associatedData: Uint8Array): Promise<Buffer> {
    const key = this.#plain.get(keyId) ?? (await this.#fetch(keyId));
    const plain = unseal(key.plain, sealed, bindingOf(key, associatedData));
    if (plain !== null) return plain;
    throw new StorageError('corrupt', `what is sealed with the data key ${keyId} was changed`);
  }

  /** A new key for what is sealed from now on. @throws as `ready` */
  async rotate(scope: string): Promise<void> {
    await this.#once(scope, () => this.#make(scope));
  }

  /** Of several at a time, one does it for all. */
  #once(scope: string, work: () => Promise<void>): Promise<void> {
    let making = this.#making.get(scope);
    if (making === undefined) {
      making = work().finally(() => this.#making.delete(scope));
      this.#making.set(scope, making);
    }
    return making;
  }

  #isOld({ createdMs }: CurrentKey): boolean {
    return this.#options.clock.nowMs() - createdMs > this.#ageMaxMs;
  }

  async #load(scope: string): Promise<void> {
    const key = await newestKey(this.#options.queries, scope);
    // Where only the copy of its row is left, nobody knows how often it was used.
    if (key?.uses == null || key.uses >= this.#usesMax) {
      await this.#make(scope);
      return;
    }
    const plain = await this.#unwrap(key);
    const reserved = await this.#reserve(key.id);
    const uses = reserved - this.#usesAtOnce;
    const { createdMs } = key;
    const current = { ...plain, createdMs, uses, reserved, growing: null };
    if (this.#isOld(current)) await this.#make(scope);
    else this.#current.set(scope, current);
  }

  /** Counts further uses on disk; returns up to where they go. */
  async #reserve(id: number): Promise<number> {
    const uses = await this.#options.writer.transact((transaction) =>
      countUses(transaction, id, this.#usesAtOnce),
    );
    if (uses === null) throw lostKey(id);
    return uses;
  }

  async #make(scope: string): Promise<void> {
    if (!scopePattern.test(scope)) {
      throw new StorageError('invalid-argument', `${scope} is no scope of a data key`);
    }
    const { masterKey, writer, clock } = this.#options;
    const plain = randomBytes(keyBytes);
    const wrapped = await masterKey.wrap(plain, contextOf(scope));
    const createdMs = clock.nowMs();
    const kept = { scope, masterKeyId: masterKey.id, wrapped, createdMs };
    const id = await writer.transact((transaction) =>
      insertKey(transaction, kept, this.#usesAtOnce),
    );
    const key = { id, scope, plain };
    this.#plain.set(id, key);
    const reserved = this.#usesAtOnce;
    this.#current.set(scope, { ...key, createdMs, uses: 0, reserved, growing: null });
  }

  /** What fails here shows when the reserved uses are over. */
  #growInBackground(scope: string, key: CurrentKey): void {
    if (key.growing !== null) return;
    const grow = async (): Promise<void> => {
      if (key.reserved >= this.#usesMax) await this.rotate(scope);
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
    const key = await findKey(this.#options.queries, keyId);
    if (key === null) throw lostKey(keyId);
    return this.#unwrap(key);
  }

  async #unwrap(key: WrappedKey): Promise<DataKey> {
    const { id, scope } = key;
    const known = this.#plain.get(id);
    if (known !== undefined) return known;
    const { masterKey } = this.#options;
    checkMasterKey(masterKey, key.masterKeyId, nameOf(key));
    const plain = await masterKey.unwrap(key.wrapped, contextOf(scope));
    const opened = { id, scope, plain };
    this.#plain.set(id, opened);
    return opened;
  }
}

function nameOf({ id, scope }: WrappedKey): string {
  return `the data key ${id} of ${scope}`;
}

function lostKey(id: number): StorageError {
  return new StorageError(
    'wrong-key',
    `the data key ${id} is lost, and what was encrypted with it can't be read: only a backup has it`,
  );
}

/** Whether a master key opens a data key that it says it has wrapped. @throws `key-unavailable` */
export async function opensKey(masterKey: MasterKey, key: WrappedKey): Promise<boolean> {
  try {
    await masterKey.unwrap(key.wrapped, contextOf(key.scope));
    return true;
  } catch (error) {
    if (error instanceof StorageError && error.code === 'wrong-key') return false;
    throw error;
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

function seal(key: Buffer, plain: Uint8Array, associatedData: Uint8Array): SealedPieces['pieces'] {
  const nonce = nextNonce();
  const cipher = createCipheriv('aes-256-gcm', key, nonce);
  cipher.setAAD(associatedData);
  const body = cipher.update(plain);
  // Of this mode it has nothing more to give, but makes the tag.
  cipher.final();
  return [nonce, body, cipher.getAuthTag()];
}

/** Random bytes are asked for many nonces at once: a call costs more than the bytes. */
let nonces = Buffer.alloc(0);

function nextNonce(): Buffer {
  if (nonces.length === 0) nonces = randomBytes(nonceBytes * noncesAtOnce);
  const nonce = nonces.subarray(0, nonceBytes);
  nonces = nonces.subarray(nonceBytes);
  return nonce;
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
    const body = decipher.update(sealed.subarray(nonceBytes, sealed.length - tagBytes));
    // Of this mode it has nothing more to give, but looks at the tag.
    decipher.final();
    return body;
  } catch {
    return null;
  }
}
