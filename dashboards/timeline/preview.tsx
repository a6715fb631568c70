import { useEffect, useState } from 'preact/hooks';
import { imageUrl, thumbnailUrl } from '../api.ts';
import * as format from '../format.ts';

export interface PreviewAt {
  readonly camera: string;
  readonly timeMs: number;
  /** From the left edge of the timelines. */
  readonly xPx: number;
  /** So long is one pixel. */
  readonly msPerPx: number;
}

/** Who moves on sooner asks for no picture. */
const restMs = 120;
const widthPx = 240;
/** A closer look than this is worth a picture of its own. */
const exactMsPerPx = 1_000;

/** A small picture of what was recorded under the pointer. */
export function Preview({ at, edgePx }: { at: PreviewAt; edgePx: number }) {
  const [shown, setShown] = useState<PreviewAt | null>(null);
  const [missing, setMissing] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => {
      setMissing(false);
      setShown(at);
    }, restMs);
    return () => clearTimeout(timer);
  }, [at.camera, at.timeMs]);
  const left = Math.min(Math.max(0, at.xPx - widthPx / 2), Math.max(0, edgePx - widthPx));
  return (
    <div class="preview" style={{ left: `${left}px` }}>
      {shown !== null && !missing && (
        <img src={urlOf(shown)} alt="" width={widthPx} onError={() => setMissing(true)} />
      )}
      <span>
        {at.camera} · {format.dayAndTime(at.timeMs)}
      </span>
    </div>
  );
}

function urlOf({ camera, timeMs, msPerPx }: PreviewAt): string {
  return msPerPx < exactMsPerPx
    ? imageUrl(camera, Math.round(timeMs), widthPx)
    : thumbnailUrl(camera, timeMs);
}
