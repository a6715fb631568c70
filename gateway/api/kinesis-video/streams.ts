/**
 * Streams of the API: each is a camera, and each camera is one. What the API keeps of a stream that
 * a camera has no place for (its version, device, type, tags, settings) lies with the camera, under
 * one key.
 */
import { createHash } from 'node:crypto';
import { StorageError } from '../../../storage/errors.ts';
import type { CameraDescription, VideoStore } from '../../../storage/model.ts';
import { isSubstreamName } from '../../substreams.ts';
import type { Account } from '../aws/account.ts';
import { invalid, KinesisVideoError, notFound } from './errors.ts';

export const factsKey = 'kinesis-video';

/** What is kept of a stream. */
export interface StreamFacts {
  /** Rises with each change. */
  readonly revision: number;
  /** It was made over the API: its source is PutMedia. */
  readonly made?: boolean;
  readonly deviceName?: string;
  readonly mediaType?: string;
  readonly kmsKeyId?: string;
  readonly storageTier?: string;
  readonly tags?: Readonly<Record<string, string>>;
  readonly imageGeneration?: object;
  readonly notification?: object;
  /** Chosen over the API for a camera of the configuration, and what that said then. */
  readonly retention?: { readonly hours: number; readonly configuredHours: number | null };
}

export interface VideoStream {
  readonly name: string;
  readonly arn: string;
  readonly version: string;
  readonly camera: CameraDescription;
  readonly facts: StreamFacts;
}

/** What is done to cameras for the API: `gateway/kinesis-video.ts`. */
export interface StreamCameras {
  /** Whether the configuration has it. */
  isConfigured(name: string): boolean;
  /** Has it recorded from PutMedia, from now on and after each start. @throws StorageError */
  make(name: string, retentionHours: number, facts: StreamFacts): Promise<void>;
  /** With all its footage. @throws StorageError */
  remove(name: string): Promise<void>;
  /** Answers what is to be kept of the stream. @throws KinesisVideoError, StorageError */
  setRetention(stream: VideoStream, hours: number): Promise<StreamFacts>;
}

export interface StreamTarget {
  readonly StreamName?: string;
  readonly StreamARN?: string;
}

/** Ten years: what is said of a stream whose footage goes by no age. */
export const retentionHoursMax = 87_600;
const hourMs = 3_600_000;
const arnPattern =
  /^arn:aws[a-z-]*:kinesisvideo:([a-z0-9-]+):(\d{12}):stream\/([a-zA-Z0-9_.-]+)\/(\d+)$/;

export class Streams {
  readonly cameras: StreamCameras;
  readonly #video: VideoStore;
  readonly #account: Account;
  #last: Promise<unknown> = Promise.resolve();

  constructor(video: VideoStore, cameras: StreamCameras, account: Account) {
    this.#video = video;
    this.cameras = cameras;
    this.#account = account;
  }

  /** By name. */
  async all(): Promise<readonly VideoStream[]> {
    const cameras = await this.#video.cameras();
    return cameras
      .filter(({ name }) => !isSubstreamName(name))
      .map((camera) => this.#streamOf(camera))
      .sort((one, other) => (one.name < other.name ? -1 : 1));
  }

  /** @throws KinesisVideoError `InvalidArgumentException`, `ResourceNotFoundException` */
  async find(target: StreamTarget): Promise<VideoStream> {
    const { name, arn } = this.#named(target);
    let camera: CameraDescription;
    try {
      camera = await this.#video.camera(name);
    } catch (error) {
      if (error instanceof StorageError && error.code === 'not-found') throw noStream(target);
      throw error;
    }
    const stream = this.#streamOf(camera);
    if (arn !== undefined && arn !== stream.arn) throw noStream(target);
    return stream;
  }

  /**
   * What permission is needed for, also where there is no such stream.
   * @throws KinesisVideoError `InvalidArgumentException`
   */
  async arnOf(target: StreamTarget): Promise<string> {
    const { name, arn } = this.#named(target);
    const camera = await this.#video.camera(name).catch(() => null);
    return arn ?? this.#arn(name, camera?.createdMs ?? 0);
  }

  /**
   * Changes what is kept of a stream, which gets another version.
   * @param version that the caller knows; undefined: whichever
   * @throws KinesisVideoError `VersionMismatchException`; StorageError
   */
  change(
    target: StreamTarget,
    version: string | undefined,
    change: (stream: VideoStream) => StreamFacts | Promise<StreamFacts>,
  ): Promise<void> {
    return this.inTurn(async () => {
      const stream = await this.find(target);
      checkVersion(stream, version);
      const facts = { ...(await change(stream)), revision: stream.facts.revision + 1 };
      await this.#video.setCameraAttribute(stream.name, factsKey, facts);
    });
  }

  /** One change after the other. */
  inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  #named({ StreamName, StreamARN }: StreamTarget): { name: string; arn?: string } {
    if (StreamARN === undefined) {
      if (StreamName !== undefined) return { name: StreamName };
      throw invalid('Either StreamName or StreamARN is needed.');
    }
    const [, region, accountId, name] = arnPattern.exec(StreamARN) ?? [];
    if (name === undefined) throw invalid(`${StreamARN} is not the ARN of a stream.`);
    if (StreamName !== undefined && StreamName !== name) {
      throw invalid('StreamName and StreamARN name different streams.');
    }
    const isHere = region === this.#account.region && accountId === this.#account.accountId;
    if (!isHere) throw noStream({ StreamARN });
    return { name, arn: StreamARN };
  }

  #streamOf(camera: CameraDescription): VideoStream {
    const facts = factsOf(camera);
    const arn = this.#arn(camera.name, camera.createdMs);
    const version = createHash('sha256').update(`${arn} ${facts.revision}`).digest('hex');
    return { name: camera.name, arn, version: version.slice(0, 20), camera, facts };
  }

  #arn(name: string, createdMs: number): string {
    const { region, accountId } = this.#account;
    return `arn:aws:kinesisvideo:${region}:${accountId}:stream/${name}/${createdMs}`;
  }
}

export function factsOf({ attributes }: Pick<CameraDescription, 'attributes'>): StreamFacts {
  const kept = attributes[factsKey];
  const facts = typeof kept === 'object' && kept !== null ? (kept as Partial<StreamFacts>) : {};
  return { revision: 0, ...facts };
}

export function retentionHoursOf({ camera }: VideoStream): number {
  if (camera.record === 'off') return 0;
  return camera.retentionMs === null
    ? retentionHoursMax
    : Math.min(retentionHoursMax, Math.round(camera.retentionMs / hourMs));
}

/** @throws KinesisVideoError `VersionMismatchException` */
export function checkVersion(stream: VideoStream, version: string | undefined): void {
  if (version === undefined || version === stream.version) return;
  throw new KinesisVideoError(
    'VersionMismatchException',
    `The version of the stream is ${stream.version}, not ${version}.`,
  );
}

function noStream({ StreamName, StreamARN }: StreamTarget): KinesisVideoError {
  return notFound(`The requested stream is not found or not active: ${StreamARN ?? StreamName}.`);
}
