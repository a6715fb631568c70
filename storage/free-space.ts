/**
 * The floor of free space below which the log takes nothing new.
 *
 * It leaves room for what shares the disk: other programs, the write-ahead log, footage that is
 * being written. Footage gives way first (`video.minFreeBytes` is higher); then `retention.ts` drops
 * what the streams' policies let go of; only then appends are refused, until there is a twentieth
 * more than the floor. What happens at no free space at all: `disk-reserve.ts`.
 */
import { statfs } from 'node:fs/promises';
import type { Gauge, Logger, Metrics } from './ports.ts';

const defaultFloorBytes = 512 * 1024 * 1024;
const diskShareMax = 0.1;
/** Above the floor by this much it is over. */
const slack = 1.05;

export interface FloorOptions {
  readonly folder: string;
  /** 0: none. null: 512 MiB, but at most a tenth of the disk. */
  readonly minFreeBytes: number | null;
  /** Free bytes on the disk of the folder; what the file system says when left out. */
  readonly freeBytes?: () => Promise<number>;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

export class FreeSpaceFloor {
  readonly #options: FloorOptions;
  readonly #gauge: Gauge;
  #refusing = false;

  constructor(options: FloorOptions) {
    this.#options = options;
    this.#gauge = options.metrics.gauge(
      'headgate_log_refusing_for_space',
      '1 while appends are refused because the disk has too little free space.',
    );
    this.#gauge.set(0);
  }

  /** Appends are refused. */
  get refusing(): boolean {
    return this.#refusing;
  }

  /** How much has to be free; 0: there is no floor. */
  async wantedBytes(): Promise<number> {
    const { folder, minFreeBytes } = this.#options;
    let floor = minFreeBytes;
    if (floor === null) {
      const { blocks, bsize } = await statfs(folder);
      floor = Math.min(defaultFloorBytes, blocks * bsize * diskShareMax);
    }
    return Math.ceil(this.#refusing ? floor * slack : floor);
  }

  /** How much is free. */
  async freeBytes(): Promise<number> {
    const { folder, freeBytes } = this.#options;
    if (freeBytes !== undefined) return freeBytes();
    const { bavail, bsize } = await statfs(folder);
    return bavail * bsize;
  }

  /** Refuses appends, or takes them again. @param missingBytes after all that could be dropped was */
  decide(missingBytes: number): void {
    const refusing = missingBytes > 0;
    if (refusing === this.#refusing) return;
    this.#refusing = refusing;
    this.#gauge.set(refusing ? 1 : 0);
    const { logger } = this.#options;
    if (refusing) {
      logger.error(
        { missingBytes },
        'The disk has less free space than log.minFreeBytes: nothing is appended until there is more.',
      );
    } else {
      logger.info({}, 'There is enough free space again: appends are taken.');
    }
  }
}
