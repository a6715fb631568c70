/**
 * Who this box is: an id that goes into the names of what it uploads, and a secret that what it
 * shows again at every start is derived from. One file of the data folder, made at the first start.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';

export interface Identity {
  /** A UUID; the same at every start. */
  readonly gatewayId: string;
  readonly secret: Buffer;
}

const schema = z.object({ gatewayId: z.uuid(), secret: z.string().regex(/^[0-9a-f]{64}$/) });

/** Reads the identity kept in a folder, or makes one. Rejects when the file is not ours. */
export async function loadIdentity(folder: string): Promise<Identity> {
  return (await readIdentity(folder)) ?? createIdentity(folder, join(folder, 'identity.json'));
}

/** The identity kept in a folder; null: none yet. Rejects when the file is not ours. */
export async function readIdentity(folder: string): Promise<Identity | null> {
  const path = join(folder, 'identity.json');
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw error;
  });
  if (text === null) return null;
  try {
    const { gatewayId, secret } = schema.parse(JSON.parse(text));
    return { gatewayId, secret: Buffer.from(secret, 'hex') };
  } catch (cause) {
    throw new Error(
      `${path} is damaged: put back a copy, or delete it to become a new gateway, whose uploads have new names`,
      { cause },
    );
  }
}

async function createIdentity(folder: string, path: string): Promise<Identity> {
  const identity: Identity = { gatewayId: randomUUID(), secret: randomBytes(32) };
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const file = await open(`${path}.new`, 'w', 0o600);
  try {
    const { gatewayId, secret } = identity;
    await file.writeFile(`${JSON.stringify({ gatewayId, secret: secret.toString('hex') })}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${path}.new`, path);
  return identity;
}
