/** Whether what a hook asks is there, found out without handing anything to it. */
import type { Config } from '../config/schema.ts';
import { whyUnreachable } from '../functions/post.ts';
import { lambdaUrl } from '../functions/lambda.ts';
import { findCredentials } from '../security/sign-request.ts';
import { failure, fine, warning, type Diagnosis } from './diagnosis.ts';
import { findProgram, isProgram } from './programs.ts';

const askTimeoutMs = 8000;

export interface HookSurroundings {
  /** The variable: folders of programs. */
  readonly path: string;
  readonly fetch: typeof fetch;
}

export async function diagnoseHook(
  hook: string,
  to: Config['hooks'][string]['to'],
  { path, fetch: fetcher }: HookSurroundings,
): Promise<Diagnosis> {
  const name = `Hook ${hook}`;
  if ('command' in to) return diagnoseCommand(name, to.command.program, path);
  if ('http' in to) return diagnoseAddress(name, new URL(to.http.url), fetcher);
  const { lambda } = to;
  try {
    await findCredentials(lambda);
  } catch {
    const advice = 'set accessKeyId and secretAccessKey, or give them as to every AWS program';
    return failure(name, `there are no credentials for ${lambda.function}`, advice);
  }
  return diagnoseAddress(name, lambdaUrl(lambda), fetcher);
}

async function diagnoseCommand(name: string, program: string, path: string): Promise<Diagnosis> {
  const isPath = program.includes('/');
  const where = isPath ? program : await findProgram(program, path);
  if (where !== null && (await isProgram(where))) return fine(name, `${where} can be run`);
  return isPath
    ? failure(name, `${program} is no program that can be run`, 'correct its path, or chmod +x it')
    : failure(name, `${program} is not in the PATH`, 'install it, or give its whole path');
}

/** Any answer will do: what it takes is the business of the hook. */
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
