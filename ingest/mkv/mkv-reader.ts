/**
 * Reads a Matroska stream, arriving in pieces of any size, as what it means: tracks, clusters,
 * frames and tags, in their order.
 *
 * Segments and clusters may be of known or unknown size; one of unknown size ends where something
 * begins that can't be in it. After a segment another document may follow, as GetMedia sends them.
 * What carries nothing for a recording (indexes, chapters, attachments, padding, checksums, unknown
 * elements) is passed over without being held.
 *
 * Invariants: never holds more than the largest element allowed plus one piece; an element that
 * claims to be larger than its kind may be is refused as soon as its header is there; whatever the
 * bytes are, they come out the same however they were cut, or as the same `MkvError`.
 */
import {
  type Element,
  type ElementHeader,
  elementsIn,
  ids,
  MkvError,
  name,
  readElementHeader,
  textOf,
  unsignedOf,
} from './ebml.ts';
import { GatheredBytes } from '../gathered-bytes.ts';
import { type MkvFrame, readBlock, readBlockGroup } from './blocks.ts';
import { type MkvTrack, readTracks } from './tracks.ts';

export interface MkvTag {
  readonly name: string;
  readonly value: string;
}

export type MkvEvent =
  /** A segment says how long a tick is. Left out, it is a millisecond. */
  | { readonly type: 'info'; readonly tickNs: number }
  | { readonly type: 'tracks'; readonly tracks: readonly MkvTrack[] }
  /** A cluster begins; the times of its frames count from here. */
  | { readonly type: 'cluster'; readonly ticks: number }
  | { readonly type: 'frame'; readonly frame: MkvFrame }
  | { readonly type: 'cluster-end' }
  | { readonly type: 'tags'; readonly tags: readonly MkvTag[] };

const kibibyte = 1024;
const mebibyte = 1024 * kibibyte;

/** Limits in bytes of elements that are held as a whole. A keyframe of an 8K camera has 16 MiB. */
const bytesMax = new Map<number, number>([
  [ids.EBML, 4 * kibibyte],
  [ids.Info, 64 * kibibyte],
  [ids.Tracks, 128 * kibibyte],
  [ids.Tags, 64 * kibibyte],
  [ids.Timestamp, 8],
  [ids.SimpleBlock, 32 * mebibyte],
  [ids.BlockGroup, 32 * mebibyte],
]);
const tagsMax = 1_000;

/** What is right under a segment: it ends a cluster of unknown size. */
const ofSegment: ReadonlySet<number> = new Set([
  ...[ids.SeekHead, ids.Info, ids.Tracks, ids.Cluster, ids.Cues, ids.Chapters, ids.Attachments],
  ids.Tags,
]);
/** Of these the content is read; everything else is passed over. */
const readInSegment: ReadonlySet<number> = new Set([ids.Info, ids.Tracks, ids.Tags]);
const readInCluster: ReadonlySet<number> = new Set([
  ...[ids.Timestamp, ids.SimpleBlock, ids.BlockGroup],
]);

/** An open segment or cluster; `end` is the offset in the stream after it, null: unknown. */
interface Open {
  readonly end: number | null;
}

export class MkvReader {
  readonly #bytes = new GatheredBytes();
  /** Offset in the stream of the first of them. */
  #position = 0;
  #skipBytes = 0;
  #hasHeader = false;
  #segment: Open | null = null;
  #cluster: Open | null = null;
  /** Of the cluster; null before its Timestamp. */
  #clusterTicks: number | null = null;

  /** Bytes held that are not yet a whole element. */
  get pendingBytes(): number {
    return this.#bytes.length;
  }

  /**
   * Takes the next piece and yields what it completes. Iterate to the end before the next piece:
   * the bytes of a frame lie in the reader until the next event is asked for.
   * @throws MkvError; the stream can't be read on after it
   */
  *push(piece: Buffer): Generator<MkvEvent, void> {
    const gathered = this.#bytes;
    gathered.append(piece);
    for (;;) {
      this.#skip();
      if (this.#skipBytes > 0) return;
      yield* this.#closeEnded();
      const header = readElementHeader(gathered.buffer, gathered.start, gathered.end);
      if (header === null) return;
      yield* this.#closeUnknown(header.id);
      const taken = yield* this.#take(header);
      if (!taken) return;
    }
  }

  /** The stream ends here. @throws MkvError `truncated` when something is cut off */
  *finish(): Generator<MkvEvent, void> {
    yield* this.#closeEnded();
    const open = [this.#cluster, this.#segment].some((found) => (found?.end ?? null) !== null);
    if (this.pendingBytes > 0 || this.#skipBytes > 0 || open) {
      throw new MkvError('truncated', 'the stream ends within an element');
    }
    if (this.#segment === null && this.#position > 0 && this.#hasHeader) {
      throw new MkvError('truncated', 'the stream ends before its segment');
    }
    yield* this.#closeCluster();
  }

  /** Takes the element whose header was read; false: more of it has to come. */
  *#take(header: ElementHeader): Generator<MkvEvent, boolean> {
    this.#checkPlace(header);
    const { id, headerBytes, sizeBytes } = header;
    if (id === ids.Segment || id === ids.Cluster) {
      this.#advance(headerBytes);
      const end = sizeBytes === null ? null : this.#position + sizeBytes;
      if (id === ids.Segment) {
        this.#segment = { end };
        this.#hasHeader = false;
      } else {
        this.#cluster = { end };
      }
      return true;
    }
    if (sizeBytes === null) throw new MkvError('malformed', `${name(id)} of unknown size`);
    if (!this.#isRead(id)) {
      this.#advance(headerBytes);
      this.#skipBytes = sizeBytes;
      return true;
    }
    const limit = bytesMax.get(id) ?? 0;
    if (sizeBytes > limit) {
      throw new MkvError('too-large', `${name(id)} of ${sizeBytes} bytes; at most ${limit}`);
    }
    if (headerBytes + sizeBytes > this.pendingBytes) return false;
    const bodyStart = this.#bytes.start + headerBytes;
    this.#advance(headerBytes + sizeBytes);
    yield* this.#read({ id, bodyStart, end: bodyStart + sizeBytes });
    return true;
  }

  *#read(element: Element): Generator<MkvEvent, void> {
    const bytes = this.#bytes.buffer;
    switch (element.id) {
      case ids.EBML:
        checkDocument(bytes, element);
        this.#hasHeader = true;
        return;
      case ids.Info:
        yield { type: 'info', tickNs: readTick(bytes, element) };
        return;
      case ids.Tracks:
        yield { type: 'tracks', tracks: readTracks(bytes, element) };
        return;
      case ids.Tags:
        yield { type: 'tags', tags: readTags(bytes, element) };
        return;
      case ids.Timestamp:
        if (this.#clusterTicks !== null) throw new MkvError('malformed', 'two times of a cluster');
        this.#clusterTicks = unsignedOf(bytes, element);
        yield { type: 'cluster', ticks: this.#clusterTicks };
        return;
      default: {
        const ticks = this.#clusterTicks;
        if (ticks === null)
          throw new MkvError('malformed', 'a block before the time of its cluster');
        const read = element.id === ids.SimpleBlock ? readBlock : readBlockGroup;
        for (const frame of read(bytes, element, ticks)) yield { type: 'frame', frame };
      }
    }
  }

  /** Whether an element is read where it is now; else it is passed over. */
  #isRead(id: number): boolean {
    if (this.#cluster !== null) return readInCluster.has(id);
    return this.#segment === null ? id === ids.EBML : readInSegment.has(id);
  }

  /** @throws MkvError where an element can't be, or can't end */
  #checkPlace({ id, headerBytes, sizeBytes }: ElementHeader): void {
    const parent = this.#cluster ?? this.#segment;
    const isPadding = id === ids.Void || id === ids.CRC32;
    if (parent === null) {
      const wanted = this.#hasHeader ? ids.Segment : ids.EBML;
      if (id !== wanted && !isPadding) {
        throw new MkvError('malformed', `not Matroska: ${name(id)} in place of ${name(wanted)}`);
      }
      return;
    }
    const end = parent.end ?? this.#segment?.end ?? null;
    if (end !== null && this.#position + headerBytes + (sizeBytes ?? 0) > end) {
      throw new MkvError('malformed', `${name(id)} goes past what it is in`);
    }
    if (id === ids.EBML || id === ids.Segment || (this.#cluster !== null && ofSegment.has(id))) {
      throw new MkvError(
        'malformed',
        `${name(id)} within ${this.#cluster ? 'a cluster' : 'a segment'}`,
      );
    }
    if (id === ids.EncryptedBlock) throw new MkvError('unsupported', 'encrypted blocks');
  }

  /** Closes what is of known size and read to its end. */
  *#closeEnded(): Generator<MkvEvent, void> {
    if (this.#cluster?.end === this.#position) yield* this.#closeCluster();
    if (this.#segment?.end === this.#position) {
      yield* this.#closeCluster();
      this.#segment = null;
    }
  }

  /** Closes what is of unknown size where an element begins that can't be in it. */
  *#closeUnknown(id: number): Generator<MkvEvent, void> {
    const isDocument = id === ids.EBML || id === ids.Segment;
    if (this.#cluster?.end === null && (isDocument || ofSegment.has(id)))
      yield* this.#closeCluster();
    if (this.#cluster === null && this.#segment?.end === null && isDocument) this.#segment = null;
  }

  *#closeCluster(): Generator<MkvEvent, void> {
    const begun = this.#clusterTicks !== null;
    this.#cluster = null;
    this.#clusterTicks = null;
    if (begun) yield { type: 'cluster-end' };
  }

  #advance(bytes: number): void {
    this.#bytes.advance(bytes);
    this.#position += bytes;
  }

  #skip(): void {
    const bytes = Math.min(this.#skipBytes, this.pendingBytes);
    this.#skipBytes -= bytes;
    this.#advance(bytes);
  }
}

/** @throws MkvError for a document that is not Matroska, or of a later version */
function checkDocument(bytes: Buffer, element: Element): void {
  for (const child of elementsIn(bytes, element.bodyStart, element.end)) {
    if (child.id === ids.DocType) {
      const type = textOf(bytes, child);
      if (type !== 'matroska' && type !== 'webm') {
        throw new MkvError(
          'unsupported',
          `a document of type ${JSON.stringify(type.slice(0, 32))}`,
        );
      }
    } else if (child.id === ids.EBMLReadVersion && unsignedOf(bytes, child) > 1) {
      throw new MkvError('unsupported', 'a later version of EBML');
    } else if (child.id === ids.EBMLMaxIDLength && unsignedOf(bytes, child) > 4) {
      throw new MkvError('unsupported', 'identifiers of more than 4 bytes');
    } else if (child.id === ids.EBMLMaxSizeLength && unsignedOf(bytes, child) > 8) {
      throw new MkvError('unsupported', 'sizes of more than 8 bytes');
    }
  }
}

function readTick(bytes: Buffer, element: Element): number {
  let tickNs = 1_000_000;
  for (const child of elementsIn(bytes, element.bodyStart, element.end)) {
    if (child.id === ids.TimestampScale) tickNs = unsignedOf(bytes, child);
  }
  if (tickNs < 1 || tickNs > 1_000_000_000) {
    throw new MkvError('malformed', `ticks of ${tickNs} ns`);
  }
  return tickNs;
}

function readTags(bytes: Buffer, element: Element): readonly MkvTag[] {
  const tags: MkvTag[] = [];
  for (const tag of elementsIn(bytes, element.bodyStart, element.end)) {
    if (tag.id !== ids.Tag) continue;
    for (const simple of elementsIn(bytes, tag.bodyStart, tag.end)) {
      if (simple.id !== ids.SimpleTag) continue;
      if (tags.length >= tagsMax) throw new MkvError('too-large', `more than ${tagsMax} tags`);
      tags.push(readTag(bytes, simple));
    }
  }
  return tags;
}

function readTag(bytes: Buffer, element: Element): MkvTag {
  let [tagName, value] = ['', ''];
  for (const child of elementsIn(bytes, element.bodyStart, element.end)) {
    if (child.id === ids.TagName) tagName = textOf(bytes, child);
    else if (child.id === ids.TagString) value = textOf(bytes, child);
  }
  return { name: tagName, value };
}
