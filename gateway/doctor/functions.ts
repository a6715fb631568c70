/** Whether a function is there, found out without calling it; a module is loaded, as for a call. */
import { access, constants } from 'node:fs/promises';
import type { Clock, Logger } from '../../storage/ports.ts';
import { FunctionError } from '../functions/function.ts';
import { lambdaUrl } from '../functions/lambda.ts';
import { inTime } from '../functions/limits.ts';
import { ModuleThread } from '../functions/module/module-thread.ts';
import { Output } from '../functions/module/output.ts';
import { whyUnreachable } from '../functions/post.ts';
import type { FunctionTarget, ModuleTarget } from '../functions/target.ts';
import { findCredentials } from '../security/sign-request.ts';
import { failure, fine, warning, type Diagnosis } from './diagnosis.ts';

const askTimeoutMs = 8000;
/** Nobody waits longer for the doctor. */
const loadMsMax = 30_000;

export interface FunctionSurroundings {
  readonly fetch: typeof fetch;
  readonly clock: Clock;
  /** What a call may take, and loading with it. */
  readonly timeoutMs: number;
}

/** @param name of what calls it, such as `Hook people` */
export async function diagnoseFunction(
  name: string,
  target: FunctionTarget,
  surroundings: FunctionSurroundings,
): Promise<Diagnosis> {
  const { fetch: fetcher } = surroundings;
  if ('http' in target) return diagnoseAddress(name, new URL(target.http.url), fetcher);
  if ('module' in target) return diagnoseModule(name, target.module, surroundings);
  const { lambda } = target;
  try {
    await findCredentials(lambda);
  } catch {
    const advice = 'set accessKeyId and secretAccessKey, or give them as to every AWS program';
    return failure(name, `there are no credentials for ${lambda.function}`, advice);
  }
  return diagnoseAddress(name, lambdaUrl(lambda), fetcher);
}

async function diagnoseModule(
  name: string,
  target: ModuleTarget,
  { clock, timeoutMs }: FunctionSurroundings,
): Promise<Diagnosis> {
  const { path } = target;
  try {
    await access(path, constants.R_OK);
  } catch {
    return failure(name, `${path} can't be read`, 'correct its path, or chmod a+r it');
  }
  const limitMs = Math.min(timeoutMs, loadMsMax);
  const output = new Output(clock, silent);
  const thread = new ModuleThread({ target, answerBytesMax: 0, output, logger: silent });
  try {
    await inTime(clock, limitMs, new AbortController().signal, (signal) => thread.loaded(signal));
    return fine(name, `${path} exports ${target.export}`);
  } catch (error) {
    if (!(error instanceof FunctionError)) throw error;
    if (error.code !== 'timeout') return failure(name, error.message, mendModule);
    const message = `${path} was not loaded within ${limitMs / 1000} s`;
    return limitMs < timeoutMs
      ? warning(name, message, `have it load faster: a call has ${timeoutMs / 1000} s for it`)
      : failure(name, `${message}, which is all that a call has`, mendModule);
  } finally {
    await thread.close();
  }
}

const mendModule =
  'correct the module: it is read anew with the next call; where one waits for that, "headgate function resume" or "headgate delivery resume" makes it at once';
/** What a module writes to its console while it is looked at is nobody's. */
const silent: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silent,
};

/** Any answer will do: what it takes is the business of who calls it. */
async function diagnoseAddress(name: string, url: URL, fetcher: typeof fetch): Promise<Diagnosis> {
  try {
    const response = await fetcher(url.origin, {
      ...{ method: 'HEAD', redirect: 'manual', signal: AbortSignal.timeout(askTimeoutMs) },
    });
    await response.body?.cancel();
    return fine(name, `${url.host} answers`);
  } catch (error) {
    const advice = 'start what is to listen there, or check the network';
    return warning(name, `${url.host} does not answer: ${whyUnreachable(error)}`, advice);
  }
}
