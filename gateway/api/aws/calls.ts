/** What is told of each call of an AWS API: a metric of all, and the audit log of what changes something. */
import type { Context } from 'hono';
import type { Metrics } from '../../../storage/ports.ts';
import { remoteAddress, type AppEnv } from '../../http/authentication.ts';
import type { AuditLog } from '../../observe/audit.ts';
import type { Caller } from '../../security/aws-authenticator.ts';

export interface CallsOptions {
  /** As in the names of actions, e.g. `kinesis`. */
  readonly service: string;
  /** Of the metric that counts them, and what it says. */
  readonly metric: readonly [name: string, help: string];
  /** Whether a call of it goes into the audit log, whatever came of it and whoever asked. */
  readonly changesSomething: (operation: string) => boolean;
  readonly audit: Pick<AuditLog, 'record' | 'countStranger'>;
  readonly metrics: Metrics;
}

export interface ToldCall {
  readonly c: Context<AppEnv>;
  /** null: unknown. */
  readonly operation: string | null;
  /** null: nobody that is known. */
  readonly caller: Caller | null;
  /** The ARN of what it was about, once that is known. */
  readonly resource: string | null;
  readonly requestId: string;
  /** `ok`, or the type of the error. */
  readonly outcome: string;
}

export class Calls {
  readonly #options: CallsOptions;
  readonly #count: (operation: string, outcome: string) => void;

  constructor(options: CallsOptions) {
    this.#options = options;
    const requests = options.metrics.counter(...options.metric);
    this.#count = (operation, outcome) => {
      requests.add(1, { operation, outcome });
    };
  }

  tell({ c, operation, caller, resource, requestId, outcome }: ToldCall): void {
    this.#count(operation ?? 'unknown', outcome);
    const { service, audit, changesSomething } = this.#options;
    if (operation === null || !changesSomething(operation)) return;
    if (caller === null) {
      audit.countStranger();
      return;
    }
    audit.record({
      action: `${service}:${operation}`,
      resource,
      caller: caller.arn,
      accessKeyId: caller.accessKeyId,
      sourceAddress: remoteAddress(c.env),
      requestId,
      outcome,
    });
  }
}
