import { useEffect, useRef, useState } from 'preact/hooks';
import type { Camera } from '../../gateway/api/rest/camera-schemas.ts';
import { imageUrl } from '../api.ts';
import * as state from '../state.ts';
import { playHls } from './hls.ts';
import { playWhep } from './whep.ts';

/** How often a picture is fetched of a camera that WebRTC does not show. */
const stillMs = 10_000;
/** No more of them move at once: each takes a connection and a decoder of the browser. */
const movingMax = 9;

/** All cameras at once, as they are now; a click brings one to the player. */
export function Grid() {
  const cameras = state.cameras.value.filter((camera) => camera.lastTime !== null);
  const moving = cameras.filter((camera) => waysOf(camera).length > 0).slice(0, movingMax);
  return (
    <div class="grid">
      {cameras.map((camera) => (
        <button
          type="button"
          key={camera.name}
          class="tile"
          onClick={() => {
            state.selectCamera(camera.name);
            state.grid.value = false;
            state.goLive();
          }}
        >
          <Picture camera={camera} moves={moving.includes(camera)} />
          <span class="name">{camera.name}</span>
        </button>
      ))}
      {cameras.length === 0 && <p class="empty">Nothing is recorded yet.</p>}
    </div>
  );
}

interface Way {
  readonly play: typeof playWhep;
  readonly url: string;
}

/** How a camera is shown moving, the best way first: by its small picture where it has one. */
function waysOf({ substream, whepUrl }: Camera): readonly Way[] {
  if (substream === null) return whepUrl === null ? [] : [{ play: playWhep, url: whepUrl }];
  const hls = { play: playHls, url: substream.liveUrl };
  return substream.whepUrl === null ? [hls] : [{ play: playWhep, url: substream.whepUrl }, hls];
}

function Picture({ camera, moves }: { camera: Camera; moves: boolean }) {
  const [failures, setFailures] = useState(0);
  const way = moves ? waysOf(camera)[failures] : undefined;
  return way === undefined ? (
    <Still camera={camera} />
  ) : (
    <Moving key={way.url} {...way} failed={() => setFailures(failures + 1)} />
  );
}

function Moving({ play, url, failed }: Way & { failed: () => void }) {
  const video = useRef<HTMLVideoElement>(null);
  useEffect(() => {
    const element = video.current;
    if (element === null) return undefined;
    let stop: (() => void) | null = null;
    let stopped = false;
    const over = (): void => {
      if (!stopped) failed();
    };
    play(element, url, over).then((end) => {
      if (stopped) end();
      else stop = end;
    }, over);
    return () => {
      stopped = true;
      stop?.();
    };
  }, [url]);
  return <video ref={video} muted playsInline autoPlay />;
}

/** Its newest picture. */
function Still({ camera }: { camera: Camera }) {
  const [, setRound] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => setRound((round) => round + 1), stillMs);
    return () => clearInterval(timer);
  }, []);
  const lastMs = camera.lastTime === null ? 0 : Date.parse(camera.lastTime) - 1;
  const atMs = Math.floor(lastMs / stillMs) * stillMs;
  return <img src={imageUrl(camera.name, atMs, 480)} alt="" loading="lazy" />;
}
