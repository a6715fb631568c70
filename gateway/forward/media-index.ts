import type { Fragment, Init, MediaFile } from '../../storage/model.ts';

/**
 * The index that lies beside a media object: what it shows, when, and where in it each fragment
 * is, so that a moment can be fetched without the rest. JSON, UTF-8; the same footage gives the
 * same bytes.
 */
export function mediaIndex(content: {
  readonly file: MediaFile;
  readonly init: Init;
  readonly fragments: readonly Fragment[];
  /** The media object's name, without its folder. */
  readonly object: string;
  readonly sizeBytes: number;
  readonly sha256: string;
}): Buffer {
  const { file, init, fragments } = content;
  const index = {
    camera: file.camera,
    run: file.runId,
    mediaFile: file.id,
    object: content.object,
    sizeBytes: content.sizeBytes,
    sha256: content.sha256,
    codecs: init.tracks.map((track) => track.codec),
    tracks: init.tracks,
    start: isoOf(file.startUs),
    end: isoOf(file.endUs),
    fragments: fragments.map((fragment) => ({
      number: fragment.number,
      start: isoOf(fragment.startUs),
      startUs: fragment.startUs,
      durationUs: fragment.durationUs,
      offsetBytes: fragment.offset,
      sizeBytes: fragment.storedBytes,
      producer: fragment.producerMs === null ? null : new Date(fragment.producerMs).toISOString(),
      damaged: fragment.damaged,
    })),
  };
  return Buffer.from(`${JSON.stringify(index, null, 2)}\n`);
}

function isoOf(timeUs: number): string {
  return new Date(Math.floor(timeUs / 1000)).toISOString();
}
