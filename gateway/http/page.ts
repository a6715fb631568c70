/**
 * The files of the page at `/`, as the build left them in one folder, read once at the start.
 * They are small; 16 MB and 1,000 files are the limit. Nothing outside the folder can be named,
 * because only what was read can be asked for.
 */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { extname, join, sep } from 'node:path';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';

const filesMax = 1_000;
const bytesMax = 16 * 1024 * 1024;

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json',
  '.webmanifest': 'application/manifest+json',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.ico': 'image/x-icon',
  '.woff2': 'font/woff2',
  '.txt': 'text/plain; charset=utf-8',
};
const compressible = new Set(['.html', '.js', '.css', '.json', '.svg', '.webmanifest', '.txt']);

interface PageFile {
  readonly type: string;
  readonly etag: string;
  /** Its name holds a hash of its content, so it never changes. */
  readonly immutable: boolean;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly gzipped: Uint8Array<ArrayBuffer> | null;
}

/** The page's files by path (`/index.html`). */
export type Page = ReadonlyMap<string, PageFile>;

/** Reads the folder; null when it was not built. Source maps are left out. */
export async function loadPage(folder: string): Promise<Page | null> {
  let names: string[];
  try {
    names = await readdir(folder, { recursive: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
  const page = new Map<string, PageFile>();
  let total = 0;
  for (const name of names.sort()) {
    const extension = extname(name);
    const type = types[extension];
    if (type === undefined) continue;
    const bytes = await readFile(join(folder, name));
    total += bytes.length;
    if (page.size >= filesMax || total > bytesMax) {
      throw new Error(`${folder} holds more than a page: ${filesMax} files, ${bytesMax} bytes`);
    }
    page.set(`/${name.split(sep).join('/')}`, {
      type,
      etag: `"${createHash('sha256').update(bytes).digest('hex').slice(0, 32)}"`,
      immutable: name.startsWith(`assets${sep}`),
      bytes: new Uint8Array(bytes),
      gzipped: compressible.has(extension)
        ? new Uint8Array(await promisify(gzip)(bytes, { level: 9 }))
        : null,
    });
  }
  return page.has('/index.html') ? page : null;
}

/** The answer for a path, or null when the page has no such file. */
export function servePage(page: Page, path: string, headers: Headers): Response | null {
  const file = page.get(path === '/' ? '/index.html' : path);
  if (file === undefined) return null;
  const answer: Record<string, string> = {
    etag: file.etag,
    'cache-control': file.immutable ? 'private, max-age=31536000, immutable' : 'no-cache',
    vary: 'accept-encoding',
  };
  const known = headers.get('if-none-match') ?? '';
  if (known.split(/\s*,\s*/).some((tag) => tag.replace(/^W\//, '') === file.etag)) {
    return new Response(null, { status: 304, headers: answer });
  }
  answer['content-type'] = file.type;
  const acceptsGzip = /(^|,)\s*gzip\s*(;\s*q=(?!0(\.0*)?\s*(,|$))[^,]*)?(,|$)/i.test(
    headers.get('accept-encoding') ?? '',
  );
  if (file.gzipped !== null && acceptsGzip) {
    answer['content-encoding'] = 'gzip';
    return new Response(file.gzipped, { headers: answer });
  }
  return new Response(file.bytes, { headers: answer });
}
