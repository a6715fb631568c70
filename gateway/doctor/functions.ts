/** Whether a function is there, found out without calling it. */
import { access, constants } from 'node:fs/promises';
import { lambdaUrl } from '../functions/lambda.ts';
import { whyUnreachable } from '../functions/post.ts';
import type { FunctionTarget } from '../functions/target.ts';
import { findCredentials } from '../security/sign-request.ts';
import { failure, fine, warning, type Diagnosis } from './diagnosis.ts';

const askTimeoutMs = 8000;

/** @param name of what calls it, such as `Hook people` */
export async function diagnoseFunction(
  name: string,
  target: FunctionTarget,
  fetcher: typeof fetch,
): Promise<Diagnosis> {
  if ('http' in target) return diagnoseAddress(name, new URL(target.http.url), fetcher);
  if ('module' in target) return diagnoseModule(name, target.module.path);
  const { lambda } = target;
  try {
    await findCredentials(lambda);
  } catch {
    const advice = 'set accessKeyId and secretAccessKey, or give them as to every AWS program';
    return failure(name, `there are no credentials for ${lambda.function}`, advice);
  }
  return diagnoseAddress(name, lambdaUrl(lambda), fetcher);
}

/** What it exports is not looked at: that would run it. */
async function diagnoseModule(name: string, path: string): Promise<Diagnosis> {
  try {
    await access(path, constants.R_OK);
    return fine(name, `${path} can be read`);
  } catch {
    return failure(name, `${path} can't be read`, 'correct its path, or chmod a+r it');
  }
}

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
