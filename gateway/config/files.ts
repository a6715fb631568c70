/** Reading what a configuration is made of: bounded, and only as UTF-8. */
import { closeSync, openSync, readSync } from 'node:fs';
import { open } from 'node:fs/promises';

const fileMaxBytes = 2 * 2 ** 20;
const secretFileMaxBytes = 64 * 1024;

/** The text of a configuration file. @throws Error with a message for people */
export async function readFileText(path: string): Promise<string> {
  const file = await open(path, 'r');
  try {
    // Not readFile: the name may be that of a device without an end.
    const buffer = Buffer.alloc(fileMaxBytes + 1);
    let length = 0;
    while (length < buffer.length) {
      const { bytesRead } = await file.read(buffer, length, buffer.length - length);
      if (bytesRead === 0) break;
      length += bytesRead;
    }
    if (length > fileMaxBytes) throw new Error(`it has more than ${fileMaxBytes} bytes`);
    return decodeText(buffer.subarray(0, length));
  } finally {
    await file.close();
  }
}

/** The text of a file that holds one secret, less its last line end. */
export function readSecretFile(path: string): string {
  const descriptor = openSync(path, 'r');
  try {
    const buffer = Buffer.alloc(secretFileMaxBytes + 1);
    const length = readSync(descriptor, buffer);
    if (length > secretFileMaxBytes)
      throw new Error(`it has more than ${secretFileMaxBytes} bytes`);
    return decodeText(buffer.subarray(0, length)).replace(/\r?\n$/, '');
  } finally {
    closeSync(descriptor);
  }
}

function decodeText(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw new Error('it is not UTF-8 text', { cause: error });
  }
}
