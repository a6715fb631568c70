/**
 * The way of one connection's messages into the log.
 *
 * Invariants: messages are appended in the order in which they came, one append per stream at a time;
 * while it runs the next ones gather, so a busy connection fills its appends and an idle one waits for
 * nobody. A message is settled only after all its records are in an fsynced commit, and in order. What
 * the log refuses is tried again, with back-off, up to a limit; everything behind it waits, and the
 * socket is not read meanwhile.
 *
 * Once a message of QoS 1 or 2 is given up, the publisher takes nothing more: the connection is to be
 * dropped, so that the device sends again. A message of QoS 0 that is given up is counted as lost.
 */
import { setImmediate } from 'node:timers/promises';
import type { OnceKey, OnceMessage, RecordInput } from '../../storage/model.ts';
import { StorageError } from '../../storage/errors.ts';
import { recordDataBytesMax } from '../../storage/log/appending.ts';
import { MqttError } from './errors.ts';
import type { Intake } from './intake.ts';
import type { CompiledRoute, Message, Target } from './routes.ts';

const APPEND_RECORDS_MAX = 1000;
const APPEND_BYTES_MAX = 1024 * 1024;
const BACKOFF_FIRST_MS = 50;
const BACKOFF_MAX_MS = 2000;
/** What a small message costs beside its bytes. */
const MESSAGE_OVERHEAD_BYTES = 200;

export type Settle = (error: MqttError | null) => void;

/** Stops and resumes the reading of a connection. Both may be called twice. */
export interface Flow {
  hold(reason: 'connection' | 'broker'): void;
  release(reason: 'connection' | 'broker'): void;
}

interface Pending {
  readonly qos: number;
  readonly bytes: number;
  readonly targets: readonly Target[];
  /** Of a message that its device may send again after a restart of ours. */
  readonly once: OnceKey | null;
  readonly settle: Settle;
  /** Why it is given up. */
  error: MqttError | null;
}

/** What is appended to one stream in one go. */
interface Group {
  readonly stream: string;
  members: { readonly pending: Pending; readonly target: Target }[];
  /** Whether some of it may be sent again after a restart. */
  once: boolean;
}

export class Publisher {
  readonly #intake: Intake;
  readonly #flow: Flow;
  #waiting: Pending[] = [];
  #running = false;
  #inflightBytes = 0;
  #failure: MqttError | null = null;
  #gone = false;
  #wake: (() => void) | null = null;
  readonly #settledWaiters: (() => void)[] = [];

  constructor(intake: Intake, flow: Flow) {
    this.#intake = intake;
    this.#flow = flow;
  }

  /** Takes a message on its way. `settle` is called once, never before this returns. */
  submit(message: Message, qos: number, settle: Settle, once: OnceKey | null = null): void {
    const targets = this.#failure === null ? this.#intake.route(message) : [];
    let bytes = message.payload.length + message.topic.length + MESSAGE_OVERHEAD_BYTES;
    for (const { record } of targets) bytes += record.data.length;
    const error = recordProblem(targets);
    const taken = error === null ? targets : [];
    this.#waiting.push({ qos, bytes, targets: taken, once, settle, error });
    this.#inflightBytes += bytes;
    this.#intake.entered(this, bytes);
    if (this.#inflightBytes >= this.#intake.limits.inflightBytesPerConnection) {
      this.#flow.hold('connection');
    }
    if (this.#running) return;
    this.#running = true;
    this.#intake.started(this);
    // After all packets of the chunk that is being parsed, so that they share one append.
    queueMicrotask(() => void this.#run());
  }

  /** The connection is closed: what was taken is tried once more at most. */
  leave(): void {
    this.#gone = true;
    this.wake();
  }

  /** Resolves when everything that was taken is settled. */
  async settled(): Promise<void> {
    if (this.#running) await new Promise<void>((resolve) => this.#settledWaiters.push(resolve));
  }

  /** Ends a pause before a retry. */
  wake(): void {
    this.#wake?.();
  }

  holdForBroker(): void {
    this.#flow.hold('broker');
  }

  releaseForBroker(): void {
    this.#flow.release('broker');
  }

  async #run(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#take();
      if (this.#failure === null) await this.#store(batch);
      else for (const pending of batch) pending.error = this.#failure;
      await this.#settleAll(batch);
    }
    this.#running = false;
    this.#intake.stopped(this);
    for (const resolve of this.#settledWaiters.splice(0)) resolve();
  }

  #take(): readonly Pending[] {
    let bytes = 0;
    let records = 0;
    let count = 0;
    for (const pending of this.#waiting) {
      bytes += pending.bytes;
      records += pending.targets.length;
      if (count > 0 && (bytes > APPEND_BYTES_MAX || records > APPEND_RECORDS_MAX)) break;
      count += 1;
    }
    if (count === this.#waiting.length) {
      const all = this.#waiting;
      this.#waiting = [];
      return all;
    }
    return this.#waiting.splice(0, count);
  }

  /**
   * In order; but the first error ends the connection, so what was stored behind it is acknowledged
   * before, or the device would send that again too.
   */
  async #settleAll(batch: readonly Pending[]): Promise<void> {
    const failed: Pending[] = [];
    for (const pending of batch) {
      if (pending.error === null) this.#settle(pending, null);
      else failed.push(pending);
    }
    if (failed.length === 0) return;
    // Acknowledgements are written to the socket at the end of the turn.
    await setImmediate();
    for (const pending of failed) {
      if (pending.qos === 0) this.#intake.countLost(pending.targets);
      this.#settle(pending, pending.qos === 0 ? null : pending.error);
    }
  }

  #settle(pending: Pending, error: MqttError | null): void {
    this.#inflightBytes -= pending.bytes;
    this.#intake.left(pending.bytes);
    if (this.#inflightBytes <= this.#intake.limits.inflightBytesPerConnection / 2) {
      this.#flow.release('connection');
    }
    pending.settle(error);
  }

  /** Appends a batch to its streams; afterwards each message is stored or has its error. */
  async #store(batch: readonly Pending[]): Promise<void> {
    let groups = groupByStream(batch);
    const deadlineMs = this.#intake.clock.monotonicMs() + this.#intake.limits.refusalMs;
    for (let attempt = 0; groups.length > 0; attempt++) {
      const refusals = await Promise.all(groups.map((group) => this.#append(group)));
      const refused = refusals.filter((refusal) => refusal !== null);
      groups = [];
      for (const { group, error } of refused) {
        if (!mayWait(error)) giveUp(group, error, (pending) => pending.qos === 0);
        if (!error.retryable || this.#outOfPatience(deadlineMs)) giveUp(group, error, () => true);
        else if (group.members.length > 0) groups.push(group);
      }
      if (groups.length > 0) await this.#pause(attempt);
    }
    this.#failure ??=
      batch.find((pending) => pending.qos > 0 && pending.error !== null)?.error ?? null;
  }

  async #append(group: Group): Promise<{ group: Group; error: StorageError } | null> {
    try {
      const { stream, members } = group;
      if (group.once) await this.#intake.appendOnce(stream, messagesOf(group));
      else await this.#intake.append(stream, recordsOf(members));
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      this.#intake.noteRefusal(group.stream, error);
      return { group, error };
    }
    countStored(group);
    return null;
  }

  #outOfPatience(deadlineMs: number): boolean {
    return this.#gone || this.#intake.stopping || this.#intake.clock.monotonicMs() >= deadlineMs;
  }

  #pause(attempt: number): Promise<void> {
    const delayMs = Math.min(BACKOFF_FIRST_MS * 2 ** attempt, BACKOFF_MAX_MS);
    return new Promise((resolve) => {
      const cancel = this.#intake.clock.setTimer(delayMs, () => this.wake());
      this.#wake = () => {
        cancel();
        this.#wake = null;
        resolve();
      };
      if (this.#gone || this.#intake.stopping) this.wake();
    });
  }
}

/** Transcoding and envelopes make records larger than payloads; one too large must not take others along. */
function recordProblem(targets: readonly Target[]): MqttError | null {
  const large = targets.find(({ record }) => record.data.length > recordDataBytesMax);
  if (large === undefined) return null;
  const { stream } = large.route.options;
  return new MqttError('too-large', `a record of ${large.record.data.length} bytes for ${stream}`);
}

/** Only a full queue empties by itself soon; for the rest QoS 0 does not hold up what follows. */
function mayWait(error: StorageError): boolean {
  return error.code === 'overloaded';
}

function giveUp(group: Group, error: StorageError, which: (pending: Pending) => boolean): void {
  const kept: Group['members'] = [];
  for (const member of group.members) {
    if (which(member.pending)) {
      member.pending.error ??= new MqttError(
        'refused-by-log',
        `stream ${group.stream}: ${error.message}`,
        { cause: error },
      );
    } else {
      kept.push(member);
    }
  }
  group.members = kept;
}

function groupByStream(batch: readonly Pending[]): Group[] {
  const groups = new Map<string, Group>();
  for (const pending of batch) {
    for (const target of pending.targets) {
      const { stream } = target.route.options;
      let group = groups.get(stream);
      if (group === undefined) {
        group = { stream, members: [], once: false };
        groups.set(stream, group);
      }
      group.members.push({ pending, target });
      group.once ||= pending.once !== null;
    }
  }
  return [...groups.values()];
}

function recordsOf(members: Group['members']): readonly RecordInput[] {
  return members.map(({ target }) => target.record);
}

/** A message that goes to a stream by several routes is one message with several records. */
function messagesOf(group: Group): readonly OnceMessage[] {
  const messages: { readonly pending: Pending; readonly message: OnceMessage }[] = [];
  for (const { pending, target } of group.members) {
    const last = messages.at(-1);
    if (last?.pending === pending) {
      const records = [...last.message.records, target.record];
      messages[messages.length - 1] = { pending, message: { ...last.message, records } };
    } else messages.push({ pending, message: { records: [target.record], once: pending.once } });
  }
  return messages.map(({ message }) => message);
}

function countStored(group: Group): void {
  const totals = new Map<CompiledRoute, { messages: number; bytes: number }>();
  for (const { target } of group.members) {
    const total = totals.get(target.route);
    if (total === undefined) {
      totals.set(target.route, { messages: 1, bytes: target.record.data.length });
    } else {
      total.messages += 1;
      total.bytes += target.record.data.length;
    }
  }
  for (const [route, { messages, bytes }] of totals) route.countStored(messages, bytes);
}
