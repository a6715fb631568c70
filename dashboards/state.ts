/**
 * What the page knows, as signals, and the polling that keeps it fresh.
 *
 * One time cursor (`cursorMs`) and one piece of time (`view`) are shared by the player, the
 * timelines and the chart; `live` says that both run along with the clock.
 */
import { computed, signal } from '@preact/signals';
import type { Camera, Timeline } from '../gateway/api/rest/camera-schemas.ts';
import type { Delivery } from '../gateway/api/rest/delivery-schemas.ts';
import type { StreamFunction } from '../gateway/api/rest/function-schemas.ts';
import type { Status } from '../gateway/api/rest/status-schemas.ts';
import type { Stream } from '../gateway/api/rest/stream-schemas.ts';
import { api, ApiFailure } from './api.ts';
import { follow, type View } from './timeline/view.ts';

const pollMs = 2000;
const firstViewMs = 600_000;
/** Less than this after what was played is still its end. */
const joinedMs = 3000;
/** As long as the gateway goes on with a live playlist (gateway/api/hls/routes.ts). */
const awayMsMax = 15_000;

export const loggedIn = signal(true);
export const offline = signal<string | null>(null);

export const status = signal<Status | null>(null);
export const cameras = signal<readonly Camera[]>([]);
export const streams = signal<readonly Stream[]>([]);
export const deliveries = signal<readonly Delivery[]>([]);
export const functions = signal<readonly StreamFunction[]>([]);
export const timelines = signal<ReadonlyMap<string, Timeline>>(new Map());

/** Milliseconds that the gateway's clock is ahead of the browser's. */
const clockOffsetMs = signal(0);
export const gatewayNowMs = (): number => Date.now() + clockOffsetMs.value;

export const live = signal(true);
export const view = signal<View>(follow({ fromMs: 0, toMs: firstViewMs }, Date.now()));
export const cursorMs = signal(Date.now());
/** A marked piece of time, to be exported. */
export const mark = signal<View | null>(null);
/** All cameras are shown instead of one. */
export const grid = signal(false);
/** Raised by a click or a jump: the player goes to `cursorMs`. */
export const seeks = signal(0);

const wantedCamera = signal<string | null>(null);
export const selectedCamera = computed(
  () =>
    cameras.value.find((camera) => camera.name === wantedCamera.value) ?? cameras.value[0] ?? null,
);

/** When the selected camera was last seen, where it no longer sends; null while it does. */
export const silentSinceMs = computed(() => {
  const camera = selectedCamera.value;
  if (camera === null || camera.state === 'recording' || camera.lastFrameTime === null) return null;
  const seenMs = Date.parse(camera.lastFrameTime);
  return gatewayNowMs() - seenMs > awayMsMax ? seenMs : null;
});

export function selectCamera(name: string): void {
  wantedCamera.value = name;
}

/** Shows a camera, or all of them, as it was at a time. */
export function seek(timeMs: number, camera?: string): void {
  if (camera !== undefined) wantedCamera.value = camera;
  live.value = timeMs >= gatewayNowMs() - 1000;
  cursorMs.value = Math.min(timeMs, gatewayNowMs());
  seeks.value += 1;
  if (live.value) view.value = follow(view.value, gatewayNowMs());
}

/** Lets the marked piece of time begin or end at the cursor. */
export function markAtCursor(end: 'from' | 'to'): void {
  const atMs = cursorMs.value;
  const { fromMs, toMs } = mark.value ?? { fromMs: atMs, toMs: atMs };
  mark.value =
    end === 'from'
      ? { fromMs: atMs, toMs: Math.max(atMs, toMs) }
      : { fromMs: Math.min(atMs, fromMs), toMs: atMs };
}

export function goLive(): void {
  seek(gatewayNowMs());
}

/** Goes on after a time: with the next footage that the timeline knows, or live if there is none. */
export function playOn(camera: string, afterMs: number): void {
  const spans = timelines.value.get(camera)?.spans ?? [];
  const next = spans.find(({ endTime }) => Date.parse(endTime) > afterMs + joinedMs);
  if (next === undefined) goLive();
  else seek(Math.max(afterMs, Date.parse(next.startTime)), camera);
}

/** Holds a delivery back, or lets it go on. */
export async function changeDelivery(name: string, what: 'pause' | 'resume'): Promise<void> {
  const changed = await api.changeDelivery(name, what);
  deliveries.value = deliveries.value.map((one) => (one.name === name ? changed : one));
}

/** Holds a function back, or lets it go on. */
export async function changeFunction(name: string, what: 'pause' | 'resume'): Promise<void> {
  const changed = await api.changeFunction(name, what);
  functions.value = functions.value.map((one) => (one.name === name ? changed : one));
}

/** Has done after all what a delivery or a function has failed. */
export async function replay(kind: 'deliveries' | 'functions', name: string): Promise<void> {
  await api.replay(kind, name);
  await refresh();
}

async function refresh(): Promise<void> {
  const [newStatus, newCameras, newDeliveries, newFunctions, newStreams] = await Promise.all([
    api.status(),
    api.cameras(),
    api.deliveries(),
    api.functions(),
    api.streams(),
  ]);
  clockOffsetMs.value = Date.parse(newStatus.time) - Date.now();
  status.value = newStatus;
  cameras.value = newCameras.cameras;
  deliveries.value = newDeliveries.deliveries;
  functions.value = newFunctions.functions;
  streams.value = newStreams.streams;
}

/** Fetches what is recorded in the view, with a margin, so that a small move shows no hole. */
export async function refreshTimelines(): Promise<void> {
  const { fromMs, toMs } = view.value;
  const width = toMs - fromMs;
  const entries = await Promise.all(
    cameras.value.map(async ({ name }) => {
      const timeline = await api.timeline(name, fromMs - width / 2, toMs + width / 2, width / 2000);
      return [name, timeline] as const;
    }),
  );
  timelines.value = new Map(entries);
}

/** Runs a call and keeps what the page says about the link and the login true. */
export async function attempt(work: () => Promise<void>): Promise<void> {
  try {
    await work();
    offline.value = null;
  } catch (error) {
    if (error instanceof ApiFailure && error.status === 401) loggedIn.value = false;
    else offline.value = error instanceof Error ? error.message : String(error);
  }
}

/** Polls while the page is visible and logged in. Returns how to stop. */
export function startPolling(): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let stopped = false;
  const round = async (): Promise<void> => {
    if (!document.hidden && loggedIn.value) {
      await attempt(async () => {
        await refresh();
        if (live.value) view.value = follow(view.value, gatewayNowMs());
        await refreshTimelines();
      });
    }
    if (!stopped) timer = setTimeout(() => void round(), pollMs);
  };
  void round();
  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}
