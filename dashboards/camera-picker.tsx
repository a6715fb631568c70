import type { Camera } from '../gateway/api/rest/camera-schemas.ts';
import * as format from './format.ts';
import { cameras, gatewayNowMs, grid, selectCamera, selectedCamera } from './state.ts';

/** Every camera with its state; a click brings it to the player. */
export function CameraPicker() {
  return (
    <div class="cameras">
      {cameras.value.length > 1 && (
        <button
          type="button"
          class={grid.value ? 'on quiet' : 'quiet'}
          aria-pressed={grid.value}
          onClick={() => (grid.value = !grid.value)}
        >
          All cameras
        </button>
      )}
      {cameras.value.map((camera) => (
        <button
          type="button"
          key={camera.name}
          class={`camera ${camera === selectedCamera.value ? 'chosen' : ''}`}
          aria-pressed={camera === selectedCamera.value}
          onClick={() => {
            grid.value = false;
            selectCamera(camera.name);
          }}
        >
          <span class={`dot ${camera.state}`} />
          <span class="name">{camera.name}</span>
          <span class="detail">{summary(camera)}</span>
        </button>
      ))}
      {cameras.value.length === 0 && <p class="empty">No camera is configured.</p>}
    </div>
  );
}

function summary(camera: Camera): string {
  if (camera.state !== 'recording') {
    // Of one that waits for its camera counts how long there was no picture, also before a restart.
    const lastFrameTime = camera.state === 'waiting' ? camera.lastFrameTime : null;
    const sinceTime = lastFrameTime ?? camera.stateTime;
    const since =
      sinceTime === null
        ? ''
        : ` for ${format.duration(Math.max(0, gatewayNowMs() - Date.parse(sinceTime)))}`;
    return camera.lastError === null
      ? `${camera.state}${since}`
      : `${camera.state}: ${camera.lastError}`;
  }
  const video = camera.tracks.find((track) => track.kind === 'video');
  const size = video?.width == null ? '' : `${video.width}×${video.height ?? 0}`;
  const rate =
    camera.bitsPerSecond === null ? '' : `${(camera.bitsPerSecond / 1e6).toFixed(1)} Mb/s`;
  return [size, rate, format.bytes(camera.storedBytes)].filter((part) => part !== '').join(' · ');
}
