/** Where a function is, as it is configured. */
import type { ConfiguredCredentials } from '../security/sign-request.ts';

export interface LambdaTarget extends ConfiguredCredentials {
  /** A name or an ARN. */
  readonly function: string;
  /** null: that of the ARN. */
  readonly region: string | null;
  /** null: AWS. */
  readonly endpoint: string | null;
}

export interface HttpTarget {
  readonly url: string;
  /** The header of that name; null: none. */
  readonly authorization: string | null;
}

export interface ModuleTarget {
  readonly path: string;
  /** What the function is called among the module's exports. */
  readonly export: string;
  /** Of the heap of one thread. */
  readonly memoryMaxMiB: number;
  /** Calls at once, each in a thread of its own. */
  readonly concurrency: number;
}

/** The shapes fit the configuration's `function` entries. */
export type FunctionTarget =
  | { readonly lambda: LambdaTarget }
  | { readonly http: HttpTarget }
  | { readonly module: ModuleTarget };
