/** What a delivery tells about itself, and how it is put together. */
import type { TaskStatus } from '../supervisor.ts';
import type { Backlog, Backlogs } from './backlog.ts';
import type { Held } from './flow/flow.ts';
import type { NewestFailed } from './failed-records.ts';
import { defaultPriority, type DeliveryOptions, type DeliveryOrigin } from './options.ts';
import type { DeliveryFailure, Progress } from './progress.ts';

export interface UnderErrorPrefix {
  /** As it is configured. */
  readonly prefix: string;
  readonly records: number;
  /** null: none has. */
  readonly newest: NewestFailed | null;
}

export interface DeliveryStatus {
  readonly name: string;
  /** The delivery that it keeps the records of, all or those that failed; null: it is no backup. */
  readonly backupOf: string | null;
  /** Which of those that it keeps: all, or those that failed; null: it is no backup. */
  readonly keeps: 'records' | 'failed' | null;
  /** Where it was made, and is changed. */
  readonly origin: DeliveryOrigin;
  readonly from: { readonly kind: 'stream' | 'camera'; readonly name: string };
  readonly to: { readonly kind: string; readonly description: string };
  readonly required: boolean;
  readonly catchUp: 'in-order' | 'live-first';
  /**
   * `idle`: everything is sent; `gathering`: what there is waits for more, to go with it;
   * `backing-off`: something failed and will be tried again; `waiting`: it is held back.
   */
  readonly state:
    'starting' | 'idle' | 'gathering' | 'sending' | 'backing-off' | 'waiting' | 'stopped';
  /** When what is gathered goes at the latest; null: nothing is gathered. */
  readonly gatheringUntilMs: number | null;
  /** Why it is held back; null: it is not. */
  readonly held: Held | null;
  /** Who goes first where the link is narrow. */
  readonly priority: number;
  /** When the next attempt begins, while backing off. */
  readonly retryAtMs: number | null;
  readonly backlog: Backlog;
  /** While new data goes out before a backlog: what each of the two has still to send. */
  readonly lanes: readonly { readonly kind: 'live' | 'backlog'; readonly backlog: Backlog }[];
  /** Its own cap. */
  readonly maxBytesPerSecond: number | null;
  readonly rate: { readonly recordsPerSecond: number; readonly bytesPerSecond: number };
  /** Since when it is counted: the start, of the gateway or with another configuration. */
  readonly sinceMs: number;
  /** Since then; media files count as records, or fragments where each goes by itself. */
  readonly sentRecords: number;
  readonly sentBytes: number;
  readonly sentObjects: number;
  readonly failures: number;
  /** Gone before they were sent (deleted by a limit, or found to be corrupt), or refused for good. */
  readonly lostRecords: number;
  /** Put aside with the reason, and not sent again since; see `failed-records.ts`. */
  readonly failedRecords: number;
  /** They are being sent again. */
  readonly isReplaying: boolean;
  /** The newest of those in the stream; null: there is none, or it can't be read now. */
  readonly newestFailed: NewestFailed | null;
  /** Of those that went under `layout.errorPrefix` since the start; null: there is no such prefix. */
  readonly underErrorPrefix: UnderErrorPrefix | null;
  /** While it ran with another configuration, too. */
  readonly lastSuccessMs: number | null;
  /** The latest failure of all, also when it works again since. */
  readonly lastFailure: DeliveryFailure | null;
}

/** @param given.tasks of the delivery itself, then of its workers */
export function deliveryStatus(given: {
  readonly options: DeliveryOptions;
  readonly to: DeliveryStatus['to'];
  readonly stopped: boolean;
  readonly held: Held | null;
  readonly backlogs: Backlogs;
  readonly failedRecords: number;
  readonly isReplaying: boolean;
  readonly newestFailed: NewestFailed | null;
  readonly progress: Progress;
  readonly tasks: readonly TaskStatus[];
}): DeliveryStatus {
  const { options, to, held, backlogs, progress, tasks } = given;
  const { from } = options;
  // What is held back attempts nothing.
  const retryAtMs = [
    held === null ? progress.retryAtMs : null,
    ...tasks.map((task) => task.retryAtMs),
  ].reduce(earliest, null);
  const state = given.stopped ? 'stopped' : stateOf({ held, retryAtMs, backlogs, progress }, tasks);
  return {
    name: options.name,
    backupOf: options.backupOf ?? null,
    keeps: keptBy(options),
    origin: options.origin ?? 'configuration',
    from:
      'stream' in from
        ? { kind: 'stream', name: from.stream }
        : { kind: 'camera', name: from.camera },
    to,
    required: options.required ?? true,
    catchUp: options.catchUp ?? 'in-order',
    state,
    gatheringUntilMs: state === 'gathering' ? progress.gatheringUntilMs : null,
    held,
    priority: options.priority ?? defaultPriority,
    retryAtMs,
    backlog: backlogs.all,
    lanes: backlogs.divided
      ? [
          { kind: 'live', backlog: backlogs.live },
          { kind: 'backlog', backlog: backlogs.behind },
        ]
      : [],
    maxBytesPerSecond: options.maxBytesPerSecond ?? null,
    rate: {
      recordsPerSecond: progress.recordsPerSecond,
      bytesPerSecond: progress.bytesPerSecond,
    },
    sinceMs: progress.sinceMs,
    sentRecords: progress.sentRecords,
    sentBytes: progress.sentBytes,
    sentObjects: progress.sentObjects,
    failures: progress.failures,
    lostRecords: progress.lostRecords,
    failedRecords: given.failedRecords,
    isReplaying: given.isReplaying,
    newestFailed: given.newestFailed,
    underErrorPrefix: underErrorPrefix(options, progress),
    lastSuccessMs: progress.lastSuccessMs,
    lastFailure: newest(progress.lastFailure, tasks.map(failureOf)),
  };
}

/** Whether a backup is held back by what holds back its owner, and so need not be told of besides. */
export function isHeldWithOwner(
  { backupOf, held }: HeldOne,
  all: readonly (HeldOne & { readonly name: string })[],
): boolean {
  if (backupOf === null || held === null) return false;
  return all.some(({ name, held: other }) => name === backupOf && other?.reason === held.reason);
}

interface HeldOne {
  readonly backupOf: string | null;
  readonly held: { readonly reason: string } | null;
}

function keptBy({ backupOf = null, failedOf = null }: DeliveryOptions): DeliveryStatus['keeps'] {
  if (backupOf === null) return null;
  return failedOf === null ? 'records' : 'failed';
}

function underErrorPrefix(
  { layout }: DeliveryOptions,
  { failedInObjects: records, newestInObjects: newest }: Progress,
): UnderErrorPrefix | null {
  const { errorPrefix: prefix = null } = layout ?? {};
  return prefix === null ? null : { prefix, records, newest };
}

function stateOf(
  about: {
    readonly held: Held | null;
    readonly retryAtMs: number | null;
    readonly backlogs: Backlogs;
    readonly progress: Progress;
  },
  [task]: readonly TaskStatus[],
): DeliveryStatus['state'] {
  const { held, retryAtMs, backlogs, progress } = about;
  if (retryAtMs !== null) return 'backing-off';
  if (held !== null) return 'waiting';
  if (task?.state === 'starting') return 'starting';
  if (backlogs.all.records === 0) return 'idle';
  return progress.gatheringUntilMs === null ? 'sending' : 'gathering';
}

/** What made a worker begin anew. */
function failureOf({ failure }: TaskStatus): DeliveryFailure | null {
  if (failure === null) return null;
  const { code, message, atMs } = failure;
  return { code: code ?? 'error', message, atMs, retryable: true, advice: null };
}

/** The earlier of two times, either of which may not be there. */
function earliest(a: number | null, b: number | null): number | null {
  if (a === null || b === null) return a ?? b;
  return Math.min(a, b);
}

/** The latest of several failures. */
function newest(
  first: DeliveryFailure | null,
  others: readonly (DeliveryFailure | null)[],
): DeliveryFailure | null {
  return others.reduce((a, b) => (a === null || (b !== null && b.atMs > a.atMs) ? b : a), first);
}
