/**
 * Where the master key comes from (storage/keys.ts says what it is for): from AWS KMS, from the
 * configuration (which is to say, from the environment), from a file, or, where nothing is said,
 * from `access/master.key` in the data folder, made at the first start.
 */
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { StorageError } from '../../storage/errors.ts';
import { keyBytes, localMasterKey, parseMasterKey, type MasterKey } from '../../storage/keys.ts';
import type { Clock } from '../../storage/ports.ts';
import type { MasterKeys } from '../../storage/store.ts';
import type { Config } from '../config/schema.ts';
import { accessFolder, codeOf, createAccessFile } from './access-files.ts';
import { kmsMasterKey } from './kms.ts';

export interface MasterKeyOptions {
  readonly config: Pick<Config, 'dataDir' | 'encryption'>;
  /** The ids of the master keys under which something is encrypted; none when left out. */
  readonly inUse?: readonly string[];
  readonly clock: Clock;
  readonly fetch: typeof fetch;
}

type Places = Omit<Config['encryption'], 'previous' | 'dataKeyDays'>;

/**
 * Makes one in the data folder where nothing is configured, unless something is encrypted already.
 * @throws StorageError `wrong-key` for what is no key, and for one in the data folder that is gone
 *   while it is in use; `not-found` for a configured file that is not there
 */
export async function openMasterKey(options: MasterKeyOptions): Promise<MasterKey> {
  const { encryption, dataDir } = options.config;
  const configured = await openPlace(encryption, 'encryption', options);
  if (configured !== null) return configured;
  const path = join(accessFolder(dataDir), 'master.key');
  const inUse = options.inUse ?? [];
  if (inUse.length === 0) {
    await createAccessFile(path, `${randomBytes(keyBytes).toString('base64')}\n`);
  }
  const text = await textOf(path);
  if (text !== null) return localMasterKey(keyOf(text, path));
  throw new StorageError(
    'wrong-key',
    `${path} is gone, and there is data that was encrypted under the master key ${inUse.join(', ')}: put it back, from a backup of the folder "access"`,
  );
}

/** The current one, and the one of before where one is configured. @throws as `openMasterKey` */
export async function openMasterKeys(options: MasterKeyOptions): Promise<MasterKeys> {
  const { previous } = options.config.encryption;
  const before = await openPlace(previous, 'encryption.previous', options);
  // It wraps what there is: the new one may be made.
  const inUse = options.inUse?.filter((id) => id !== before?.id) ?? [];
  return {
    current: await openMasterKey({ ...options, inUse }),
    previous: before === null ? [] : [before],
  };
}

/** For who must change nothing: null where there is none yet, or no more. @throws as `openMasterKey` */
export async function findMasterKey(options: MasterKeyOptions): Promise<MasterKey | null> {
  const path = join(accessFolder(options.config.dataDir), 'master.key');
  const configured = await openPlace(options.config.encryption, 'encryption', options);
  if (configured !== null) return configured;
  const text = await textOf(path);
  return text === null ? null : localMasterKey(keyOf(text, path));
}

/** null: nothing is said. */
async function openPlace(
  places: Places,
  key: string,
  { clock, fetch }: MasterKeyOptions,
): Promise<MasterKey | null> {
  const { kms, masterKey, masterKeyFile: path } = places;
  if (kms.keyId !== null) return kmsMasterKey({ ...kms, keyId: kms.keyId, clock, fetch });
  if (masterKey !== null) return localMasterKey(keyOf(masterKey, `${key}.masterKey`));
  if (path === null) return null;
  const text = await textOf(path);
  if (text !== null) return localMasterKey(keyOf(text, path));
  throw new StorageError(
    'not-found',
    `there is no ${path}: ${key}.masterKeyFile names the file of a master key, which "openssl rand -base64 ${keyBytes}" makes`,
  );
}

function keyOf(text: string, where: string): Buffer {
  const key = parseMasterKey(text);
  if (key !== null) return key;
  throw new StorageError(
    'wrong-key',
    `${where} is no master key: it has to be ${keyBytes} bytes, in Base64 or hexadecimal`,
  );
}

async function textOf(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return null;
    throw error;
  }
}
