/** What a site is made of in tests that let days pass: a sensor, and a bucket behind a slow link. */
import { SinkError, type ObjectUpload } from '../../../../gateway/forward/sink.ts';
import { pause } from '../../../../gateway/forward/timing.ts';
import { StorageError } from '../../../../storage/errors.ts';
import type { RecordInput } from '../../../../storage/model.ts';
import type { ManualClock } from '../../../support/manual-clock.ts';
import { idsOf } from './lines.ts';
import { MemorySink } from './memory-sink.ts';
import type { Rig } from './rig.ts';

const recordsPerStep = 25;
/** What the link carries in a second of simulated time. */
const linkBytesPerSecond = 2000;

/** A bucket at the far end of the link, with what arrived in the order of arrival. */
export class Bucket extends MemorySink {
  up = false;
  readonly arrivals: (readonly number[])[] = [];
  readonly files: string[] = [];
  readonly #clock: ManualClock;

  constructor(clock: ManualClock) {
    super();
    this.#clock = clock;
    this.before = (upload, signal) => this.#carry(upload, signal);
  }

  async #carry(upload: ObjectUpload, signal: AbortSignal): Promise<void> {
    if (!this.up) throw new SinkError('unreachable', 'no link');
    await pause(this.#clock, (upload.sizeBytes * 1000) / linkBytesPerSecond, signal);
    if (signal.aborted) throw new SinkError('aborted', 'called off');
    const pieces: Buffer[] = [];
    for await (const piece of upload.read()) pieces.push(piece);
    if (upload.key.endsWith('.gz')) this.arrivals.push(idsOf([Buffer.concat(pieces)]));
    else if (upload.key.endsWith('.mp4')) this.files.push(upload.key);
  }
}

/** A sensor that keeps what was not acknowledged, as MQTT clients do, and sends it again. */
export class Sensor {
  readonly acknowledged: number[] = [];
  refused = 0;
  #next = 0;
  readonly #rig: Rig;
  readonly #stream: string;

  constructor(rig: Rig, stream: string) {
    this.#rig = rig;
    this.#stream = stream;
  }

  async send(): Promise<void> {
    const ids = Array.from({ length: recordsPerStep }, (_, index) => this.#next + index);
    const records = ids.map((id): RecordInput => {
      const data = Buffer.from(JSON.stringify({ id, filler: fillerOf(id) }));
      return { partitionKey: 'sensor', data };
    });
    try {
      await this.#rig.store.log.append(this.#stream, records);
      this.acknowledged.push(...ids);
      this.#next += recordsPerStep;
    } catch (error) {
      if (!(error instanceof StorageError) || error.code !== 'stream-full') throw error;
      this.refused += 1;
    }
  }
}

/** Text that does not compress away. */
function fillerOf(id: number): string {
  let state = id + 1;
  return Array.from({ length: 30 }, () => {
    state = (state * 48_271) % 2_147_483_647;
    return state.toString(36);
  }).join('');
}
