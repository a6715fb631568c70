import type { StreamFunction } from '../gateway/api/rest/function-schemas.ts';
import * as format from './format.ts';
import { changeFunction, functions } from './state.ts';
import { Failed, PauseButton } from './steering.tsx';

/** Which functions get the records of streams, and what still waits for them; nothing without any. */
export function FunctionList() {
  if (functions.value.length === 0) return null;
  return (
    <section class="panel" aria-label="Functions">
      <h2>Functions</h2>
      <div class="deliveries">
        {functions.value.map((one) => (
          <Row key={one.name} one={one} />
        ))}
      </div>
    </section>
  );
}

function Row({ one }: { one: StreamFunction }) {
  const { name, stream, state, held, backlog, failed, lastError, advice, givenUp, metrics } = one;
  const { gone } = givenUp;
  return (
    <article class="delivery">
      <span class={`dot ${state}`} title={state} />
      <div class="what">
        <strong>{name}</strong>
        <span class="detail">
          {stream} → {one.function.description}
        </span>
      </div>
      <div class="backlog">
        <strong>
          {backlog.records === 0
            ? 'nothing waiting'
            : `${format.counted(backlog.records, 'record')} · ${format.duration(backlog.ms)} behind`}
        </strong>
        <span class="detail">
          {format.counted(one.records, 'record')} done in{' '}
          {format.counted(metrics.Invocations, 'call')}
        </span>
      </div>
      <div class="outcome">
        {held !== null ? (
          <span class="detail">waits: {held.reason}</span>
        ) : (
          lastError !== null && (
            <span class="problem">
              {lastError}
              {advice !== null && <span class="detail">{advice}</span>}
            </span>
          )
        )}
        {gone.batches > 0 && (
          <span class="problem">
            {format.counted(gone.batches, 'batch', 'batches')} given up and kept nowhere
            {givenUp.newest !== null && <span class="detail">{givenUp.newest.reason}</span>}
          </span>
        )}
        {failed !== null && failed.batches > 0 && (
          <Failed
            kind="functions"
            name={name}
            count={format.counted(failed.batches, 'batch', 'batches')}
            newest={failed.newest}
            isReplaying={failed.isReplaying}
          />
        )}
      </div>
      {held?.by !== 'configuration' && (
        <PauseButton name={name} isPaused={held !== null} change={changeFunction} />
      )}
    </article>
  );
}
