/** The calls that the page makes to the gateway that served it. */
import type { Cameras, Timeline } from '../gateway/api/rest/camera-schemas.ts';
import type { Deliveries, Delivery } from '../gateway/api/rest/delivery-schemas.ts';
import type { ApiError } from '../gateway/api/rest/error-schemas.ts';
import type { Functions, StreamFunction } from '../gateway/api/rest/function-schemas.ts';
import type { Status } from '../gateway/api/rest/status-schemas.ts';
import type { Keys, Series, Streams } from '../gateway/api/rest/stream-schemas.ts';

/** What the gateway answered when it did not answer what was asked for. */
export class ApiFailure extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

async function call<T>(path: string, init?: RequestInit): Promise<T> {
  const response = await fetch(path, { credentials: 'same-origin', ...init });
  if (!response.ok) {
    const body = (await response.json().catch(() => null)) as ApiError | null;
    throw new ApiFailure(
      response.status,
      body?.error.message ?? `${response.status} ${response.statusText}`,
    );
  }
  return (response.status === 204 ? undefined : await response.json()) as T;
}

const steer = <T>(kind: 'deliveries' | 'functions', name: string, what: string): Promise<T> =>
  call<T>(`/api/v1/${kind}/${encodeURIComponent(name)}/${what}`, { method: 'POST' });

const isoTime = (timeMs: number): string => new Date(timeMs).toISOString();

const named = (parameters: Record<string, string>): string =>
  new URLSearchParams(parameters).toString();

export const api = {
  status: () => call<Status>('/api/v1/status'),
  cameras: () => call<Cameras>('/api/v1/cameras'),
  streams: () => call<Streams>('/api/v1/streams'),
  deliveries: () => call<Deliveries>('/api/v1/deliveries'),
  functions: () => call<Functions>('/api/v1/functions'),
  changeDelivery: (name: string, what: 'pause' | 'resume') =>
    steer<Delivery>('deliveries', name, what),
  changeFunction: (name: string, what: 'pause' | 'resume') =>
    steer<StreamFunction>('functions', name, what),
  /** Has done after all what one has failed. */
  replay: (kind: 'deliveries' | 'functions', name: string) => steer(kind, name, 'replay'),

  timeline: (camera: string, fromMs: number, toMs: number, mergeGapMs: number) =>
    call<Timeline>(
      `/api/v1/cameras/${encodeURIComponent(camera)}/timeline?` +
        named({
          from: isoTime(fromMs),
          to: isoTime(toMs),
          mergeGapMs: String(Math.round(mergeGapMs)),
        }),
    ),

  keys: (stream: string, fromMs: number, toMs: number) =>
    call<Keys>(
      `/api/v1/streams/${encodeURIComponent(stream)}/keys?` +
        named({ from: isoTime(fromMs), to: isoTime(toMs) }),
    ),

  series: (
    stream: string,
    query: {
      readonly keys: readonly string[];
      readonly field: string;
      readonly fromMs: number;
      readonly toMs: number;
      readonly points: number;
    },
  ) =>
    call<Series>(
      `/api/v1/streams/${encodeURIComponent(stream)}/series?` +
        [
          ...query.keys.map((key) => named({ keys: key })),
          named({
            field: query.field,
            from: isoTime(query.fromMs),
            to: isoTime(query.toMs),
            points: String(query.points),
          }),
        ].join('&'),
    ),

  login: (token: string) =>
    call<unknown>('/api/v1/login', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ token }),
    }),
  logout: () => call<unknown>('/api/v1/logout', { method: 'POST' }),
};

/** The playlist of a camera as it happens. */
export const liveUrl = (camera: string): string => `/hls/${encodeURIComponent(camera)}/live.m3u8`;

/** The playlist of a piece of a camera's past. */
export const rangeUrl = (camera: string, fromMs: number, toMs: number): string =>
  `/hls/${encodeURIComponent(camera)}/range.m3u8?` +
  named({ from: isoTime(fromMs), to: isoTime(toMs) });

/** The picture of a camera at a time. */
export const imageUrl = (camera: string, atMs: number, width: number): string =>
  `/api/v1/cameras/${encodeURIComponent(camera)}/image?` +
  named({ at: isoTime(atMs), width: String(width) });

/** A small one of about that time: one for each half minute, so that the browser keeps it. */
export const thumbnailUrl = (camera: string, atMs: number): string =>
  `/api/v1/cameras/${encodeURIComponent(camera)}/thumbnail?` +
  named({ at: isoTime(Math.floor(atMs / 30_000) * 30_000) });

/** A file with what one camera recorded, or a zip with what several did. */
export const exportUrl = (cameras: readonly string[], fromMs: number, toMs: number): string => {
  const range = named({ from: isoTime(fromMs), to: isoTime(toMs) });
  const [first = '', ...others] = cameras;
  return others.length === 0
    ? `/api/v1/cameras/${encodeURIComponent(first)}/export.mp4?${range}`
    : `/api/v1/export.zip?${[range, ...cameras.map((camera) => named({ camera }))].join('&')}`;
};
