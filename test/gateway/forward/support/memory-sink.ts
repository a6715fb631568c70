import type { ObjectSink, ObjectUpload } from '../../../../gateway/forward/sink.ts';

/**
 * An object sink that a test looks into and interferes with: `before` runs ahead of each attempt
 * and may wait or throw.
 */
export class MemorySink implements ObjectSink {
  readonly kind = 'folder';
  readonly description = 'memory';
  readonly objects = new Map<string, Buffer>();
  attempts = 0;
  before: (upload: ObjectUpload, signal: AbortSignal) => Promise<void> | void = () => undefined;

  async put(upload: ObjectUpload, signal: AbortSignal): Promise<void> {
    this.attempts += 1;
    await this.before(upload, signal);
    const pieces: Buffer[] = [];
    for await (const piece of upload.read()) pieces.push(piece);
    this.objects.set(upload.key, Buffer.concat(pieces));
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
