/** Looks for what must not be there: plain text in the files of a folder, whatever they are. */
import { readFile, readdir } from 'node:fs/promises';
import { join, relative } from 'node:path';

/** The files below a folder in which a text stands, as it is, in Base64, or in hexadecimal. */
export function filesWith(folder: string, text: string): Promise<readonly string[]> {
  return filesWithAny(folder, formsOf(text));
}

/** The files below a folder in which any of the pieces stands as it is. */
export async function filesWithAny(
  folder: string,
  pieces: readonly Buffer[],
): Promise<readonly string[]> {
  const found: string[] = [];
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  for (const entry of entries.filter((candidate) => candidate.isFile())) {
    const path = join(entry.parentPath, entry.name);
    const bytes = await readFile(path);
    if (pieces.some((piece) => bytes.includes(piece))) found.push(relative(folder, path));
  }
  return found;
}

/** Base64 has three forms, by where the text begins in what was encoded. */
function formsOf(text: string): readonly Buffer[] {
  const bytes = Buffer.from(text);
  const inBase64 = [0, 1, 2].map((shift) => {
    const encoded = Buffer.concat([Buffer.alloc(shift), bytes]).toString('base64');
    const whole = Math.floor(((shift + bytes.length) * 8) / 6) - 1;
    return Buffer.from(encoded.slice(Math.ceil((shift * 8) / 6), whole));
  });
  const utf16 = Buffer.from(text, 'utf16le');
  return [bytes, utf16, ...inBase64, Buffer.from(bytes.toString('hex'))];
}
