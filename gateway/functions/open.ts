/** From what the configuration says about a function to one that can be called. */
import type { Clock, Logger } from '../../storage/ports.ts';
import type { RemoteFunction } from './function.ts';
import { httpFunction } from './http.ts';
import { lambdaFunction } from './lambda.ts';
import { moduleFunction } from './module/module-function.ts';
import type { FunctionTarget } from './target.ts';

export interface FunctionPorts {
  readonly clock: Clock;
  /** Gets what a module writes to its console. */
  readonly logger: Logger;
  readonly fetch: typeof fetch;
  /** For one call; null: whoever calls sees to it. */
  readonly timeoutMs: number | null;
  /** What is larger is refused. */
  readonly answerBytesMax: number;
}

/** Nothing is started or asked until the first call. */
export function openFunction(target: FunctionTarget, ports: FunctionPorts): RemoteFunction {
  if ('lambda' in target) return lambdaFunction(target.lambda, ports);
  if ('http' in target) return httpFunction(target.http, ports);
  return moduleFunction(target.module, ports);
}
