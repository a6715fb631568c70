/** A destination in memory behind a link that can be down, slow, or cut at any upload. */
import { SinkError, type ObjectUpload } from '../../../../gateway/forward/sink.ts';
import { idsOf } from './lines.ts';
import { MemorySink } from './memory-sink.ts';

export class Link {
  readonly sink = new MemorySink();
  #up = true;
  /** The ids of each upload that arrived, in the order of arrival. */
  readonly arrivals: (readonly number[])[] = [];
  /** Asked for each upload that would arrive; what it returns is waited for. */
  pass: (ids: readonly number[]) => Promise<void> | void = () => undefined;

  get up(): boolean {
    return this.#up;
  }

  set up(up: boolean) {
    this.#up = up;
  }

  constructor() {
    this.sink.before = async (upload, signal) => {
      if (!this.up) throw new SinkError('unreachable', 'no link');
      const ids = idsOf([await contentOf(upload)]);
      await Promise.race([this.pass(ids), calledOff(signal)]);
      if (!this.#up) throw new SinkError('unreachable', 'the link broke');
      this.arrivals.push(ids);
    };
  }

  /** Everything that is there now. */
  ids(): number[] {
    return idsOf(this.sink.objects.values());
  }
}

async function contentOf(upload: ObjectUpload): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of upload.read()) pieces.push(piece);
  return Buffer.concat(pieces);
}

function calledOff(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    const onAbort = (): void => {
      reject(new SinkError('aborted', 'called off'));
    };
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
  });
}
