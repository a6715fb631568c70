/** What `check.ts` and its parts report. */
export type FindingCode =
  /** SQLite's own check complains about the database file. */
  | 'database-damaged'
  /** The tables are those of an earlier release: the rest can't be checked. */
  | 'schema-outdated'
  /** A batch whose checksum or shape is wrong. */
  | 'batch-corrupt'
  /** A batch that is not the one its row speaks of, or whose accounting does not add up. */
  | 'batch-mismatch'
  /** A key of what is encrypted that is damaged, gone, or not the one at hand. */
  | 'key-trouble'
  /** Sequence numbers of a shard that no batch holds. */
  | 'sequence-gap'
  /** Sequence numbers of a shard that two batches hold. */
  | 'sequence-overlap'
  /** Batches of a shard that does not exist. */
  | 'batch-orphaned'
  /** An attribute of a stream that is not JSON, or of a stream that does not exist. */
  | 'attribute-damaged'
  /** The shards of a stream do not divide the hash-key space. */
  | 'hash-range'
  /** A lease or plan of an application or a shard that does not exist. */
  | 'lease-orphaned'
  /** What a plan was made into is damaged, not all there, or has no plan. */
  | 'plan-output-damaged'
  /** A checkpoint past the end of its shard. */
  | 'checkpoint-beyond-end'
  /** A media file that the index speaks of is not there. */
  | 'media-missing'
  /** A media file is shorter than the index says. */
  | 'media-short'
  /** A media file is longer than the index says. */
  | 'media-long'
  /** A file in the media folder that the index does not know. */
  | 'media-orphaned'
  /** A fragment whose bytes are not those that were recorded. */
  | 'fragment-corrupt'
  /** A row of the video index that makes no sense. */
  | 'index-damaged'
  /** Rows of the video index that contradict each other. */
  | 'index-mismatch';

export interface Finding {
  /** `error`: data is lost or wrong. `warning`: nothing is lost, something wants attention. */
  readonly severity: 'error' | 'warning';
  readonly code: FindingCode;
  /** The stream and shard, the table or the file, in words. */
  readonly where: string;
  readonly what: string;
  /** What whoever reads it may do. */
  readonly advice: string;
}
