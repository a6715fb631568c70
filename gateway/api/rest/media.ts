/** Routes that answer with media: images, exports. */
import { createRoute, z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import type { VideoStore } from '../../../storage/model.ts';
import type { AppEnv } from '../../http/authentication.ts';
import { byteRangeOf } from '../../http/byte-range.ts';
import { errorResponse, HttpError } from '../../http/errors.ts';
import { streamed } from '../../http/streamed.ts';
import { exportFileName, type Exports } from '../../media/export.ts';
import { ImageError, type Image, type Images } from '../../media/images.ts';
import type { Movie } from '../../media/movie.ts';
import type { Thumbnails } from '../../media/thumbnails.ts';
import { zip, zipBytes, type ZipEntry } from '../../media/zip.ts';
import { checkRange, nameParameter, rangeFields, type RestRouter } from './router.ts';
import { ErrorSchema } from './error-schemas.ts';
import { isoFromUs, timeQuery } from './times.ts';

export interface Media {
  readonly images: Images;
  readonly exports: Exports;
  readonly thumbnails: Thumbnails;
}

const camerasMax = 16;
const sideMax = 8_192;

const whole = (min: number, max: number) => z.coerce.number().int().min(min).max(max);

/** The responses of a route that answers with bytes. */
function media(types: readonly string[], description: string) {
  const schema = z.string().openapi({ type: 'string', format: 'binary' });
  return {
    200: {
      description,
      content: Object.fromEntries(types.map((type) => [type, { schema }])),
    },
    default: {
      description: 'What went wrong',
      content: { 'application/json': { schema: ErrorSchema } },
    },
  };
}

const image = createRoute({
  method: 'get',
  path: '/cameras/{name}/image',
  summary: 'The picture that was on the screen at an instant',
  description: 'Headgate-Image-Time says when it was shown: at the instant, or just before it.',
  request: {
    params: nameParameter,
    query: z.object({
      at: timeQuery,
      format: z.enum(['jpeg', 'png']).default('jpeg'),
      width: whole(16, sideMax).optional().describe('Pixels; never more than were recorded'),
      quality: whole(1, 100).default(80).describe('Of JPEG'),
    }),
  },
  responses: media(['image/jpeg', 'image/png'], 'The picture'),
});

const thumbnail = createRoute({
  method: 'get',
  path: '/cameras/{name}/thumbnail',
  summary: 'A small picture of about an instant, made once and kept',
  description: 'The first picture of the half minute that the instant is in.',
  request: { params: nameParameter, query: z.object({ at: timeQuery }) },
  responses: media(['image/jpeg'], 'The picture'),
});

const exportOne = createRoute({
  method: 'get',
  path: '/cameras/{name}/export.mp4',
  summary: 'A piece of time as an MP4 that begins and ends with the exact picture',
  description:
    'Of known size, in ranges of bytes if wanted. Where nothing was recorded the next piece follows at once, under a chapter that says when it was recorded. Several resolutions go into one file, several codecs do not.',
  request: { params: nameParameter, query: z.object(rangeFields) },
  responses: media(['video/mp4'], 'The file'),
});

const exportSeveral = createRoute({
  method: 'get',
  path: '/export.zip',
  summary: 'A piece of time of several cameras: a zip with an MP4 of each, and an index',
  description: 'Cameras that recorded nothing in this time are in the index alone.',
  request: {
    query: z.object({
      ...rangeFields,
      camera: z
        .union([z.string().max(128), z.array(z.string().max(128)).min(1).max(camerasMax)])
        .describe('Given once for each camera'),
    }),
  },
  responses: media(['application/zip'], 'The file'),
});

export function mediaRoutes(
  router: RestRouter,
  { video, images, exports, thumbnails }: Media & { readonly video: VideoStore },
): void {
  router.openapi(image, async (c) => {
    const { name } = await video.camera(c.req.valid('param').name);
    const { at, format, quality, width } = c.req.valid('query');
    const options = { format, quality, ...(width === undefined ? {} : { width }) };
    const { signal } = c.req.raw;
    const wanted = images.imageAt(name, at * 1_000, { ...options, signal });
    const found = await waitedFor(signal, wanted);
    return answerImage(c, name, found);
  });

  router.openapi(thumbnail, async (c) => {
    const { name } = await video.camera(c.req.valid('param').name);
    const { at } = c.req.valid('query');
    const { signal } = c.req.raw;
    const found = await waitedFor(signal, thumbnails.at(name, at * 1_000, signal));
    return answerImage(c, name, found);
  });

  router.openapi(exportOne, async (c) => {
    const { from, to } = c.req.valid('query');
    checkRange(from, to);
    const { name: camera } = c.req.valid('param');
    const range = { camera, fromUs: from * 1_000, toUs: to * 1_000 };
    const { signal } = c.req.raw;
    const { movie, etag } = await waitedFor(signal, exports.of(range, signal));
    return answerMovie(c, movie, etag, exportFileName(camera, range.fromUs));
  });

  router.openapi(exportSeveral, async (c) => {
    const { from, to, camera } = c.req.valid('query');
    checkRange(from, to);
    const cameras = [...new Set([camera].flat())];
    const range = { fromUs: from * 1_000, toUs: to * 1_000 };
    const { signal } = c.req.raw;
    const entries = await waitedFor(signal, zipEntries(exports, cameras, range, signal));
    return new Response(bodyFor(c, zip(entries)), {
      headers: {
        ...fileHeaders(`headgate_${isoFromUs(range.fromUs).replaceAll(':', '-')}.zip`),
        'content-type': 'application/zip',
        'content-length': String(zipBytes(entries)),
      },
    });
  });
}

/** What is being made for a client; where it is gone, that is no failure. */
async function waitedFor<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (signal.aborted) throw new HttpError('bad-request', 'The client is gone.');
    if (!(error instanceof ImageError)) throw error;
    const { code, message } = error;
    if (code === 'busy') throw new HttpError('busy', message, { retryAfterSeconds: 1 });
    throw new HttpError(code === 'failed' ? 'corrupt' : 'unavailable', message, { cause: error });
  }
}

function answerImage(c: Context<AppEnv>, camera: string, found: Image | null): Response {
  if (found === null) {
    throw new HttpError('not-found', `Nothing of ${camera} was recorded at this time.`);
  }
  const { bytes, contentType, atUs } = found;
  return c.body(new Uint8Array(bytes), 200, {
    'content-type': contentType,
    'cache-control': 'private, max-age=86400',
    'headgate-image-time': isoFromUs(atUs),
  });
}

function answerMovie(c: Context<AppEnv>, movie: Movie, etag: string, file: string): Response {
  const { sizeBytes } = movie;
  const asked = { range: c.req.header('range'), ifRange: c.req.header('if-range') };
  const range = byteRangeOf(asked, etag, sizeBytes);
  if (range === 'unsatisfiable') {
    const error = new HttpError('range-not-satisfiable', `The file has ${sizeBytes} bytes.`);
    const response = errorResponse(error);
    response.headers.set('content-range', `bytes */${sizeBytes}`);
    return response;
  }
  const { from, to } = range ?? { from: 0, to: sizeBytes };
  return new Response(bodyFor(c, movie.read(from, to)), {
    status: range === null ? 200 : 206,
    headers: {
      ...fileHeaders(file),
      'content-type': 'video/mp4',
      'content-length': String(to - from),
      'accept-ranges': 'bytes',
      etag,
      ...(range === null ? {} : { 'content-range': `bytes ${from}-${to - 1}/${sizeBytes}` }),
    },
  });
}

function fileHeaders(name: string): Readonly<Record<string, string>> {
  return {
    'content-disposition': `attachment; filename="${name}"`,
    'cache-control': 'private, no-cache',
  };
}

/** Of a request for the head alone there is none. */
function bodyFor(
  c: Context<AppEnv>,
  pieces: AsyncGenerator<Buffer, void>,
): ReadableStream<Uint8Array> | null {
  return c.req.method === 'HEAD' ? null : streamed(pieces);
}

/** @throws as `Exports.of`, but for cameras that recorded nothing */
async function zipEntries(
  exports: Exports,
  cameras: readonly string[],
  range: { readonly fromUs: number; readonly toUs: number },
  signal: AbortSignal,
): Promise<readonly ZipEntry[]> {
  const modifiedMs = Math.floor(range.fromUs / 1_000);
  const entries: ZipEntry[] = [];
  const index: unknown[] = [];
  for (const camera of cameras) {
    const found = await exports.of({ camera, ...range }, signal).catch((error: unknown) => {
      if (error instanceof HttpError && error.code === 'not-found') return null;
      throw error;
    });
    const name = exportFileName(camera, range.fromUs);
    const pieces = found?.movie.pieces ?? [];
    index.push({
      camera,
      file: found === null ? null : name,
      pieces: pieces.map(({ startUs, endUs, atUs }) => ({
        ...{ startTime: isoFromUs(startUs), endTime: isoFromUs(endUs), atSeconds: atUs / 1e6 },
      })),
    });
    if (found === null) continue;
    const { movie } = found;
    entries.push({ name, sizeBytes: movie.sizeBytes, modifiedMs, read: () => movie.read() });
  }
  if (entries.length === 0) {
    throw new HttpError('not-found', 'Nothing of these cameras was recorded in this time.');
  }
  const text = Buffer.from(`${JSON.stringify(index, null, 2)}\n`);
  // eslint-disable-next-line @typescript-eslint/require-await -- it is at hand
  const read = async function* (): AsyncGenerator<Buffer, void> {
    yield text;
  };
  return [...entries, { name: 'index.json', sizeBytes: text.length, modifiedMs, read }];
}
