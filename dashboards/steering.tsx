import type { Delivery } from '../gateway/api/rest/delivery-schemas.ts';
import * as format from './format.ts';
import { attempt, gatewayNowMs, replay } from './state.ts';

/** Holds a delivery or a function back, or lets it go on. */
export function PauseButton({
  name,
  isPaused,
  change,
}: {
  name: string;
  isPaused: boolean;
  change: (name: string, what: 'pause' | 'resume') => Promise<void>;
}) {
  const what = isPaused ? 'resume' : 'pause';
  return (
    <button
      type="button"
      class="quiet"
      aria-label={`${what} ${name}`}
      onClick={() => void attempt(() => change(name, what))}
    >
      {what}
    </button>
  );
}

/** What one has failed and kept, why at last, and a way to have it done after all. */
export function Failed({
  kind,
  name,
  count,
  newest,
  isReplaying,
}: {
  kind: 'deliveries' | 'functions';
  name: string;
  count: string;
  newest: Delivery['lastFailed'];
  isReplaying: boolean;
}) {
  return (
    <span class="failed">
      <span class="problem">
        {count} failed
        {newest !== null &&
          ` · ${newest.reason} · ${format.relative(Date.parse(newest.time), gatewayNowMs())}`}
      </span>
      <button
        type="button"
        class="quiet"
        aria-label={`replay ${name}`}
        disabled={isReplaying}
        onClick={() => void attempt(() => replay(kind, name))}
      >
        {isReplaying ? 'replaying' : 'replay'}
      </button>
    </span>
  );
}
