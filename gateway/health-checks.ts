/** What the gateway's health is made of. An uplink or a camera that is away degrades it, no more. */
import type { Log } from '../storage/model.ts';
import type { Clock } from '../storage/ports.ts';
import type { Store } from '../storage/store.ts';
import { adviceFor, adviceOnHeld } from './api/firehose/advice.ts';
import type { CameraStatus } from './api/rest/cameras.ts';
import type { EventSources } from './event-sources.ts';
import type { Files } from './files.ts';
import type { Deliveries } from './forward/deliveries.ts';
import { isHeldWithOwner, type DeliveryStatus } from './forward/delivery-status.ts';
import type { Hooks } from './hooks.ts';
import type { CheckResult, Health } from './observe/health.ts';
import type { LoopDelay } from './observe/loop-delay.ts';

/** Less than this, and the next checkpoint or vacuum may find no room. */
const freeBytesMin = 64 * 2 ** 20;
/** Five times what is aimed at: live pictures and acknowledgements are late by then. */
const loopDelayMaxMs = 100;
/** A certificate should be renewed before the last moment. */
const certificateDaysMin = 14;

/** What a delivery that is held back may keep of its stream's bytes, before it is told. */
const keptShareMax = 0.8;

export interface Checked {
  readonly store: Store;
  readonly files: Pick<Files, 'statuses'>;
  readonly cameras: { statuses(): readonly CameraStatus[] };
  readonly deliveries: Pick<Deliveries, 'status'>;
  readonly hooks: Pick<Hooks, 'troubles'>;
  readonly functions: Pick<EventSources, 'status'>;
  /** On the disk of the data folder. */
  readonly freeBytes: () => Promise<number>;
  readonly loopDelay: LoopDelay;
  /** Why no messages come from an external broker; null when they do, or there is none. */
  readonly mqttTrouble: () => string | null;
  /** Why the configuration in force is not the one that is written; null when it is. */
  readonly configurationTrouble: () => string | null;
  /** When the certificate ends; null: TLS is not spoken. */
  readonly certificateEndsMs: number | null;
  readonly clock: Clock;
}

const ok: CheckResult = { status: 'ok', message: null };

export function addChecks(health: Health, checked: Checked): void {
  const { store, files, cameras, deliveries, hooks, functions } = checked;
  const { freeBytes, loopDelay, configurationTrouble } = checked;
  health.add(
    'storage',
    () => {
      const { failure } = store.writer;
      return failure === null
        ? ok
        : { status: 'failing', message: `nothing is stored any more: ${failure.message}; restart` };
    },
    { mendedByRestart: true },
  );
  health.add('disk', async () => {
    const free = await freeBytes();
    const { refusal } = store;
    if (refusal === null && free >= freeBytesMin) return ok;
    const message = `${Math.floor(free / 2 ** 20)} MiB free: make room, or keep less (retentionHours, maxBytes)`;
    return { status: 'failing', message: refusal === null ? message : `${refusal}; ${message}` };
  });
  health.add('footage', () => {
    const { trouble } = store.video;
    return trouble === null
      ? ok
      : { status: 'degraded', message: `nothing is recorded: the media folder: ${trouble}` };
  });
  health.add('streams', () =>
    degradedBy(
      store.log
        .streams()
        .filter(({ refusing }) => refusing)
        .map(
          ({ name, maxBytes }) =>
            `${name} is full (maxBytes ${String(maxBytes)}) and refuses new records: see whether its deliveries are behind or held back, raise maxBytes, or let it drop the oldest (whenFull)`,
        ),
    ),
  );
  health.add('load', () => {
    const delayMs = Math.round(loopDelay.p99Ms());
    return delayMs <= loopDelayMaxMs
      ? ok
      : {
          status: 'degraded',
          message: `work waits ${delayMs} ms for the event loop: too much for this machine`,
        };
  });
  health.add('clock', () =>
    store.clockGuard.suspended
      ? {
          status: 'degraded',
          message:
            'it stepped by more than an hour, so what is stored is kept for one more retention: if it is right now, "headgate clock confirm" ends that',
        }
      : ok,
  );
  health.add('configuration', () => {
    const message = configurationTrouble();
    return message === null ? ok : { status: 'degraded', message };
  });
  health.add('certificate', () => {
    const { certificateEndsMs, clock } = checked;
    const leftMs = certificateEndsMs === null ? Infinity : certificateEndsMs - clock.nowMs();
    const days = Math.floor(leftMs / 86_400_000);
    if (days >= certificateDaysMin) return ok;
    const when = leftMs < 0 ? 'has ended' : `ends in ${days} days`;
    return {
      status: 'degraded',
      message: `it ${when}: put in a new one and restart; a restart alone renews the gateway's own`,
    };
  });
  health.add('mqtt', () => {
    const message = checked.mqttTrouble();
    return message === null ? ok : { status: 'degraded', message };
  });
  health.add('files', () =>
    degradedBy(
      files.statuses().flatMap(({ name, state, lastError, refusal, troubles }) => {
        if (state === 'backing-off') return [`${name}: ${lastError ?? 'failing'}`];
        if (refusal !== null) return [`${name}: lines wait in their files: ${refusal}`];
        const [first] = troubles;
        if (first === undefined) return [];
        const others = troubles.length === 1 ? '' : `, and ${troubles.length - 1} more`;
        return [`${name}: ${first.path} is not read: ${first.reason}${others}`];
      }),
    ),
  );
  health.add('cameras', () =>
    degradedBy(
      cameras
        .statuses()
        .filter(({ state }) => state === 'backing-off' || state === 'disabled')
        .map(({ name, lastError }) => `${name}: ${lastError ?? 'away'}`),
    ),
  );
  health.add('hooks', () =>
    degradedBy(hooks.troubles().map(({ name, trouble }) => `${name}: ${trouble}`)),
  );
  health.add('functions', async () =>
    degradedBy(
      (await functions.status()).flatMap(({ name, held, trouble, advice }) =>
        trouble === null || held !== null ? [] : [`${name}: ${advised(trouble, advice)}`],
      ),
    ),
  );
  health.add('deliveries', async () => {
    const all = await deliveries.status();
    return degradedBy(
      all.flatMap((delivery) => {
        const trouble = deliveryTrouble(delivery, store.log, all);
        return trouble === null ? [] : [`${delivery.name}: ${trouble}`];
      }),
    );
  });
}

/** null: all is as it should be, which a delivery that somebody holds back is too, while there is room. */
function deliveryTrouble(
  delivery: DeliveryStatus,
  log: Pick<Log, 'streams'>,
  all: readonly DeliveryStatus[],
): string | null {
  const { state, held, from, required, backlog } = delivery;
  if (held?.isFault === true) {
    const isTold = isHeldWithOwner(delivery, all);
    return isTold ? null : advised(`it waits: ${held.reason}`, adviceOnHeld(held));
  }
  if (held !== null && required && from.kind === 'stream') {
    const maxBytes = log.streams().find(({ name }) => name === from.name)?.maxBytes ?? null;
    if (maxBytes !== null && backlog.bytes >= maxBytes * keptShareMax) {
      const share = Math.floor((backlog.bytes / maxBytes) * 100);
      return `it is held back (${held.reason}), and what it keeps is ${share} % of what ${from.name} may hold (maxBytes): let it go on, or raise maxBytes`;
    }
  }
  if (state !== 'backing-off') return null;
  const { message = 'failing' } = delivery.lastFailure ?? {};
  return advised(message, adviceFor(delivery));
}

function advised(message: string, advice: string | null): string {
  return `${message}${advice === null ? '' : ` (${advice})`}`;
}

function degradedBy(troubles: readonly string[]): CheckResult {
  return troubles.length === 0 ? ok : { status: 'degraded', message: troubles.join('; ') };
}
