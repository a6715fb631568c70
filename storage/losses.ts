/**
 * The account of what was lost, by kind and by stream or camera, kept over restarts.
 *
 * A loss is data that was taken and is gone although somebody still had a right to it: dropped for
 * want of room before a required delivery had read it, damaged on the disk, refused where the
 * sender can't repeat it. What retention deletes by its rules is none.
 *
 * Who finds a loss calls `add`, inside the transaction that causes it where there is one, or at
 * once; each kind is a counter (`headgate_losses_total`, and bytes) and a log line at most once a
 * minute for each stream or camera.
 */
import type { Transaction } from './group-commit.ts';
import type { Queries } from './log/batch-table.ts';
import type { Clock, Counter, Logger, Metrics } from './ports.ts';
import type { Writer } from './writer.ts';

interface LossWords {
  /** What `count` counts, for people. */
  readonly what: string;
  /** The line in the log. */
  readonly message: string;
}

export const lossKinds = {
  'records-dropped': {
    what: 'records dropped for want of room before a required delivery had read them',
    message: 'The stream is full: its oldest records were dropped before they were delivered.',
  },
  'footage-dropped': {
    what: 'media files deleted for want of room before a required delivery had read them',
    message: 'Footage was deleted before a required delivery had read it.',
  },
  'held-footage-dropped': {
    what: 'media files deleted for want of room although an event held them',
    message: 'Footage that an event held was deleted: the disk is full.',
  },
  'records-corrupt': {
    what: 'records in damaged batches, passed over',
    message: 'Records are lost: their batch is damaged on the disk.',
  },
  'fragments-corrupt': {
    what: 'fragments damaged on the disk, left out',
    message: 'A fragment of footage is lost: it is damaged on the disk.',
  },
  'announcements-lost': {
    what: 'fragments stored without their record in the events stream',
    message: 'A fragment was stored, but not announced.',
  },
  'messages-refused': {
    what: 'messages refused that their senders do not repeat',
    message: 'A message was refused that its sender does not repeat.',
  },
  'lines-cut': {
    what: 'lines of files cut off, as they were longer than maxLineBytes',
    message: 'A line of a file was too long: the end of it was left out.',
  },
} as const satisfies Readonly<Record<string, LossWords>>;

export type LossKind = keyof typeof lossKinds;

export interface LossReport {
  readonly kind: LossKind;
  /** The stream, camera or delivery. */
  readonly subject: string;
  readonly count: number;
  /** 0 where bytes are not known. */
  readonly bytes: number;
  readonly firstMs: number;
  readonly lastMs: number;
}

interface Loss {
  readonly kind: LossKind;
  readonly subject: string;
  readonly count: number;
  readonly bytes: number;
}

const logEveryMs = 60_000;
/** Damaged batches and fragments remembered; past that the oldest are counted again. */
const damageMax = 10_000;
/** Rows kept: past it further subjects are counted together. */
const rowsMax = 10_000;

export class Losses {
  readonly #options: LossesOptions;
  readonly #counts: Counter;
  readonly #bytes: Counter;
  readonly #rows = new Map<string, LossReport>();
  readonly #loggedMs = new Map<string, number>();
  /** What has happened since the last commit that saved it, by key. */
  readonly #unsaved = new Map<string, Loss>();
  /** Damage that was counted already. */
  readonly #damage = new Set<string>();
  #saving = false;

  private constructor(options: LossesOptions, rows: readonly LossReport[]) {
    this.#options = options;
    const { metrics } = options;
    this.#counts = metrics.counter(
      'headgate_losses_total',
      'What was lost since the start, by kind and stream or camera.',
    );
    this.#bytes = metrics.counter('headgate_lost_bytes_total', 'Bytes lost since the start.');
    for (const row of rows) this.#rows.set(keyOf(row), row);
  }

  static async open(options: LossesOptions): Promise<Losses> {
    const rows = await options.queries.all<LossReport>(
      `SELECT kind, subject, count, bytes, first_ms AS firstMs, last_ms AS lastMs FROM loss
       ORDER BY kind, subject LIMIT ${rowsMax}`,
    );
    return new Losses(
      options,
      rows.filter(({ kind }) => Object.hasOwn(lossKinds, kind)),
    );
  }

  /** All that was ever lost here. */
  report(): readonly LossReport[] {
    return [...this.#rows.values()];
  }

  /** Counts a loss that has happened; saved with the next commit. */
  add(kind: LossKind, subject: string, { count = 1, bytes = 0 } = {}): void {
    if (count <= 0 && bytes <= 0) return;
    const loss = this.#count({ kind, subject, count, bytes });
    const key = keyOf(loss);
    const before = this.#unsaved.get(key);
    this.#unsaved.set(key, {
      ...loss,
      count: count + (before?.count ?? 0),
      bytes: bytes + (before?.bytes ?? 0),
    });
    if (!this.#saving) this.#save();
  }

  /** Counts a loss that this transaction causes, in it: it happens with it, or not at all. */
  async addIn(
    transaction: Transaction,
    kind: LossKind,
    subject: string,
    { count = 1, bytes = 0 } = {},
  ): Promise<void> {
    if (count <= 0 && bytes <= 0) return;
    const loss = { kind, subject: this.#subjectOf(kind, subject), count, bytes };
    await saveLoss(transaction, loss, this.#options.clock.nowMs());
    transaction.onCommit(() => {
      this.#count(loss);
    });
  }

  /**
   * Counts damage that a read came upon, once per start and place. It is not saved: while it is
   * there the next start finds it too; what repair takes away, repair counts for good.
   */
  addDamage(
    kind: 'records-corrupt' | 'fragments-corrupt',
    subject: string,
    place: string,
    { count = 1, bytes = 0 } = {},
  ): void {
    const key = `${kind} ${subject} ${place}`;
    if (this.#damage.has(key)) return;
    if (this.#damage.size >= damageMax) this.#damage.clear();
    this.#damage.add(key);
    this.#count({ kind, subject, count, bytes });
  }

  #subjectOf(kind: LossKind, subject: string): string {
    const isNew = !this.#rows.has(keyOf({ kind, subject }));
    return isNew && this.#rows.size >= rowsMax ? 'others' : subject;
  }

  #count(loss: Loss): Loss {
    const { kind, count, bytes } = loss;
    const subject = this.#subjectOf(kind, loss.subject);
    const key = keyOf({ kind, subject });
    const nowMs = this.#options.clock.nowMs();
    const before = this.#rows.get(key);
    const row: LossReport = {
      kind,
      subject,
      count: (before?.count ?? 0) + count,
      bytes: (before?.bytes ?? 0) + bytes,
      firstMs: before?.firstMs ?? nowMs,
      lastMs: nowMs,
    };
    this.#rows.set(key, row);
    this.#counts.add(count, { kind, subject });
    this.#bytes.add(bytes, { kind, subject });
    this.#say(key, row);
    return { ...loss, subject };
  }

  #say(key: string, { kind, subject, count, bytes }: LossReport): void {
    const { clock, logger } = this.#options;
    const nowMs = clock.monotonicMs();
    if (nowMs - (this.#loggedMs.get(key) ?? -Infinity) < logEveryMs) return;
    this.#loggedMs.set(key, nowMs);
    logger.warn({ kind, subject, countEver: count, bytesEver: bytes }, lossKinds[kind].message);
  }

  /** What is added until the transaction runs goes along. */
  #save(): void {
    const { writer, logger, clock } = this.#options;
    this.#saving = true;
    writer
      .transact(async (transaction) => {
        this.#saving = false;
        const losses = [...this.#unsaved.values()];
        this.#unsaved.clear();
        for (const loss of losses) await saveLoss(transaction, loss, clock.nowMs());
      })
      .catch((error: unknown) => {
        this.#saving = false;
        logger.warn({ error }, 'The account of what was lost could not be saved.');
      });
  }
}

export interface LossesOptions {
  readonly writer: Writer;
  readonly queries: Queries;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** Adds to what is saved. */
export async function saveLoss(
  transaction: Pick<Transaction, 'run'>,
  { kind, subject, count, bytes }: Loss,
  nowMs: number,
): Promise<void> {
  await transaction.run(
    `INSERT INTO loss (kind, subject, count, bytes, first_ms, last_ms)
       VALUES (?1, ?2, ?3, ?4, ?5, ?5)
       ON CONFLICT (kind, subject) DO UPDATE SET
         count = count + ?3, bytes = bytes + ?4, last_ms = ?5`,
    ...[kind, subject, count, bytes, nowMs],
  );
}

function keyOf({ kind, subject }: Pick<LossReport, 'kind' | 'subject'>): string {
  return `${kind} ${subject}`;
}
