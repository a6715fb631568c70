import { useSignalEffect } from '@preact/signals';
import { useEffect, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import type { Keys, Series } from '../../gateway/api/rest/stream-schemas.ts';
import { api } from '../api.ts';
import * as format from '../format.ts';
import * as state from '../state.ts';
import { brokenAtGaps, standingAlone } from './gaps.ts';

const colours = ['#0d9488', '#d97706', '#7c3aed', '#dc2626', '#2563eb', '#65a30d', '#db2777'];
const keysMax = colours.length;
const refreshMs = 2000;

/** The values of chosen keys, under the same piece of time and the same cursor as the recordings. */
export function TelemetryChart() {
  const [wantedStream, setWantedStream] = useState<string | null>(null);
  const [keys, setKeys] = useState<Keys | null>(null);
  const [dropped, setDropped] = useState<ReadonlySet<string>>(new Set());
  const [wantedField, setWantedField] = useState<string | null>(null);
  const [series, setSeries] = useState<Series | null>(null);

  const streams = state.streams.value;
  const stream = streams.find(({ name }) => name === wantedStream) ?? firstWithTelemetry(streams);
  const numeric = (keys?.keys ?? []).filter(({ fields }) => fields.length > 0);
  const fields = [...new Set(numeric.flatMap((key) => key.fields))];
  const field = fields.find((name) => name === wantedField) ?? likeliest(fields);
  const offered = numeric.filter((key) => field !== null && key.fields.includes(field));
  const chosen = offered.filter(({ key }) => !dropped.has(key)).slice(0, keysMax);
  const query = chosen.map(({ key }) => key).join('\n');

  useEffect(() => {
    if (stream === undefined) return undefined;
    return repeatedly(async () => {
      const { fromMs, toMs } = state.view.peek();
      setKeys(await api.keys(stream.name, fromMs, toMs));
    }, refreshMs * 5);
  }, [stream?.name]);

  useEffect(() => {
    if (stream === undefined || field === null || query === '') {
      setSeries(null);
      return undefined;
    }
    return repeatedly(async () => {
      const { fromMs, toMs } = state.view.peek();
      setSeries(
        await api.series(stream.name, {
          keys: query.split('\n'),
          field,
          fromMs,
          toMs,
          points: 400,
        }),
      );
    }, refreshMs);
  }, [stream?.name, field, query]);

  const toggle = (key: string): void => {
    const next = new Set(dropped);
    if (!next.delete(key)) next.add(key);
    setDropped(next);
  };

  return (
    <section class="panel" aria-label="Telemetry">
      <div class="bar">
        <h2>Telemetry</h2>
        <Choice
          label="Stream"
          value={stream?.name ?? ''}
          options={streams.map(({ name }) => name)}
          onChange={setWantedStream}
        />
        {fields.length > 1 && (
          <Choice label="Field" value={field ?? ''} options={fields} onChange={setWantedField} />
        )}
        <span class="chips">
          {offered.map(({ key }) => {
            const place = chosen.findIndex((one) => one.key === key);
            return (
              <button
                type="button"
                key={key}
                class={`chip ${place < 0 ? '' : 'on'}`}
                aria-pressed={place >= 0}
                style={place < 0 ? {} : { borderColor: colours[place] }}
                onClick={() => toggle(key)}
              >
                {key}
              </button>
            );
          })}
        </span>
      </div>
      {chosen.length === 0 ? (
        <p class="empty">No numbers arrived in this time.</p>
      ) : (
        <Chart series={series} />
      )}
      {series?.complete === false && (
        <p class="hint">
          {format.count(series.totalRecords)} records lie in this time;{' '}
          {format.count(series.scannedRecords)} of them, evenly spread, are drawn.
        </p>
      )}
    </section>
  );
}

/** Neither events of cameras nor what deliveries and functions have failed. */
function firstWithTelemetry<T extends { readonly name: string }>(
  streams: readonly T[],
): T | undefined {
  const events = new Set(state.cameras.value.map((camera) => camera.events));
  const letters = new Set(state.functions.value.map(({ deadLetter }) => deadLetter));
  const isTelemetry = ({ name }: T): boolean =>
    !events.has(name) && !letters.has(`stream ${name}`) && !name.startsWith('failed.');
  return streams.find(isTelemetry) ?? streams[0];
}

/** A field called value is what most sensors mean; otherwise the first that is not a time. */
function likeliest(fields: readonly string[]): string | null {
  return (
    fields.find((name) => /(^|\.)value$/i.test(name)) ??
    fields.find((name) => !/time|stamp|^ts$|seq|id$/i.test(name)) ??
    fields[0] ??
    null
  );
}

/** Runs a call now, every `everyMs` and whenever the view has moved. Returns how to stop. */
function repeatedly(work: () => Promise<void>, everyMs: number): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let stopped = false;
  const round = async (): Promise<void> => {
    if (!document.hidden) await state.attempt(work);
    clearTimeout(timer);
    if (!stopped) timer = setTimeout(() => void round(), everyMs);
  };
  const unsubscribe = state.view.subscribe(() => {
    if (state.live.peek()) return;
    clearTimeout(timer);
    timer = setTimeout(() => void round(), 200);
  });
  void round();
  return () => {
    stopped = true;
    unsubscribe();
    clearTimeout(timer);
  };
}

function Choice(props: {
  readonly label: string;
  readonly value: string;
  readonly options: readonly string[];
  readonly onChange: (value: string) => void;
}) {
  return (
    <label class="choice">
      {props.label}
      <select value={props.value} onChange={(event) => props.onChange(event.currentTarget.value)}>
        {props.options.map((option) => (
          <option key={option} value={option}>
            {option === '' ? '(the number itself)' : option}
          </option>
        ))}
      </select>
    </label>
  );
}

function Chart({ series }: { readonly series: Series | null }) {
  const holder = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const names = (series?.series ?? []).map(({ key }) => key).join('\n');

  useEffect(() => {
    const element = holder.current;
    if (element === null) return undefined;
    const created = new uPlot(options(element, names.split('\n')), [[]], element);
    plot.current = created;
    const observer = new ResizeObserver(() =>
      created.setSize({ width: element.clientWidth, height: created.height }),
    );
    observer.observe(element);
    return () => {
      observer.disconnect();
      created.destroy();
      plot.current = null;
    };
  }, [names]);

  useEffect(() => {
    if (series === null) return;
    const startS = Date.parse(series.startTime) / 1000;
    const buckets = series.series[0]?.avg.length ?? 0;
    const times = Array.from(
      { length: buckets },
      (_, i) => startS + ((i + 0.5) * series.stepMs) / 1000,
    );
    const lines = series.series.map(({ avg, records }) => brokenAtGaps(avg, records));
    plot.current?.setData([times, ...lines], false);
  }, [series, names]);

  useSignalEffect(() => {
    const { fromMs, toMs } = state.view.value;
    const cursorMs = state.cursorMs.value;
    const chart = plot.current;
    if (chart === null) return;
    chart.setScale('x', { min: fromMs / 1000, max: toMs / 1000 });
    placeCursor(chart, cursorMs);
  });

  return <div ref={holder} class="chart" />;
}

function placeCursor(chart: uPlot, timeMs: number): void {
  const line = chart.over.querySelector<HTMLElement>('.cursor-line');
  if (line !== null) line.style.left = `${chart.valToPos(timeMs / 1000, 'x')}px`;
}

/** Of a time so far to the right that its label would be cut off: none. */
function timeLabel(chart: uPlot, second: number): string {
  const label = format.clockTime(second * 1000);
  const halfPx = label.length * 3.5;
  const widthPx = chart.bbox.width / devicePixelRatio;
  return chart.valToPos(second, 'x') + halfPx > widthPx ? '' : label;
}

function options(element: HTMLElement, names: readonly string[]): uPlot.Options {
  const style = getComputedStyle(element);
  const ink = style.getPropertyValue('--soft').trim();
  const faint = style.getPropertyValue('--faint').trim();
  const axis = { stroke: ink, grid: { stroke: faint, width: 1 }, ticks: { stroke: faint } };
  return {
    width: Math.max(100, element.clientWidth),
    height: 200,
    legend: { live: true },
    scales: { x: { time: true, auto: false } },
    cursor: { drag: { x: false, y: false } },
    // The plot lies under the timelines' canvas: style.css leaves it the same margin.
    padding: [8, 0, 0, 0],
    axes: [
      {
        ...axis,
        space: 80,
        values: (chart, splits) => splits.map((second) => timeLabel(chart, second)),
      },
      { ...axis, size: 52 },
    ],
    series: [
      {},
      ...names.map((label, index) => ({
        label,
        stroke: colours[index % colours.length] ?? ink,
        width: 1.5,
        points: {
          show: false,
          size: 6,
          fill: colours[index % colours.length] ?? ink,
          filter: (chart: uPlot, at: number) => standingAlone([...(chart.data[at] ?? [])]),
        },
      })),
    ],
    hooks: {
      // A scale takes effect after the call that sets it.
      setScale: [(chart) => placeCursor(chart, state.cursorMs.peek())],
      ready: [
        (chart) => {
          const line = document.createElement('div');
          line.className = 'cursor-line';
          chart.over.append(line);
          chart.over.addEventListener('click', (event) => {
            const left = event.clientX - chart.over.getBoundingClientRect().left;
            state.seek(chart.posToVal(left, 'x') * 1000);
          });
        },
      ],
    },
  };
}
