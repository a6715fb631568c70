import { useSignalEffect } from '@preact/signals';
import { useEffect, useRef, useState } from 'preact/hooks';
import { exportUrl } from '../api.ts';
import * as format from '../format.ts';
import * as state from '../state.ts';
import { drawTimelines, rowAt, timelinesHeightPx } from './draw.ts';
import { Preview, type PreviewAt } from './preview.tsx';
import { follow, pan, timeAt, zoom } from './view.ts';

const spans: readonly (readonly [label: string, ms: number])[] = [
  ['5 min', 300_000],
  ['1 h', 3_600_000],
  ['6 h', 21_600_000],
  ['24 h', 86_400_000],
  ['7 d', 604_800_000],
];

/**
 * Every camera's recordings under one time axis: click to play, drag to move, wheel to zoom, drag with
 * Shift (or I and O at the cursor) to mark what is to be exported.
 */
export function Timelines() {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [preview, setPreview] = useState<PreviewAt | null>(null);

  const redraw = (): void => {
    if (canvas.current === null) return;
    drawTimelines(canvas.current, {
      view: state.view.value,
      nowMs: state.gatewayNowMs(),
      cursorMs: state.cursorMs.value,
      mark: state.mark.value,
      cameras: state.cameras.value.map(({ name }) => name),
      selected: state.selectedCamera.value?.name ?? null,
      timelines: state.timelines.value,
    });
  };
  useSignalEffect(redraw);
  useEffect(() => {
    const element = canvas.current;
    if (element === null) return undefined;
    const observer = new ResizeObserver(redraw);
    observer.observe(element);
    const stop = listen(element, setPreview);
    return () => {
      observer.disconnect();
      stop();
    };
  }, []);

  return (
    <section class="panel" aria-label="Recordings">
      <div class="bar">
        <h2>Recordings</h2>
        <span class="now">{format.dayAndTime(state.cursorMs.value)}</span>
        <span class="spacer" />
        <Marked />
        {spans.map(([label, ms]) => (
          <button
            type="button"
            key={label}
            class="quiet"
            onClick={() => {
              const middle = state.live.value ? state.view.value.toMs : state.cursorMs.value;
              const { fromMs, toMs } = state.view.value;
              const zoomed = zoom({ fromMs, toMs }, middle, ms / (toMs - fromMs));
              moveView(state.live.value ? follow(zoomed, state.gatewayNowMs()) : zoomed);
            }}
          >
            {label}
          </button>
        ))}
      </div>
      <canvas
        ref={canvas}
        class="timelines"
        style={{ height: `${timelinesHeightPx(state.cameras.value.length)}px` }}
        tabIndex={0}
        role="slider"
        aria-label="Time"
        aria-valuetext={format.dayAndTime(state.cursorMs.value)}
        aria-valuenow={Math.round(state.cursorMs.value / 1000)}
        onKeyDown={(event) => {
          const stepMs = event.shiftKey ? 60_000 : 5000;
          if (event.key === 'ArrowLeft') state.seek(state.cursorMs.value - stepMs);
          else if (event.key === 'ArrowRight') state.seek(state.cursorMs.value + stepMs);
          else if (event.key === 'End') state.goLive();
          else if (event.key === 'i') state.markAtCursor('from');
          else if (event.key === 'o') state.markAtCursor('to');
          else if (event.key === 'Escape') state.mark.value = null;
          else return;
          event.preventDefault();
        }}
      />
      {preview !== null && <Preview at={preview} edgePx={canvas.current?.clientWidth ?? 0} />}
    </section>
  );
}

/** The piece of time that is marked, as files. */
function Marked() {
  const mark = state.mark.value;
  const camera = state.selectedCamera.value?.name;
  if (mark === null || camera === undefined || mark.toMs <= mark.fromMs) return null;
  const { fromMs, toMs } = mark;
  const all = state.cameras.value.map(({ name }) => name);
  return (
    <span class="marked">
      {format.duration(toMs - fromMs)}
      <a href={exportUrl([camera], fromMs, toMs)} download>
        Export {camera}
      </a>
      {all.length > 1 && (
        <a href={exportUrl(all, fromMs, toMs)} download>
          all cameras
        </a>
      )}
      <button type="button" class="quiet" onClick={() => (state.mark.value = null)}>
        ✕
      </button>
    </span>
  );
}

let pendingRefresh: ReturnType<typeof setTimeout> | undefined;

/** Moves the view and fetches what it shows, once the movement pauses. */
function moveView(view: typeof state.view.value): void {
  state.view.value = view;
  clearTimeout(pendingRefresh);
  pendingRefresh = setTimeout(() => void state.attempt(state.refreshTimelines), 150);
}

/** Mouse, pen and fingers: one pointer drags or clicks, two pinch, the wheel zooms. */
function listen(element: HTMLCanvasElement, preview: (at: PreviewAt | null) => void): () => void {
  const pointers = new Map<number, number>();
  let travelledPx = 0;
  /** Where marking began. */
  let markedMs: number | null = null;
  const xOf = (event: MouseEvent): number => event.clientX - element.getBoundingClientRect().left;

  const down = (event: PointerEvent): void => {
    element.setPointerCapture(event.pointerId);
    if (pointers.size === 0) travelledPx = 0;
    pointers.set(event.pointerId, xOf(event));
    markedMs = event.shiftKey ? timeUnder(event) : null;
    preview(null);
  };
  const timeUnder = (event: MouseEvent): number =>
    timeAt(state.view.value, xOf(event), element.clientWidth);
  const hover = (event: PointerEvent): void => {
    const { fromMs, toMs } = state.view.value;
    const camera = state.cameras.value[rowAt(event.offsetY)]?.name;
    const timeMs = timeUnder(event);
    const msPerPx = (toMs - fromMs) / Math.max(1, element.clientWidth);
    preview(camera === undefined ? null : { camera, timeMs, xPx: xOf(event), msPerPx });
  };
  const move = (event: PointerEvent): void => {
    const before = pointers.get(event.pointerId);
    if (before === undefined) {
      if (event.pointerType === 'mouse') hover(event);
      return;
    }
    if (markedMs !== null) {
      travelledPx = Infinity;
      const atMs = timeUnder(event);
      state.mark.value = { fromMs: Math.min(markedMs, atMs), toMs: Math.max(markedMs, atMs) };
      return;
    }
    const x = xOf(event);
    const view = state.view.value;
    const width = element.clientWidth;
    const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
    if (other === undefined) {
      travelledPx += Math.abs(x - before);
      if (travelledPx > 4) {
        state.live.value = false;
        moveView(pan(view, timeAt(view, before, width) - timeAt(view, x, width)));
      }
    } else {
      travelledPx = Infinity;
      const ratio = Math.max(10, Math.abs(before - other)) / Math.max(10, Math.abs(x - other));
      moveView(zoom(view, timeAt(view, (x + other) / 2, width), ratio));
    }
    pointers.set(event.pointerId, x);
  };
  const up = (event: PointerEvent): void => {
    if (!pointers.delete(event.pointerId) || pointers.size > 0 || travelledPx > 4) return;
    const y = event.clientY - element.getBoundingClientRect().top;
    const camera = state.cameras.value[rowAt(y)]?.name;
    state.seek(timeAt(state.view.value, xOf(event), element.clientWidth), camera);
  };
  const cancel = (event: PointerEvent): void => void pointers.delete(event.pointerId);
  const leave = (): void => preview(null);
  const wheel = (event: WheelEvent): void => {
    event.preventDefault();
    const around = timeAt(state.view.value, xOf(event), element.clientWidth);
    moveView(zoom(state.view.value, around, Math.exp(event.deltaY * 0.002)));
  };
  element.addEventListener('pointerdown', down);
  element.addEventListener('pointermove', move);
  element.addEventListener('pointerup', up);
  element.addEventListener('pointercancel', cancel);
  element.addEventListener('pointerleave', leave);
  element.addEventListener('wheel', wheel, { passive: false });
  return () => {
    element.removeEventListener('pointerdown', down);
    element.removeEventListener('pointermove', move);
    element.removeEventListener('pointerup', up);
    element.removeEventListener('pointercancel', cancel);
    element.removeEventListener('pointerleave', leave);
    element.removeEventListener('wheel', wheel);
  };
}
