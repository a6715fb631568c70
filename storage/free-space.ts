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

  /** Bytes that are missing to the floor; at most 0 when none are. */
  async missingBytes(): Promise<number> {
    const { folder, minFreeBytes, freeBytes } = this.#options;
    if (minFreeBytes === 0) return 0;
    const disk = await statfs(folder);
    const floor =
      minFreeBytes ?? Math.min(defaultFloorBytes, disk.blocks * disk.bsize * diskShareMax);
    const free = freeBytes === undefined ? disk.bavail * disk.bsize : await freeBytes();
    return Math.ceil((this.#refusing ? floor * slack : floor) - free);
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
