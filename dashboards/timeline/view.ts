/**
 * The piece of time that the page shows, as pure arithmetic: the timelines and the chart draw it,
 * zooming and dragging change it. All times are milliseconds since the Unix epoch.
 */
export interface View {
  readonly fromMs: number;
  readonly toMs: number;
}

const widthMsMin = 10_000;
const widthMsMax = 40 * 24 * 3_600_000;

/** Where a time falls across `widthPx`; outside the view it is negative or beyond. */
export function xOf(view: View, timeMs: number, widthPx: number): number {
  return ((timeMs - view.fromMs) / (view.toMs - view.fromMs)) * widthPx;
}

/** The time under a position. */
export function timeAt(view: View, xPx: number, widthPx: number): number {
  return view.fromMs + (xPx / widthPx) * (view.toMs - view.fromMs);
}

/** Widens (factor > 1) or narrows the view around a time that stays where it is. */
export function zoom(view: View, aroundMs: number, factor: number): View {
  const width = view.toMs - view.fromMs;
  const wanted = Math.min(widthMsMax, Math.max(widthMsMin, width * factor));
  const share = (aroundMs - view.fromMs) / width;
  const fromMs = aroundMs - share * wanted;
  return { fromMs, toMs: fromMs + wanted };
}

export function pan(view: View, byMs: number): View {
  return { fromMs: view.fromMs + byMs, toMs: view.toMs + byMs };
}

/** The same width, ending a little after `nowMs`, as a live view does. */
export function follow(view: View, nowMs: number): View {
  const width = view.toMs - view.fromMs;
  const toMs = nowMs + width * 0.03;
  return { fromMs: toMs - width, toMs };
}

const stepsMs = [
  1_000, 2_000, 5_000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000, 900_000,
  1_800_000, 3_600_000, 7_200_000, 10_800_000, 21_600_000, 43_200_000, 86_400_000, 172_800_000,
  604_800_000,
];

export interface Tick {
  readonly timeMs: number;
  readonly label: string;
}

/** Round times across the view, at least `spacingPx` apart, in the viewer's own time zone. */
export function ticks(view: View, widthPx: number, spacingPx: number): Tick[] {
  const perPx = (view.toMs - view.fromMs) / Math.max(1, widthPx);
  const stepMs = stepsMs.find((step) => step / perPx >= spacingPx) ?? 604_800_000;
  const offsetMs = new Date(view.fromMs).getTimezoneOffset() * 60_000;
  const first = Math.ceil((view.fromMs - offsetMs) / stepMs) * stepMs + offsetMs;
  const found: Tick[] = [];
  for (let timeMs = first; timeMs <= view.toMs; timeMs += stepMs) {
    found.push({ timeMs, label: tickLabel(timeMs, stepMs) });
  }
  return found;
}

function tickLabel(timeMs: number, stepMs: number): string {
  const date = new Date(timeMs);
  if (stepMs >= 86_400_000) {
    return date.toLocaleDateString(undefined, { day: 'numeric', month: 'short' });
  }
  const seconds = stepMs < 60_000 ? { second: '2-digit' as const } : {};
  return date.toLocaleTimeString(undefined, {
    hour: '2-digit',
    minute: '2-digit',
    hour12: false,
    ...seconds,
  });
}
