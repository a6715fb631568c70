import type { Delivery } from '../gateway/api/rest/delivery-schemas.ts';
import * as format from './format.ts';
import { changeDelivery, deliveries, gatewayNowMs } from './state.ts';
import { Failed, PauseButton } from './steering.tsx';

/** Where the data goes, and what still waits to be sent. */
export function DeliveryList() {
  return (
    <section class="panel" aria-label="Deliveries">
      <h2>Deliveries</h2>
      {deliveries.value.length === 0 ? (
        <p class="empty">Nothing is sent on.</p>
      ) : (
        <div class="deliveries">
          {deliveries.value.map((delivery) => (
            <Row key={delivery.name} delivery={delivery} />
          ))}
        </div>
      )}
    </section>
  );
}

function Row({ delivery }: { delivery: Delivery }) {
  const { backlog, rate } = delivery;
  const unit = delivery.from.kind === 'camera' ? 'file' : 'record';
  return (
    <article class={delivery.backupOf === null ? 'delivery' : 'delivery backup'}>
      <span class={`dot ${delivery.state}`} title={delivery.state} />
      <div class="what">
        <strong>{delivery.name}</strong>
        <span class="detail">
          {delivery.origin === 'firehose' && 'Firehose: '}
          {delivery.backupOf !== null &&
            `${delivery.keeps === 'failed' ? 'what fails of' : 'backup of'} ${delivery.backupOf}: `}
          {delivery.from.name} → {delivery.to.description}
        </span>
      </div>
      <div class="backlog">
        <strong>
          {backlog.records === 0
            ? 'nothing waiting'
            : `${format.bytes(backlog.bytes)} · ${format.duration(backlog.ms)} behind`}
        </strong>
        <span class="detail">
          {backlog.records > 0 && `${format.counted(backlog.records, unit)} waiting · `}
          {delivery.gatheringUntilTime !== null &&
            `goes ${format.relative(Date.parse(delivery.gatheringUntilTime), gatewayNowMs())} at the latest · `}
          {delivery.lanes.length > 0 && 'new data goes first · '}
          {format.counted(delivery.sentRecords, unit)} sent
          {rate.bytesPerSecond > 0 && ` · ${format.bytes(rate.bytesPerSecond)}/s`}
        </span>
      </div>
      <div class="outcome">
        {delivery.held !== null ? (
          <span class={delivery.held.isFault ? 'problem' : 'detail'}>
            {heldText(delivery.held)}
          </span>
        ) : delivery.state === 'backing-off' && delivery.lastError !== null ? (
          <span class="problem">
            {delivery.lastError.message}
            {delivery.nextAttemptTime !== null &&
              ` · next attempt ${format.relative(Date.parse(delivery.nextAttemptTime), gatewayNowMs())}`}
            {delivery.lastError.advice !== null && (
              <span class="detail">{delivery.lastError.advice}</span>
            )}
          </span>
        ) : (
          <span class="detail">
            {delivery.lastSuccessTime === null
              ? 'nothing sent yet'
              : `last success ${format.relative(Date.parse(delivery.lastSuccessTime), gatewayNowMs())}`}
          </span>
        )}
        {delivery.underErrorPrefix !== null && delivery.underErrorPrefix.records > 0 && (
          <span class="failed">
            <span class="problem">{wentText(delivery.underErrorPrefix)}</span>
          </span>
        )}
        {delivery.failed > 0 && (
          <Failed
            kind="deliveries"
            name={delivery.name}
            count={format.counted(delivery.failed, 'record')}
            newest={delivery.lastFailed}
            isReplaying={delivery.isReplaying}
          />
        )}
      </div>
      <PauseButton
        name={delivery.name}
        isPaused={delivery.held?.by === 'pause'}
        change={changeDelivery}
      />
    </article>
  );
}

function wentText({ prefix, records, last }: NonNullable<Delivery['underErrorPrefix']>): string {
  const went = `${format.counted(records, 'record')} went under ${prefix}`;
  if (last === null) return went;
  return `${went} · ${last.reason} · ${format.relative(Date.parse(last.time), gatewayNowMs())}`;
}

function heldText({ reason, untilTime }: NonNullable<Delivery['held']>): string {
  if (untilTime === null) return `waits: ${reason}`;
  return `waits, goes on ${format.relative(Date.parse(untilTime), gatewayNowMs())}: ${reason}`;
}
