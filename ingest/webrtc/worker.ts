/**
 * mediasoup's worker: the process that speaks ICE, DTLS and SRTP, with one UDP and one TCP port for
 * all sessions. It is started by the first session, and again by the next one after it died: what
 * it served ends then, and nothing else does. One that stops answering is killed, so that what is
 * sent to it does not pile up here.
 */
import { kill } from 'node:process';
import type { Router, WebRtcServer, Worker } from 'mediasoup/types';
import type { CancelTimer, Clock, Counter, Logger, Metrics } from '../../storage/ports.ts';
import { WebRtcError } from './errors.ts';

export interface MediaWorkerOptions {
  /** Literal addresses to listen on; `0.0.0.0` and `::` are every one of their family. */
  readonly hosts: readonly string[];
  /** UDP and TCP; 0: any free ones. */
  readonly port: number;
  /** The program; where mediasoup looks for it when left out. */
  readonly workerPath?: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

export interface RunningWorker {
  readonly worker: Worker;
  readonly server: WebRtcServer;
}

/** After a start that failed, the reason is told again for this long instead of trying. */
const retryAfterMs = 5_000;
const watchMs = 5_000;
/** On a machine that has too much to do an answer takes seconds; ending it ends every session. */
const unansweredMs = 20_000;

export class MediaWorker {
  readonly #options: MediaWorkerOptions;
  readonly #deaths: Counter;
  #running: Promise<RunningWorker> | null = null;
  #failure: { readonly error: WebRtcError; readonly atMs: number } | null = null;
  #stopWatching: CancelTimer = () => undefined;
  #isClosed = false;

  constructor(options: MediaWorkerOptions) {
    this.#options = options;
    this.#deaths = options.metrics.counter(
      'headgate_webrtc_worker_deaths_total',
      'How often the process that WebRTC runs in died.',
    );
  }

  /** A router for a session or a feed; it ends with its worker. @throws WebRtcError `unavailable` */
  async router(codecs: Parameters<Worker['createRouter']>[0]): Promise<{
    readonly router: Router;
    readonly server: WebRtcServer;
  }> {
    const { worker, server } = await this.#get();
    try {
      return { router: await worker.createRouter(codecs), server };
    } catch (error) {
      throw new WebRtcError('unavailable', 'WebRTC does not work just now: its process ended.', {
        cause: error,
      });
    }
  }

  /** Of the process; null: none runs. */
  async processId(): Promise<number | null> {
    const running = await this.#running?.catch(() => null);
    return running?.worker.pid ?? null;
  }

  /** Ends the process and with it every session. Twice is harmless. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#stopWatching();
    const running = await this.#running?.catch(() => null);
    if (running == null || running.worker.closed) return;
    const gone = new Promise<void>((resolve) => {
      running.worker.once('subprocessclose', resolve);
    });
    running.worker.close();
    await gone;
  }

  #get(): Promise<RunningWorker> {
    if (this.#isClosed) {
      return Promise.reject(new WebRtcError('unavailable', 'The gateway is closing.'));
    }
    if (this.#running !== null) return this.#running;
    const { clock, logger } = this.#options;
    const failure = this.#failure;
    if (failure !== null && clock.monotonicMs() - failure.atMs < retryAfterMs) {
      return Promise.reject(failure.error);
    }
    const starting = this.#start();
    this.#running = starting;
    starting.then(
      () => {
        this.#failure = null;
      },
      (error: unknown) => {
        this.#running = null;
        if (!(error instanceof WebRtcError)) return;
        this.#failure = { error, atMs: clock.monotonicMs() };
        logger.warn({ reason: error.message, error: error.cause }, 'WebRTC does not work');
      },
    );
    return starting;
  }

  async #start(): Promise<RunningWorker> {
    const { hosts, port, workerPath, logger } = this.#options;
    let worker: Worker;
    try {
      const { createWorker } = await import('mediasoup');
      worker = await createWorker({
        logLevel: 'error',
        ...(workerPath === undefined ? {} : { workerBin: workerPath }),
      });
    } catch (error) {
      throw new WebRtcError(
        'unavailable',
        "WebRTC needs mediasoup's worker, which does not start on this machine: `npm run setup` makes it.",
        { cause: error },
      );
    }
    try {
      const server = await worker.createWebRtcServer({
        listenInfos: hosts.flatMap((ip) =>
          (['udp', 'tcp'] as const).map((protocol) => ({
            ...{ protocol, ip, port },
            ...(ip === '::' ? { flags: { ipv6Only: true } } : {}),
          })),
        ),
      });
      worker.on('died', (error) => {
        this.#died(error);
      });
      this.#watch(worker);
      logger.info({ hosts, port, process: worker.pid }, 'WebRTC is served');
      return { worker, server };
    } catch (error) {
      worker.close();
      throw new WebRtcError(
        'unavailable',
        `WebRTC can't listen on ${hosts.join(' and ')}, port ${port} (webrtc.port).`,
        { cause: error },
      );
    }
  }

  #died(error: Error): void {
    this.#running = null;
    this.#stopWatching();
    if (this.#isClosed) return;
    this.#deaths.add();
    this.#options.logger.error(
      { error },
      'the process that WebRTC runs in died; its sessions are over, and the next one starts it again',
    );
  }

  /** Asks it for a sign of life, over and over. */
  #watch(worker: Worker): void {
    const { clock, logger } = this.#options;
    this.#stopWatching = clock.setTimer(watchMs, () => {
      this.#stopWatching = clock.setTimer(unansweredMs, () => {
        logger.error({ process: worker.pid }, 'the process that WebRTC runs in hangs: it is ended');
        kill(worker.pid, 'SIGKILL');
      });
      worker.getResourceUsage().then(
        () => {
          this.#stopWatching();
          if (!worker.closed) this.#watch(worker);
        },
        // It is closed, or died, which is told elsewhere.
        () => undefined,
      );
    });
  }
}
