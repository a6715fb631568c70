/** How rules over the keys of a configuration say what is wrong. */
import type { z } from 'zod';

/**
 * What a rule's issue carries beside its message, for the loader's report. An issue without them
 * is one of a leaf, whose notes say what is allowed.
 */
export interface RuleParams {
  readonly allowed?: string;
  /** Names that may have been meant. */
  readonly candidates?: readonly string[];
}

export type Path = readonly (string | number)[];
export type Report = (path: Path, message: string, params?: RuleParams) => void;

/** Reports a name that is not declared, where there is one. */
export type Refer = (path: Path, name: unknown, kind: 'stream' | 'camera') => void;

export function reportTo(context: z.RefinementCtx): Report {
  return (path, message, params = {}) => {
    context.addIssue({ code: 'custom', path: [...path], message, params: { ...params } });
  };
}
