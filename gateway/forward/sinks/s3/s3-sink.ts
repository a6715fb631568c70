/**
 * Objects in S3, or in a server that speaks S3.
 *
 * Every object goes up in one PutObject of known length, streamed from where it lies, with its
 * SHA-256 signed into the request: a byte changed on the way is refused by the server. S3 takes up
 * to 5 GiB that way; a media file is about a minute and a record object one buffer, so neither
 * comes near it, and no upload in parts is ever left behind half done.
 */
import { PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { Readable } from 'node:stream';
import { SinkError, type ObjectSink, type ObjectUpload } from '../../sink.ts';
import { AwsClient, type AwsOptions } from '../aws.ts';

/** What S3 takes in one piece. */
const maxObjectBytes = 5 * 1024 ** 3;

export interface S3SinkOptions extends AwsOptions {
  readonly bucket: string;
  /** The bucket in the path, not in the host name. Default: true with an `endpoint`. */
  readonly forcePathStyle?: boolean;
}

export function s3Sink(options: S3SinkOptions): ObjectSink {
  const client = new AwsClient(
    's3',
    options,
    (config) =>
      new S3Client({
        ...config,
        forcePathStyle: options.forcePathStyle ?? options.endpoint !== undefined,
        // The SDK's default wraps streamed bodies in chunks with a trailing checksum, which some
        // servers store as if the wrapping were content. The signed SHA-256 does the same work.
        requestChecksumCalculation: 'WHEN_REQUIRED',
        responseChecksumValidation: 'WHEN_REQUIRED',
      }),
  );
  const at = options.endpoint === undefined ? '' : ` at ${withoutPassword(options.endpoint)}`;
  return {
    kind: 's3',
    description: `s3://${options.bucket}${at}`,
    put: (upload, signal) => put(client, options.bucket, upload, signal),
    close: () => {
      client.close();
      return Promise.resolve();
    },
  };
}

async function put(
  client: AwsClient<S3Client>,
  bucket: string,
  upload: ObjectUpload,
  signal: AbortSignal,
): Promise<void> {
  if (upload.sizeBytes > maxObjectBytes) {
    throw new SinkError('too-large', `${upload.key} is larger than 5 GiB`);
  }
  // The SDK does not listen for a body that fails, and would wait for the rest of it forever.
  const failed = new AbortController();
  let contentError: unknown = null;
  const body = Readable.from(exactly(upload), { objectMode: false });
  body.on('error', (error) => {
    contentError = error;
    failed.abort();
  });
  const onAbort = (): void => {
    failed.abort();
  };
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) failed.abort();
  const command = new PutObjectCommand({
    Bucket: bucket,
    Key: upload.key,
    Body: body,
    ContentLength: upload.sizeBytes,
    ContentType: upload.contentType,
  });
  command.middlewareStack.add(
    (next) => (args) => {
      setHeader(args.request, 'x-amz-content-sha256', upload.sha256);
      return next(args);
    },
    { step: 'build', name: 'signedContent' },
  );
  try {
    const answer = await client.call(failed.signal, (service, abortSignal) =>
      service.send(command, { abortSignal }),
    );
    // S3, and what speaks like it, names what it keeps; a login page of the network does not.
    if (answer.ETag === undefined) {
      throw new SinkError('unavailable', 'an answer that does not say that anything was kept', {
        advice:
          'Something on the way answers in place of the bucket: a login page of the network, or a proxy. Check to.s3.endpoint and the network.',
      });
    }
  } catch (error) {
    throw contentError ?? error;
  } finally {
    signal.removeEventListener('abort', onAbort);
    body.destroy();
  }
}

/** The content, refused when it is not as long as was said. */
async function* exactly(upload: ObjectUpload): AsyncGenerator<Buffer> {
  let sizeBytes = 0;
  for await (const piece of upload.read()) {
    sizeBytes += piece.length;
    if (sizeBytes > upload.sizeBytes) break;
    yield piece;
  }
  if (sizeBytes !== upload.sizeBytes) {
    throw new SinkError('unavailable', `the content changed while it was read: ${upload.key}`);
  }
}

function setHeader(request: unknown, name: string, value: string): void {
  if (typeof request !== 'object' || request === null || !('headers' in request)) return;
  const { headers } = request;
  if (typeof headers === 'object' && headers !== null) Object.assign(headers, { [name]: value });
}

function withoutPassword(endpoint: string): string {
  try {
    return new URL(endpoint).origin;
  } catch {
    return 'an address that is not a URL';
  }
}
