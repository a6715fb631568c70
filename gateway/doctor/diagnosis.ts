/**
 * What `headgate doctor` finds: one line each, with what to do about it. The checks are in the
 * files beside this one, a subject each; none of them changes anything or waits for ever. What is
 * asked of the running gateway, and the printing, is in cli/doctor.ts.
 */

export interface Diagnosis {
  /** What was looked at. */
  readonly name: string;
  /** `fail`: the gateway can't work so; `warn`: it can, but somebody should look. */
  readonly status: 'ok' | 'warn' | 'fail';
  readonly message: string;
  /** What to do; null when there is nothing to do. */
  readonly advice: string | null;
}

export function fine(name: string, message: string): Diagnosis {
  return { name, status: 'ok', message, advice: null };
}

export function warning(name: string, message: string, advice: string): Diagnosis {
  return { name, status: 'warn', message, advice };
}

export function failure(name: string, message: string, advice: string): Diagnosis {
  return { name, status: 'fail', message, advice };
}

/** A check that breaks is a finding too. */
export async function attempt(
  name: string,
  check: () => Promise<readonly Diagnosis[]>,
): Promise<readonly Diagnosis[]> {
  try {
    return await check();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return [warning(name, `could not be looked at: ${reason}`, 'see the reason')];
  }
}
