/** Whether what a hook asks is there, found out without handing anything to it. */
import type { Config } from '../config/schema.ts';
import { failure, fine, type Diagnosis } from './diagnosis.ts';
import { diagnoseFunction, type FunctionSurroundings } from './functions.ts';
import { findProgram, isProgram } from './programs.ts';

export interface HookSurroundings extends FunctionSurroundings {
  /** The variable: folders of programs. */
  readonly path: string;
}

export async function diagnoseHook(
  hook: string,
  to: Config['hooks'][string]['to'],
  { path, ...surroundings }: HookSurroundings,
): Promise<Diagnosis> {
  const name = `Hook ${hook}`;
  if ('command' in to) return diagnoseCommand(name, to.command.program, path);
  return diagnoseFunction(name, to, surroundings);
}

async function diagnoseCommand(name: string, program: string, path: string): Promise<Diagnosis> {
  const isPath = program.includes('/');
  const where = isPath ? program : await findProgram(program, path);
  if (where !== null && (await isProgram(where))) return fine(name, `${where} can be run`);
  return isPath
    ? failure(name, `${program} is no program that can be run`, 'correct its path, or chmod +x it')
    : failure(name, `${program} is not in the PATH`, 'install it, or give its whole path');
}
