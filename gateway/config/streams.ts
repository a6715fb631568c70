/** `streams`, and the `log` on disk that holds all of them. */
import { z } from 'zod';
import { choice, decimal, keyNotes, name, size, whole } from './leaves.ts';

const GB = 1e9;
const MiB = 2 ** 20;

export const log = z.strictObject({
  lingerMs: decimal(0, 1000)
    .default(0)
    .describe(
      'How long a group commit waits for more records. A few milliseconds spare slow flash memory; every acknowledgement takes as much longer.',
    ),
  maxQueuedBytes: size(MiB)
    .default(64 * MiB)
    .describe('Bytes that may wait for the disk; past it, senders are held back.'),
  tailCacheBytes: size(0)
    .default(32 * MiB)
    .describe('Memory for the newest records, from which everyone who keeps up is served.'),
  readCacheBytes: size(0)
    .default(32 * MiB)
    .describe(
      'Memory for records that were read from the disk a moment ago: whoever goes through the same backlog side by side reads it once.',
    ),
  minFreeBytes: size(0)
    .nullable()
    .default(null)
    .describe(
      'Disk space that stays free of records: below it, the oldest that no delivery needs are deleted, then new ones are refused. null: 512 MiB, but at most a tenth of the disk.',
    ),
  maxShards: whole(1, 10_000)
    .default(16)
    .describe(
      'Up to how many shards a stream on demand is split by itself when its load grows; when little is left of the load, they are merged again.',
    ),
});

const stream = z.strictObject({
  shards: whole(1, 10_000)
    .default(1)
    .describe('Shards to begin with; of a stream that exists the number stays as it is.'),
  mode: choice(['on-demand', 'provisioned'])
    .default('on-demand')
    .describe(
      'on-demand takes what the box can do; provisioned keeps to the limits of its shards.',
    ),
  retentionHours: decimal(1, 87_600)
    .default(24)
    .describe('Records are kept this long, unless a required delivery still needs them.'),
  maxBytes: size(MiB)
    .nullable()
    .default(4 * GB)
    .describe('Bytes that the stream may take up on disk; null: no limit of its own.'),
  whenFull: choice(['refuse', 'drop-oldest'])
    .default('refuse')
    .describe('At maxBytes: refuse new records, or drop the oldest ones.'),
  compression: choice(['none', 'deflate'])
    .default('none')
    .describe(
      'deflate compresses records that come from now on, a while after they came: more fit into maxBytes, for some more work of the processor.',
    ),
  aggregation: choice(['pass', 'split'])
    .default('pass')
    .describe(
      'What becomes of records that producers have packed into one, as the Kinesis Producer Library does: pass stores them as they come, and consumers take them apart (the KCL does); split does so for them, each record under its own key.',
    ),
  encryption: choice(['aes-256-gcm', 'none'])
    .default('aes-256-gcm')
    .describe(
      'How records are encrypted on disk, under a key of the stream that the master key (encryption) wraps. What a stream held before follows in the background; with none, what is encrypted stays so.',
    ),
});

export const streams = z.record(name(), stream).register(keyNotes, {
  allowed: 'a map of streams by name',
  example: { readings: {}, 'camera-events': { retentionHours: 168 }, 'app-log': {} },
});
