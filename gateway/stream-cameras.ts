/**
 * Cameras as the Kinesis Video API changes them: those of the configuration, and those that were made
 * over the API, which are recorded from PutMedia and known by what the API keeps of them in the store.
 *
 * The configuration has the last word. A camera that it has is its own, whoever made it before; and
 * how long the footage of one is kept, where that was chosen over the API, holds until the
 * configuration says something else than it said then.
 */
import type { VideoStore } from '../storage/model.ts';
import { invalid } from './api/kinesis-video/errors.ts';
import {
  factsKey,
  factsOf,
  type StreamCameras as Contract,
  type StreamFacts,
  type VideoStream,
} from './api/kinesis-video/streams.ts';
import { putMediaCamera, type Config } from './config/schema.ts';

type CameraConfigs = Config['cameras'];

const hourMs = 3_600_000;

export class StreamCameras implements Contract {
  readonly #video: VideoStore;
  readonly #configured: () => CameraConfigs;
  #apply: (cameras: CameraConfigs) => Promise<void> = () => Promise.resolve();
  #last: Promise<unknown> = Promise.resolve();

  /** @param configured the cameras of the configuration in force */
  constructor(video: VideoStore, configured: () => CameraConfigs) {
    this.#video = video;
    this.#configured = configured;
  }

  /** @param apply brings what runs in line with all cameras */
  start(apply: (cameras: CameraConfigs) => Promise<void>): void {
    this.#apply = apply;
  }

  /** All cameras that there are to be. */
  async all(configured: CameraConfigs): Promise<CameraConfigs> {
    const all: Record<string, CameraConfigs[string]> = { ...configured };
    for (const { name, attributes, retentionMs } of await this.#video.cameras()) {
      const { made, retention } = factsOf({ attributes });
      const known = Object.hasOwn(all, name) ? all[name] : undefined;
      if (known === undefined) {
        if (made === true) all[name] = putMediaCamera((retentionMs ?? 0) / hourMs);
      } else if (retention?.configuredHours === known.retentionHours) {
        all[name] = { ...known, retentionHours: retention.hours };
      }
    }
    return all;
  }

  /** After the configuration, or what the API keeps, was changed. */
  update(): Promise<void> {
    return this.#inTurn(async () => this.#apply(await this.all(this.#configured())));
  }

  isConfigured(name: string): boolean {
    return Object.hasOwn(this.#configured(), name);
  }

  async make(name: string, retentionHours: number, facts: StreamFacts): Promise<void> {
    await this.#ensure(name, retentionHours);
    await this.#video.setCameraAttribute(name, factsKey, facts);
    await this.update();
  }

  async remove(name: string): Promise<void> {
    await this.#inTurn(async () => {
      const all = Object.entries(await this.all(this.#configured()));
      await this.#apply(Object.fromEntries(all.filter(([other]) => other !== name)));
      await this.#video.deleteCamera(name);
    });
  }

  async setRetention(stream: VideoStream, hours: number): Promise<StreamFacts> {
    const { name, facts } = stream;
    const configured = this.isConfigured(name) ? this.#configured()[name] : undefined;
    if (configured === undefined) {
      await this.#ensure(name, hours);
      await this.update();
      return facts;
    }
    if (hours === 0) {
      throw invalid(
        `${name} is a camera of the configuration: that it keeps nothing is said there.`,
      );
    }
    const retention = { hours, configuredHours: configured.retentionHours };
    await this.#video.setCameraAttribute(name, factsKey, { ...facts, retention });
    await this.update();
    return { ...facts, retention };
  }

  async #ensure(name: string, retentionHours: number): Promise<void> {
    const { maxBytes, events, encryption } = putMediaCamera(retentionHours);
    await this.#video.ensureCamera({
      ...{ name, maxBytes, events, encryption, retentionMs: retentionHours * hourMs },
    });
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => undefined);
    return turn;
  }
}
