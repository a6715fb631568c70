/**
 * The delivery streams that there are: every delivery of the configuration whose source is a stream,
 * and those that were made over the API. A delivery of the configuration has the last word: one that
 * was made under its name waits until it is gone.
 *
 * Invariants
 * - What was made is on disk before it runs, and gone from disk before it stops: after a crash, the
 *   streams of the log that belong to none are deleted, with what else was left of their deliveries,
 *   and those that are missing are made.
 * - Changes are made one after the other.
 * - CREATING and DELETING are shown for a moment after the fact (`../aws/passing-states.ts`).
 */
import { z } from 'zod';
import { StorageError } from '../../../storage/errors.ts';
import type { Log, StreamDescription, StreamOptions } from '../../../storage/model.ts';
import type { Items } from '../../../storage/items/items.ts';
import type { Clock, Logger } from '../../../storage/ports.ts';
import { applicationsOf } from '../../forward/applications.ts';
import type { DeliveryOptions } from '../../forward/options.ts';
import {
  backupNameOf,
  backupNamesOf,
  failedBackupNameOf,
  isBackupName,
} from '../../forward/source-backup.ts';
import type { Account } from '../aws/account.ts';
import { PassingStates } from '../aws/passing-states.ts';
import { Sealer } from '../aws/sealing.ts';
import { FirehoseError, inUse } from './errors.ts';
import { KeptStreams, type KeptStream, type MadeStream } from './kept-streams.ts';
import { MadeDeliveries } from './made-deliveries.ts';
import { failedBucket, isBackedUp } from './mapping/backup.ts';
import type { Places } from './mapping/places.ts';
import { hasSecrets } from './secrets.ts';

export type DeliveryStreamStatus = 'CREATING' | 'ACTIVE' | 'DELETING';

export interface DeliveryStream {
  readonly name: string;
  readonly arn: string;
  readonly status: DeliveryStreamStatus;
  readonly type: 'DirectPut' | 'KinesisStreamAsSource';
  /** The stream of the log that its records are read from. */
  readonly source: string;
  /** null: it is a delivery of the configuration. */
  readonly made: MadeStream | null;
  /** null: it was made over the API. */
  readonly configured: DeliveryOptions | null;
  readonly tags: Readonly<Record<string, string>>;
  readonly encryption: KeptStream['encryption'];
  /** Why it is not sent, or what fails is not; null: all is well. */
  readonly trouble: string | null;
}

/** What runs deliveries: `gateway/firehose.ts`. */
export interface RunningDeliveries {
  /** Brings what runs in line with what there is. */
  update(): Promise<void>;
  /** Forgets how far a delivery had come that is no more. */
  forget(name: string): Promise<void>;
}

/** What the configuration in force says. */
export interface Configured {
  readonly deliveries: readonly DeliveryOptions[];
  /** Where what is made may go, and how it is let in. */
  readonly places: Places;
  /** How many may be made. */
  readonly streamsMax: number;
}

export interface DeliveryStreamsOptions {
  readonly items: Items;
  readonly log: Log;
  readonly account: Account;
  /** Of this gateway: secrets are sealed with a key made from it. */
  readonly secret: Buffer;
  readonly configured: Configured;
  /** How long CREATING and DELETING are shown; 200 ms. */
  readonly stateMs?: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Those of the service. */
const nameMax = 64;
const attribute = 'firehose';
const markShape = z.object({ deliveryStream: z.string() });
/** What holds for the streams that delivery streams have of their own. */
const ownStream: Omit<StreamOptions, 'name'> = {
  ...{ shardCount: 1, mode: 'on-demand', retentionMs: 24 * 3_600_000 },
  ...{ maxBytes: 4e9, whenFull: 'refuse', encryption: 'aes-256-gcm' },
};

export class DeliveryStreams {
  readonly #options: DeliveryStreamsOptions;
  readonly #kept: KeptStreams;
  #streams: Map<string, KeptStream> = new Map();
  #configured: ReadonlyMap<string, DeliveryOptions>;
  #streamsMax: number;
  readonly #made: MadeDeliveries;
  readonly #creating: PassingStates<true>;
  readonly #deleting: PassingStates<DeliveryStream>;
  #running: RunningDeliveries | null = null;
  /** Streams of the log whose delivery stream was being deleted when the gateway ended, by its name. */
  readonly #halfDeleted = new Map<string, string>();
  #last: Promise<unknown> = Promise.resolve();

  private constructor(options: DeliveryStreamsOptions) {
    this.#options = options;
    const { clock, stateMs = 200, configured, logger } = options;
    const { deliveries, places, streamsMax } = configured;
    this.#configured = withStreams(deliveries);
    this.#streamsMax = streamsMax;
    this.#made = new MadeDeliveries({ arnOf: (name) => this.arnOf(name), places, logger });
    this.#kept = new KeptStreams(options.items, new Sealer(options.secret, clock));
    this.#creating = new PassingStates(clock, stateMs);
    this.#deleting = new PassingStates(clock, stateMs);
  }

  /** @throws StorageError */
  static async open(options: DeliveryStreamsOptions): Promise<DeliveryStreams> {
    const streams = new DeliveryStreams(options);
    const { logger } = options;
    const unreadable = new Set<string>();
    streams.#streams = await streams.#kept.read((name, error) => {
      unreadable.add(name);
      logger.error({ deliveryStream: name, error }, 'a delivery stream could not be read');
    });
    await streams.#tidy(unreadable);
    return streams;
  }

  /**
   * @param running left out of what is made until now: whoever starts it asks `deliveries` first
   * @throws StorageError
   */
  async start(running: RunningDeliveries): Promise<void> {
    this.#running = running;
    await this.#inTurn(async () => {
      for (const [name, stream] of this.#halfDeleted) {
        await running.forget(name);
        await this.#deleteOwnStream(stream);
      }
      this.#halfDeleted.clear();
    });
  }

  /** Takes over another configuration; whoever runs deliveries asks `deliveries` behind it. */
  configure({ deliveries, places, streamsMax }: Configured): void {
    this.#configured = withStreams(deliveries);
    this.#streamsMax = streamsMax;
    this.#made.allow(places);
  }

  /** Those made over the API, as they are to run; some of them withheld. */
  deliveries(): readonly DeliveryOptions[] {
    const made = [...this.#streams].flatMap(([name, { made }]) =>
      made === null || this.#configured.has(name) ? [] : [[name, made] as const],
    );
    return this.#made.all(new Map(made));
  }

  /** In order of name. */
  all(): readonly DeliveryStream[] {
    const names = new Set([
      ...this.#configured.keys(),
      ...[...this.#streams].flatMap(([name, { made }]) => (made === null ? [] : [name])),
    ]);
    const deleting = this.#deleting.entries().filter(([name]) => !names.has(name));
    return [
      ...[...names].flatMap((name) => this.#find(name) ?? []),
      ...deleting.map(([, stream]) => stream),
    ].sort((one, other) => (one.name < other.name ? -1 : 1));
  }

  /** In whatever state. @throws FirehoseError `ResourceNotFoundException` */
  known(name: string): DeliveryStream {
    const stream = this.#find(name) ?? this.#deleting.get(name);
    if (stream === null) throw this.#notFound(name);
    return stream;
  }

  /** One that takes records. @throws FirehoseError `ResourceNotFoundException` */
  usable(name: string): DeliveryStream {
    const stream = this.#find(name);
    if (stream === null || stream.status !== 'ACTIVE') throw this.#notFound(name);
    return stream;
  }

  /** One that may be changed. @throws FirehoseError `ResourceNotFoundException`, `ResourceInUseException` */
  settled(name: string): DeliveryStream {
    const stream = this.known(name);
    if (stream.status === 'ACTIVE') return stream;
    const { accountId } = this.#options.account;
    throw inUse(
      `Firehose ${name} under account ${accountId} is not ACTIVE, instead in state ${stream.status}.`,
    );
  }

  arnOf(name: string): string {
    const { region, accountId } = this.#options.account;
    return `arn:aws:firehose:${region}:${accountId}:deliverystream/${name}`;
  }

  /**
   * Makes one and has it run.
   * @throws FirehoseError `ResourceInUseException`, `LimitExceededException`,
   *   `InvalidArgumentException`; StorageError
   */
  create(
    name: string,
    asked: Pick<MadeStream, 'type' | 'roleArn' | 'destination'> & {
      /** The stream that is read; null: it gets one of its own. */
      readonly source: string | null;
    },
    facts: Pick<KeptStream, 'tags' | 'encryption'>,
  ): Promise<void> {
    return this.#inTurn(async () => {
      this.#checkFree(name);
      const { type, roleArn, destination, source } = asked;
      const made: MadeStream = {
        ...{ type, roleArn, destination, stream: source ?? ownStreamName(name) },
        ...{ createdMs: this.#options.clock.nowMs(), updatedMs: null, version: 1 },
        lostSecrets: false,
      };
      this.#made.check(name, made, null);
      if (source === null && this.#logStream(made.stream) !== null) {
        throw inUse(
          `The stream ${made.stream} exists, and the records of the delivery stream would lie there.`,
        );
      }
      await this.#write(name, { made, ...facts });
      if (source === null) await this.#makeOwnStream(name, made.stream);
      this.#creating.begin(name, true);
      await this.#running?.update();
    });
  }

  /** @throws FirehoseError `ResourceNotFoundException`, `ResourceInUseException`; StorageError */
  remove(name: string): Promise<void> {
    return this.#inTurn(async () => {
      const stream = this.settled(name);
      if (stream.made === null) {
        throw inUse(
          `${name} is a delivery of the gateway's configuration, and goes when it is taken out there.`,
        );
      }
      await this.#kept.remove(name);
      this.#streams.delete(name);
      this.#deleting.begin(name, { ...stream, status: 'DELETING' });
      await this.#running?.update();
      await this.#running?.forget(name);
      if (stream.type === 'DirectPut') await this.#deleteOwnStream(stream.source);
    });
  }

  /**
   * Changes the destination of one, which gets another version.
   * @param asked the member of the request that says so
   * @param change gives the destination that is from now on
   * @throws FirehoseError `ConcurrentModificationException` and those of `settled`; what `change`
   *   throws; StorageError
   */
  redirect(
    name: string,
    version: string,
    asked: string,
    change: (made: MadeStream) => MadeStream['destination'],
  ): Promise<void> {
    return this.#inTurn(async () => {
      const { made, tags, encryption } = this.settled(name);
      if (made === null) {
        throw new FirehoseError(
          'InvalidArgumentException',
          `${name} is a delivery of the gateway's configuration, and changes when it is changed there.`,
        );
      }
      if (String(made.version) !== version) {
        throw new FirehoseError(
          'ConcurrentModificationException',
          `Cannot update firehose: ${name} since the current version id: ${made.version} and ` +
            `specified version id: ${version} do not match`,
        );
      }
      const destination = change(made);
      const isSame = destination.kind === made.destination.kind;
      const changed: MadeStream = {
        ...{ ...made, destination, version: made.version + 1 },
        updatedMs: this.#options.clock.nowMs(),
        lostSecrets: made.lostSecrets && isSame && !hasSecrets(destination),
      };
      this.#made.check(name, changed, made, asked);
      await this.#write(name, { made: changed, tags, encryption });
      await this.#running?.update();
      // Should there be a backup again one day, it begins anew.
      if (isBackedUp(made.destination) && !isBackedUp(changed.destination)) {
        await this.#running?.forget(backupNameOf(name));
      }
      if (
        failedBucket(made.destination) !== undefined &&
        failedBucket(changed.destination) === undefined
      ) {
        await this.#running?.forget(failedBackupNameOf(name));
      }
    });
  }

  /**
   * Changes what is kept beside the destination.
   * @throws FirehoseError of `settled`; what `change` throws; StorageError
   */
  change(
    name: string,
    change: (stream: DeliveryStream) => Partial<Pick<KeptStream, 'tags' | 'encryption'>>,
  ): Promise<void> {
    return this.#inTurn(async () => {
      const stream = this.settled(name);
      const made = this.#streams.get(name)?.made ?? null;
      const { tags, encryption } = { ...stream, ...change(stream) };
      await this.#write(name, { made, tags, encryption });
    });
  }

  /** Has the stream of its own again, where somebody has deleted it. @throws StorageError */
  async restoreSource({ name, made, source, type }: DeliveryStream): Promise<void> {
    if (made === null || type !== 'DirectPut') throw new StorageError('not-found', source);
    await this.#inTurn(async () => {
      if (this.#streams.has(name)) await this.#makeOwnStream(name, source);
    });
  }

  close(): void {
    this.#creating.close();
    this.#deleting.close();
  }

  #find(name: string): DeliveryStream | null {
    const kept = this.#streams.get(name) ?? null;
    const { tags, encryption } = kept ?? { tags: {}, encryption: null };
    const facts = { name, arn: this.arnOf(name), tags, encryption };
    const configured = this.#configured.get(name) ?? null;
    if (configured !== null && 'stream' in configured.from) {
      const source = configured.from.stream;
      const shown = { status: 'ACTIVE', type: 'DirectPut', made: null, trouble: null } as const;
      return { ...facts, ...shown, source, configured };
    }
    const made = kept?.made ?? null;
    if (made === null) return null;
    const status = this.#creating.get(name) === null ? 'ACTIVE' : 'CREATING';
    const trouble = this.#made.troubleOf(name);
    return {
      ...{ ...facts, status, type: made.type, source: made.stream },
      ...{ made, configured, trouble },
    };
  }

  #checkFree(name: string): void {
    const { accountId } = this.#options.account;
    if (isBackupName(name)) {
      throw new FirehoseError(
        'InvalidArgumentException',
        name.endsWith(failedBackupNameOf(''))
          ? `${name} is what that is called here which keeps the failed records of another delivery stream.`
          : `${name} is what the backup of another delivery stream is called here.`,
      );
    }
    for (const one of backupNamesOf(name)) {
      if (this.#find(one) === null) continue;
      throw inUse(
        `Firehose ${one} under accountId ${accountId} is what its backup would be called.`,
      );
    }
    if (this.#find(name) !== null || this.#deleting.get(name) !== null) {
      throw inUse(`Firehose ${name} under accountId ${accountId} already exists`);
    }
    // It would go on where the other was, and could be given its failed records.
    const left = applicationsOf(name);
    if (this.#options.log.applications.list().some((one) => left.includes(one.name))) {
      throw inUse(
        `A delivery ${name} was taken out of the gateway's configuration, and has its place still: ` +
          `"headgate delivery forget ${name}" lets go of it.`,
      );
    }
    const streamsMax = this.#streamsMax;
    const count = [...this.#streams.values()].filter(({ made }) => made !== null).length;
    if (count < streamsMax) return;
    throw new FirehoseError(
      'LimitExceededException',
      `You have already consumed your firehose quota of ${streamsMax} hoses. Your quota is ` +
        'firehose.maxDeliveryStreams of the configuration.',
    );
  }

  async #write(name: string, stream: KeptStream): Promise<void> {
    await this.#kept.write(name, stream);
    this.#streams.set(name, stream);
  }

  #notFound(name: string): FirehoseError {
    const { accountId } = this.#options.account;
    const message = `Firehose ${name} under account ${accountId} not found.`;
    return new FirehoseError('ResourceNotFoundException', message);
  }

  #logStream(name: string): StreamDescription | null {
    return this.#options.log.streams().find((stream) => stream.name === name) ?? null;
  }

  /** Makes it, where it is not there, and marks it as one of ours. */
  async #makeOwnStream(name: string, stream: string): Promise<void> {
    const { log } = this.#options;
    if (this.#logStream(stream) === null) await log.createStream({ name: stream, ...ownStream });
    await log.setAttribute(stream, attribute, { deliveryStream: name });
  }

  async #deleteOwnStream(stream: string): Promise<void> {
    if (this.#logStream(stream) !== null) await this.#options.log.deleteStream(stream);
  }

  /**
   * After a crash.
   * @param unreadable delivery streams that are there, as another version knows them
   */
  async #tidy(unreadable: ReadonlySet<string>): Promise<void> {
    const owned = new Map<string, string>();
    for (const [name, { made }] of this.#streams) {
      if (made?.type === 'DirectPut') owned.set(made.stream, name);
    }
    for (const { name, attributes } of this.#options.log.streams()) {
      const mark = markShape.safeParse(attributes[attribute]);
      if (!mark.success) continue;
      const { deliveryStream } = mark.data;
      if (owned.has(name)) owned.delete(name);
      else if (!unreadable.has(deliveryStream)) this.#halfDeleted.set(deliveryStream, name);
    }
    for (const [stream, name] of owned) await this.#makeOwnStream(name, stream);
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => undefined);
    return turn;
  }
}

/** Those that read a camera are no delivery streams, nor are those with longer names. */
function withStreams(deliveries: readonly DeliveryOptions[]): ReadonlyMap<string, DeliveryOptions> {
  return new Map(
    deliveries
      .filter(({ name, from }) => 'stream' in from && name.length <= nameMax)
      .map((delivery) => [delivery.name, delivery]),
  );
}

function ownStreamName(name: string): string {
  return `firehose.${name}`;
}
