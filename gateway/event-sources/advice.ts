/** What the owner of a function can do about a call that came to nothing. */
import type { FunctionErrorCode } from '../functions/function.ts';
import type { EventSourceOptions } from './options.ts';

type Told = Pick<EventSourceOptions, 'name' | 'retries' | 'deadLetter'>;

/** @returns in a sentence or two; null: there is nothing but to wait */
export function adviceOn(code: FunctionErrorCode, options: Told): string | null {
  const key = `functions.${options.name}`;
  switch (code) {
    case 'unreachable':
      return `It is called until it answers, and no record is given up for that: if it stays so, look at the address in ${key}.function.`;
    case 'throttled':
      return null;
    case 'denied':
      return `Correct ${key}.function (its name, address or path), or give the gateway the right to call it; a module has to load and to export the function, and is read anew with the next attempt: "headgate function resume ${options.name}" makes that at once.`;
    case 'timeout':
      return `Raise ${key}.timeoutSeconds, or lower batchSize. ${fateOf(options)}`;
    case 'out-of-memory':
      return `Raise ${key}.function.module.memoryMaxMiB, or lower batchSize. ${fateOf(options)}`;
    case 'too-large':
      return `The batch is halved; a record that is too large by itself is given up. ${keeping(options)}`;
    case 'failed':
    case 'bad-answer':
      return `Correct the function. ${fateOf(options)}`;
  }
}

/** What becomes of the records as long as it fails. */
function fateOf(options: Told): string {
  const { name, retries } = options;
  if (retries === null) {
    return `The batch goes again until its records are too old: functions.${name}.retries ends that sooner.`;
  }
  const attempts = retries === 1 ? 'one retry' : `${retries} retries`;
  return `The batch is given up after ${attempts}. ${keeping(options)}`;
}

function keeping({ name, deadLetter }: Told): string {
  return deadLetter === null
    ? `What is given up is kept nowhere: functions.${name}.deadLetter would keep it.`
    : 'What is given up is kept in deadLetter.';
}
