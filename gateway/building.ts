/** What the parts of the gateway share while they are built. */
import type { Store } from '../storage/store.ts';
import { Metering } from './api/kinesis/metering.ts';
import { Closing } from './closing.ts';
import type { GatewayStart } from './cli/context.ts';
import type { Config } from './config/schema.ts';
import type { Identity } from './identity.ts';
import type { Opening } from './opening.ts';
import { Supervisor } from './supervisor.ts';

export interface Building extends GatewayStart {
  readonly identity: Identity;
  readonly opening: Opening;
  readonly supervisor: Supervisor;
  readonly store: Store;
  readonly metering: Metering;
  readonly closing: Closing;
  /** The configuration in force, for what looks at it every time; `config` is the first one. */
  readonly inForce: () => Config;
}
