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
    fragments: fragments.map((fragment) =>
      entryOf(fragment, fragment.offset, fragment.storedBytes),
    ),
  };
  return textOf(index);
}

/** The same for an object that holds one fragment, behind its init. */
export function fragmentIndex(content: {
  readonly fragment: Fragment;
  readonly init: Init;
  /** The object's name, without its folder. */
  readonly object: string;
  readonly sizeBytes: number;
  readonly sha256: string;
}): Buffer {
  const { fragment, init, object, sizeBytes, sha256 } = content;
  const offsetBytes = init.bytes.length;
  return textOf({
    camera: fragment.camera,
    run: fragment.runId,
    mediaFile: fragment.mediaFileId,
    ...{ object, sizeBytes, sha256 },
    codecs: init.tracks.map((track) => track.codec),
    tracks: init.tracks,
    start: isoOf(fragment.startUs),
    end: isoOf(fragment.startUs + fragment.durationUs),
    fragments: [entryOf(fragment, offsetBytes, sizeBytes - offsetBytes)],
  });
}

function entryOf(fragment: Fragment, offsetBytes: number, sizeBytes: number) {
  return {
    number: fragment.number,
    start: isoOf(fragment.startUs),
    startUs: fragment.startUs,
    durationUs: fragment.durationUs,
    offsetBytes,
    sizeBytes,
    producer: fragment.producerMs === null ? null : new Date(fragment.producerMs).toISOString(),
    damaged: fragment.damaged,
    ...(fragment.tags === null ? {} : { tags: fragment.tags }),
  };
}

function textOf(index: object): Buffer {
  return Buffer.from(`${JSON.stringify(index, null, 2)}\n`);
}

function isoOf(timeUs: number): string {
  return new Date(Math.floor(timeUs / 1000)).toISOString();
}
