import assert from 'node:assert/strict';
import { setImmediate as settled } from 'node:timers/promises';
import { describe, it } from 'node:test';
import { Supervisor, type SupervisorOptions, type TaskContext } from '../../gateway/supervisor.ts';
import { SourceError } from '../../ingest/source.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { MemoryLogger } from '../support/memory-logger.ts';
import { MemoryMetrics } from '../support/memory-metrics.ts';

/** A task whose every run the test ends by hand. */
class ScriptedTask {
  readonly name: string;
  readonly runs: TaskContext[] = [];
  #end: (() => void) | null = null;
  #fail: ((error: unknown) => void) | null = null;

  constructor(name = 'camera/gate') {
    this.name = name;
  }

  run(context: TaskContext): Promise<void> {
    this.runs.push(context);
    return new Promise((resolve, reject) => {
      this.#end = resolve;
      this.#fail = reject;
      context.signal.addEventListener('abort', () => resolve(), { once: true });
    });
  }

  async end(): Promise<void> {
    this.#end?.();
    await settled();
  }

  async fail(error: unknown): Promise<void> {
    this.#fail?.(error);
    await settled();
  }
}

function setUp(options: Partial<SupervisorOptions> = {}) {
  const clock = new ManualClock();
  const logger = new MemoryLogger();
  const metrics = new MemoryMetrics();
  // The largest jitter, so that delays are the whole back-off.
  const random = () => 0.999_999_9;
  const supervisor = new Supervisor({ clock, logger, metrics, random, ...options });
  return { clock, logger, metrics, supervisor };
}

describe('supervisor', () => {
  it('waits longer after each failure, up to the longest delay', async () => {
    const { clock, supervisor } = setUp({ backOff: { firstDelayMs: 500, maxDelayMs: 4000 } });
    const task = new ScriptedTask();
    const supervised = supervisor.start(task);
    await settled();
    for (const [run, delayMs] of [500, 1000, 2000, 4000, 4000].entries()) {
      assert.equal(task.runs.length, run + 1);
      await task.fail(new SourceError('unreachable', 'no answer'));
      const status = supervised.status();
      assert.equal(status.state, 'backing-off');
      assert.equal(status.retryAtMs, clock.nowMs() + delayMs);
      clock.advance(delayMs - 1);
      await settled();
      assert.equal(task.runs.length, run + 1, 'not a millisecond early');
      clock.advance(1);
      await settled();
    }
    assert.equal(supervised.status().restarts, 5);
    await supervisor.close();
  });

  it('spreads delays over half of their length', async () => {
    for (const [random, expectedMs] of [
      [0, 250],
      [0.5, 375],
    ] as const) {
      const { clock, supervisor } = setUp({ random: () => random });
      const task = new ScriptedTask();
      const supervised = supervisor.start(task);
      await settled();
      await task.fail(new Error('no'));
      assert.equal(supervised.status().retryAtMs, clock.nowMs() + expectedMs);
      await supervisor.close();
    }
  });

  it('starts the delays over once a run has been healthy', async () => {
    const { clock, supervisor } = setUp();
    const task = new ScriptedTask();
    const supervised = supervisor.start(task);
    await settled();
    for (let n = 0; n < 6; n += 1) {
      await task.fail(new Error('no'));
      clock.advance(60_000);
      await settled();
    }
    task.runs.at(-1)?.ready();
    assert.equal(supervised.status().state, 'running');
    assert.notEqual(supervised.status().failure, null, 'not yet proven');
    clock.advance(30_000);
    assert.equal(supervised.status().failure, null);
    await task.fail(new Error('no'));
    assert.equal(supervised.status().retryAtMs, clock.nowMs() + 500);
    await supervisor.close();
  });

  it('runs again at once when a healthy run simply ends, and waits when it was short', async () => {
    const { clock, supervisor } = setUp();
    const task = new ScriptedTask();
    const supervised = supervisor.start(task);
    await settled();
    task.runs[0]?.ready();
    clock.advance(30_000);
    await task.end();
    assert.equal(task.runs.length, 2);
    assert.equal(supervised.status().state, 'starting');
    task.runs[1]?.ready();
    await task.end();
    assert.equal(supervised.status().state, 'backing-off');
    clock.advance(500);
    await settled();
    assert.equal(task.runs.length, 3);
    await supervisor.close();
  });

  it('waits the longest delay at once after an error that a retry cannot mend', async () => {
    const { clock, supervisor } = setUp();
    const task = new ScriptedTask();
    const supervised = supervisor.start(task);
    await settled();
    await task.fail(new SourceError('unauthorized', 'the camera refuses the password'));
    assert.equal(supervised.status().retryAtMs, clock.nowMs() + 60_000);
    assert.equal(supervised.status().failure?.code, 'unauthorized');
    clock.advance(60_000);
    await settled();
    assert.equal(task.runs.length, 2, 'but it is never given up');
    await supervisor.close();
  });

  it('sums up a repeated error instead of flooding the log', async () => {
    const { clock, logger, metrics, supervisor } = setUp({
      backOff: { firstDelayMs: 1000, maxDelayMs: 1000, summaryMs: 60_000 },
    });
    const task = new ScriptedTask();
    supervisor.start(task);
    await settled();
    for (let n = 0; n < 121; n += 1) {
      // A task that gets as far as ready each time floods no more than one that does not.
      task.runs.at(-1)?.ready();
      await task.fail(new SourceError('unreachable', 'no answer'));
      clock.advance(1000);
      await settled();
    }
    const warnings = logger.lines.filter((line) => line.level === 'warn');
    assert.deepEqual(
      warnings.map((line) => [line.message, line.fields.unlogged]),
      [
        ['a task failed', undefined],
        ['a task still fails', 59],
        ['a task still fails', 59],
      ],
    );
    assert.equal(metrics.values.get('headgate_task_failures_total{task="camera/gate"}'), 121);
    await task.fail(new SourceError('not-found', 'no such path'));
    assert.equal(logger.lines.at(-1)?.fields.code, 'not-found', 'another error is said at once');
    await supervisor.close();
  });

  it('stops a task that runs, and one that waits', async () => {
    const { clock, supervisor } = setUp();
    const running = new ScriptedTask('running');
    const waiting = new ScriptedTask('waiting');
    const first = supervisor.start(running);
    const second = supervisor.start(waiting);
    await settled();
    await waiting.fail(new Error('no'));
    assert.equal(supervisor.status().length, 2);
    await Promise.all([first.stop(), first.stop(), second.stop()]);
    assert.equal(first.status().state, 'stopped');
    assert.equal(second.status().state, 'stopped');
    assert.deepEqual(supervisor.status(), []);
    clock.advance(1_000_000);
    await settled();
    assert.equal(running.runs.length, 1);
    assert.equal(waiting.runs.length, 1);
    await supervisor.close();
    assert.throws(() => supervisor.start(running), /closed/);
  });

  it('leaves behind a task that ignores its signal, and says so', async () => {
    const { clock, logger, supervisor } = setUp();
    supervisor.start({ name: 'deaf', run: () => new Promise<void>(() => undefined) });
    await settled();
    const closed = supervisor.close();
    clock.advance(10_000);
    await closed;
    assert.equal(logger.lines.at(-1)?.level, 'error');
  });

  it('shows a task that it left behind no more, nor its successor as down when that ends', async () => {
    const { clock, supervisor, metrics } = setUp();
    const up = 'headgate_task_up{task="deaf"}';
    let end = (): void => undefined;
    const deaf = supervisor.start({
      name: 'deaf',
      run: () => new Promise<void>((resolve) => (end = resolve)),
    });
    await settled();
    const stopping = deaf.stop();
    clock.advance(10_000);
    await stopping;
    assert.equal(metrics.values.has(up), false);
    const successor = new ScriptedTask('deaf');
    supervisor.start(successor);
    await settled();
    successor.runs[0]?.ready();
    end();
    await deaf.stopped;
    assert.equal(metrics.values.get(up), 1);
    await supervisor.close();
  });

  it('lets a task finish for good when its end means that the work is done', async () => {
    const { supervisor, logger, metrics } = setUp();
    const task = new ScriptedTask();
    const supervised = supervisor.start(task, { whenEnded: 'stop' });
    await settled();
    task.runs[0]?.ready();
    const up = 'headgate_task_up{task="camera/gate"}';
    assert.equal(metrics.values.get(up), 1);
    await task.end();
    await supervised.stopped;
    assert.equal(task.runs.length, 1);
    assert.equal(supervised.status().state, 'stopped');
    // However short it was, nothing says that it is not well.
    assert.deepEqual(
      logger.lines.map(({ level, message, fields }) => [level, message, fields.healthy]),
      [['info', 'a task is done', undefined]],
    );
    assert.equal(metrics.values.has(up), false);
  });

  it('says that a task which is to go on ended too early, and shows it as down meanwhile', async () => {
    const { supervisor, logger, metrics } = setUp();
    const task = new ScriptedTask();
    supervisor.start(task);
    await settled();
    await task.end();
    const { message, fields } = logger.lines.at(-1)!;
    assert.deepEqual([message, fields.healthy], ['a task ended', false]);
    assert.equal(metrics.values.get('headgate_task_up{task="camera/gate"}'), 0);
    await supervisor.close();
    assert.equal(metrics.values.has('headgate_task_up{task="camera/gate"}'), false);
  });

  it('refuses a second task of the same name, and takes the name again after a stop', async () => {
    const { supervisor } = setUp();
    const supervised = supervisor.start(new ScriptedTask());
    assert.throws(() => supervisor.start(new ScriptedTask()), /runs already/);
    await supervised.stop();
    supervisor.start(new ScriptedTask());
    await supervisor.close();
  });

  it('ignores a ready that comes after the end of its run', async () => {
    const { clock, supervisor } = setUp();
    const task = new ScriptedTask();
    const supervised = supervisor.start(task);
    await settled();
    await task.fail(new Error('no'));
    clock.advance(500);
    await settled();
    task.runs[0]?.ready();
    assert.equal(supervised.status().state, 'starting');
    await supervisor.close();
  });

  it('survives a task that throws before it returns a promise', async () => {
    const { supervisor } = setUp();
    const supervised = supervisor.start({
      name: 'hasty',
      run: () => {
        throw new Error('at once');
      },
    });
    await settled();
    assert.equal(supervised.status().failure?.message, 'at once');
    await supervisor.close();
  });
});
