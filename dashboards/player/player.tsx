import type Hls from 'hls.js/light';
import { useEffect, useRef, useState } from 'preact/hooks';
import { liveUrl, rangeUrl } from '../api.ts';
import * as format from '../format.ts';
import * as state from '../state.ts';
import { playWhep } from './whep.ts';

/** How much of the past one playlist covers; the next one is fetched when it has been played. */
const stretchMs = 10 * 60_000;
/** After which a live picture that could not be fetched is asked for again. */
const retryMs = 2000;

/** The selected camera, as it happens or from the time cursor on. */
export function Player() {
  const video = useRef<HTMLVideoElement>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const [speed, setSpeed] = useState(1);
  const camera = state.selectedCamera.value?.name ?? null;
  const recorded = state.selectedCamera.value?.lastTime !== null;
  const live = state.live.value;
  const silentSinceMs = live ? state.silentSinceMs.value : null;
  const silent = silentSinceMs !== null;
  const seeks = state.seeks.value;

  useEffect(() => {
    const element = video.current;
    setProblem(null);
    if (element === null || camera === null || !recorded || silent) return undefined;
    const hls = (): (() => void) =>
      play(element, camera, live ? null : state.cursorMs.peek(), setProblem);
    const whepUrl = live ? (state.selectedCamera.peek()?.whepUrl ?? null) : null;
    return whepUrl === null ? hls() : playLive(element, whepUrl, hls);
  }, [camera, recorded, live, silent, seeks]);

  useEffect(() => {
    if (video.current !== null) video.current.playbackRate = live ? 1 : speed;
  }, [speed, live, seeks]);

  const said = silent ? `Not sending since ${format.dayAndTime(silentSinceMs)}.` : problem;
  const remark = camera !== null && !recorded ? 'Nothing is recorded yet.' : said;
  return (
    <div class="player">
      {/* The browser's own controls and its sign of loading would lie under what is said. */}
      <video ref={video} muted playsInline autoPlay controls={remark === null} />
      {remark !== null && (
        <p class="overlay" role="status">
          {remark}
        </p>
      )}
      <div class="controls">
        <button
          type="button"
          class={live && !silent ? 'on' : ''}
          aria-pressed={live && !silent}
          onClick={() => state.goLive()}
        >
          ● Live
        </button>
        <button type="button" onClick={() => state.seek(state.cursorMs.value - 30_000)}>
          −30 s
        </button>
        <button type="button" onClick={() => state.seek(state.cursorMs.value - 5000)}>
          −5 s
        </button>
        <button type="button" onClick={() => state.seek(state.cursorMs.value + 5000)}>
          +5 s
        </button>
        <span class="spacer" />
        {!live &&
          [1, 2, 4].map((rate) => (
            <button
              type="button"
              key={rate}
              class={rate === speed ? 'on quiet' : 'quiet'}
              aria-pressed={rate === speed}
              onClick={() => setSpeed(rate)}
            >
              {rate}×
            </button>
          ))}
      </div>
    </div>
  );
}

/** Plays a camera as it happens: over WebRTC or, where that does not work, by HLS. */
function playLive(element: HTMLVideoElement, url: string, hls: () => () => void): () => void {
  let stopped = false;
  let stop = (): void => undefined;
  const fallBack = (): void => {
    if (stopped) return;
    stop();
    clearInterval(timer);
    stop = hls();
  };
  // What is on the screen is the present.
  const timer = setInterval(() => {
    if (element.srcObject !== null && !element.paused && element.readyState >= 2) {
      state.cursorMs.value = state.gatewayNowMs();
    }
  }, 250);
  playWhep(element, url, fallBack).then((end) => {
    if (stopped) end();
    else stop = end;
  }, fallBack);
  return () => {
    stopped = true;
    clearInterval(timer);
    stop();
  };
}

/**
 * Plays a camera live (`fromMs` null) or from a time, moving the shared cursor along.
 * Returns how to stop.
 */
function play(
  element: HTMLVideoElement,
  camera: string,
  fromMs: number | null,
  report: (problem: string | null) => void,
): () => void {
  let stopped = false;
  let hls: Hls | null = null;
  let shownMs: number | null = null;
  let retry: ReturnType<typeof setTimeout> | undefined;
  const url = fromMs === null ? liveUrl(camera) : rangeUrl(camera, fromMs, fromMs + stretchMs);

  const showTime = (): void => {
    const date = hls === null ? nativeTime(element) : hls.playingDate?.getTime();
    if (date === undefined || element.paused) return;
    shownMs = date;
    state.cursorMs.value = date;
  };
  // A playlist of the past ends at its range's end, or at what was the present when it was made.
  const goOn = (): void => {
    if (fromMs !== null) state.playOn(camera, shownMs ?? fromMs);
  };
  element.addEventListener('timeupdate', showTime);
  element.addEventListener('ended', goOn);

  const start = async (): Promise<void> => {
    const { default: HlsPlayer } = await import('hls.js/light');
    if (stopped) return;
    if (!HlsPlayer.isSupported()) {
      element.src = url;
      await element.play();
      return;
    }
    const player = new HlsPlayer({ maxBufferLength: 30, backBufferLength: 60 });
    hls = player;
    let positioned = fromMs === null;
    player.on(HlsPlayer.Events.LEVEL_LOADED, (_event, { details }) => {
      const first = details.fragments[0]?.programDateTime;
      if (positioned || fromMs === null || first == null) return;
      positioned = true;
      player.startLoad(Math.max(0, (fromMs - first) / 1000));
      element.currentTime = Math.max(0, (fromMs - first) / 1000);
    });
    player.on(HlsPlayer.Events.FRAG_BUFFERED, () => report(null));
    player.on(HlsPlayer.Events.ERROR, (_event, { fatal, type, details, response, mimeType }) => {
      if (!fatal) return;
      if (fromMs === null && type === HlsPlayer.ErrorTypes.NETWORK_ERROR) {
        report(`The picture cannot be fetched (${details}).`);
        clearTimeout(retry);
        retry = setTimeout(() => player.loadSource(url), retryMs);
      } else if (response?.code === 404) report('Nothing was recorded at this time.');
      else if (details === HlsPlayer.ErrorDetails.BUFFER_ADD_CODEC_ERROR) {
        // It would be fetched over and over, and never be played.
        player.stopLoad();
        report(unplayable(mimeType ?? details));
      } else if (type === HlsPlayer.ErrorTypes.MEDIA_ERROR) {
        report(`This browser cannot play it (${details}).`);
        player.recoverMediaError();
      } else report(`The picture cannot be fetched (${details}).`);
    });
    player.loadSource(url);
    player.attachMedia(element);
    // A browser that refuses to start by itself shows its own play button.
    await element.play().catch(() => undefined);
  };
  start().catch((error: unknown) => {
    report(error instanceof Error ? error.message : String(error));
  });

  return () => {
    stopped = true;
    clearTimeout(retry);
    element.removeEventListener('timeupdate', showTime);
    element.removeEventListener('ended', goOn);
    hls?.destroy();
    if (hls === null) element.removeAttribute('src');
  };
}

/** What to say of a codec that this browser does not have. */
function unplayable(mimeType: string): string {
  return /hvc1|hev1/.test(mimeType)
    ? 'This browser does not play H.265. It is recorded all the same: another browser may play it, and every one does once the camera is set to H.264.'
    : `This browser cannot play it (${mimeType}).`;
}

/** Safari plays HLS itself and tells the wall-clock time of its start. */
function nativeTime(element: HTMLVideoElement): number | undefined {
  const start = element.getStartDate?.().getTime();
  return start === undefined || Number.isNaN(start)
    ? undefined
    : start + element.currentTime * 1000;
}
