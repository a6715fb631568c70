/** Draws the cameras' recordings on a canvas: a row each, an axis below, the cursor over all. */
import type { Timeline } from '../../gateway/api/rest/camera-schemas.ts';
import { ticks, xOf, type View } from './view.ts';

const rowPx = 34;
const axisPx = 22;

export interface TimelinesPicture {
  readonly view: View;
  readonly nowMs: number;
  readonly cursorMs: number;
  /** A marked piece of time. */
  readonly mark: View | null;
  readonly cameras: readonly string[];
  readonly selected: string | null;
  readonly timelines: ReadonlyMap<string, Timeline>;
}

export const timelinesHeightPx = (cameraCount: number): number =>
  Math.max(1, cameraCount) * rowPx + axisPx;

/** The camera's place in the list under a height. */
export const rowAt = (yPx: number): number => Math.floor(yPx / rowPx);

export function drawTimelines(canvas: HTMLCanvasElement, picture: TimelinesPicture): void {
  const context = canvas.getContext('2d');
  if (context === null) return;
  const width = canvas.clientWidth;
  const height = timelinesHeightPx(picture.cameras.length);
  const scale = window.devicePixelRatio;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  context.setTransform(scale, 0, 0, scale, 0, 0);

  const style = getComputedStyle(canvas);
  const colour = (name: string): string => style.getPropertyValue(name).trim();
  const rowsPx = height - axisPx;

  context.font = `11px ${style.fontFamily}`;
  context.fillStyle = colour('--faint');
  for (const tick of ticks(picture.view, width, 80)) {
    const x = xOf(picture.view, tick.timeMs, width);
    context.fillRect(Math.round(x), 0, 1, rowsPx + 4);
    context.fillStyle = colour('--soft');
    // Half a label would be read as another time.
    const labelFits = x + 4 + context.measureText(tick.label).width <= width;
    if (labelFits) context.fillText(tick.label, x + 4, height - 7);
    context.fillStyle = colour('--faint');
  }

  picture.cameras.forEach((name, index) => {
    const y = index * rowPx;
    const chosen = name === picture.selected;
    context.fillStyle = colour('--track');
    context.fillRect(0, y + 4, width, rowPx - 8);
    context.fillStyle = colour(chosen ? '--accent' : '--recorded');
    for (const span of picture.timelines.get(name)?.spans ?? []) {
      const from = xOf(picture.view, Date.parse(span.startTime), width);
      const to = xOf(picture.view, Date.parse(span.endTime), width);
      if (to < 0 || from > width) continue;
      context.fillRect(from, y + 4, Math.max(1, to - from), rowPx - 8);
    }
    label(context, name, y + rowPx / 2, colour('--panel'), colour('--text'));
  });

  const now = xOf(picture.view, picture.nowMs, width);
  context.fillStyle = colour('--panel');
  context.globalAlpha = 0.6;
  if (now < width) context.fillRect(Math.max(0, now), 0, width - now, rowsPx);
  context.globalAlpha = 1;

  if (picture.mark !== null) {
    const from = xOf(picture.view, picture.mark.fromMs, width);
    const to = xOf(picture.view, picture.mark.toMs, width);
    context.fillStyle = colour('--cursor');
    context.globalAlpha = 0.22;
    context.fillRect(from, 0, Math.max(1, to - from), rowsPx);
    context.globalAlpha = 1;
    for (const edge of [from, to]) context.fillRect(edge - 0.5, 0, 1, rowsPx);
  }

  const cursor = xOf(picture.view, picture.cursorMs, width);
  context.fillStyle = colour('--cursor');
  context.fillRect(cursor - 1, 0, 2, rowsPx + 6);
  context.beginPath();
  context.arc(cursor, rowsPx + 6, 4, 0, 2 * Math.PI);
  context.fill();
}

/** A camera's name on a plate that stays readable over what is recorded. */
function label(
  context: CanvasRenderingContext2D,
  text: string,
  middlePx: number,
  plate: string,
  ink: string,
): void {
  const width = context.measureText(text).width;
  context.globalAlpha = 0.85;
  context.fillStyle = plate;
  context.fillRect(6, middlePx - 9, width + 10, 18);
  context.globalAlpha = 1;
  context.fillStyle = ink;
  context.fillText(text, 11, middlePx + 4);
}
