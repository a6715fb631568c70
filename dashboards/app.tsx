import { useEffect } from 'preact/hooks';
import { api } from './api.ts';
import { CameraPicker } from './camera-picker.tsx';
import { DeliveryList } from './delivery-list.tsx';
import * as format from './format.ts';
import { FunctionList } from './function-list.tsx';
import { Login } from './login.tsx';
import { Grid } from './player/grid.tsx';
import { Player } from './player/player.tsx';
import * as state from './state.ts';
import { TelemetryChart } from './telemetry/telemetry-chart.tsx';
import { Timelines } from './timeline/timelines.tsx';

export function App() {
  useEffect(() => state.startPolling(), []);
  if (!state.loggedIn.value) return <Login />;
  return (
    <>
      <Header />
      <main>
        <section class="watch" aria-label="Camera">
          {state.grid.value ? <Grid /> : <Player />}
          <CameraPicker />
        </section>
        <Timelines />
        <TelemetryChart />
        <DeliveryList />
        <FunctionList />
      </main>
    </>
  );
}

function Header() {
  const status = state.status.value;
  const health = state.offline.value === null ? (status?.health.status ?? 'ok') : 'failing';
  const troubles = status?.health.checks.filter((check) => check.status !== 'ok') ?? [];
  return (
    <header>
      <img src="/favicon.svg" alt="" width="26" height="26" />
      <h1>Headgate</h1>
      <span class={`badge ${health}`}>
        {state.offline.value === null ? health : `not reachable: ${state.offline.value}`}
      </span>
      {troubles.length > 0 && (
        <span class="troubles">
          {troubles.map((check) => `${check.name}: ${check.message ?? check.status}`).join(' · ')}
        </span>
      )}
      <span class="spacer" />
      {status !== null && (
        <span class="figures">
          {format.bytes(status.storage.videoBytes)} footage ·{' '}
          {format.bytes(status.storage.logBytes)} records
          {status.storage.freeBytes !== null && ` · ${format.bytes(status.storage.freeBytes)} free`}
        </span>
      )}
      <button
        type="button"
        class="quiet"
        onClick={() =>
          void state.attempt(async () => {
            await api.logout();
            state.loggedIn.value = false;
          })
        }
      >
        Log out
      </button>
    </header>
  );
}
