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
import type { Config } from '../config/schema.ts';
import { accessFolder, codeOf, createAccessFile } from './access-files.ts';
import { kmsMasterKey } from './kms.ts';

export interface MasterKeyOptions {
  readonly config: Pick<Config, 'dataDir' | 'encryption'>;
  readonly clock: Clock;
  readonly fetch: typeof fetch;
}

/** @throws StorageError `wrong-key` for what is no key, `not-found` for a file that is not there */
export async function openMasterKey(options: MasterKeyOptions): Promise<MasterKey> {
  const { encryption, dataDir } = options.config;
  const { kms } = encryption;
  if (kms.keyId !== null) {
    return kmsMasterKey({ ...kms, keyId: kms.keyId, clock: options.clock, fetch: options.fetch });
  }
  if (encryption.masterKey !== null) {
    return localMasterKey(keyOf(encryption.masterKey, 'encryption.masterKey'));
  }
  if (encryption.masterKeyFile !== null) {
    const path = encryption.masterKeyFile;
    const text = await textOf(path);
    if (text !== null) return localMasterKey(keyOf(text, path));
    throw new StorageError(
      'not-found',
      `there is no ${path}: encryption.masterKeyFile names the file of a master key, which "openssl rand -base64 ${keyBytes}" makes`,
    );
  }
  const path = join(accessFolder(dataDir), 'master.key');
  await createAccessFile(path, `${randomBytes(keyBytes).toString('base64')}\n`);
  return localMasterKey(keyOf((await textOf(path)) ?? '', path));
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
