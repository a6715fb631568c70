/**
 * What is wrong with a configuration, as values: where, which key, what is written there, what is
 * allowed instead. Secrets are already masked in them.
 */

/** Where a value comes from. Lines and columns count from 1. */
export type Origin =
  | { readonly kind: 'file'; readonly name: string; readonly line: number; readonly column: number }
  | { readonly kind: 'variable'; readonly name: string }
  | { readonly kind: 'default' };

export interface Problem {
  readonly origin: Origin;
  /** `mqtt.routes[0].topic`; empty for the file as a whole. */
  readonly key: string;
  /** What is written there, masked; null when there is nothing to show. */
  readonly value: string | null;
  /** What is wrong with it: goes on from the key and the value. */
  readonly message: string;
  readonly allowed: string | null;
  readonly suggestion: string | null;
}

export function problem(
  origin: Origin,
  key: string,
  message: string,
  rest: Partial<Pick<Problem, 'value' | 'allowed' | 'suggestion'>> = {},
): Problem {
  return { origin, key, message, value: null, allowed: null, suggestion: null, ...rest };
}

export function showOrigin(origin: Origin): string {
  switch (origin.kind) {
    case 'file':
      return `${origin.name}:${origin.line}:${origin.column}`;
    case 'variable':
      return origin.name;
    case 'default':
      return 'default';
  }
}

/**
 * One line for people:
 * `headgate.yaml:4:9: http.port: 99999 is not allowed. Allowed: a port from 1 to 65535.`
 */
export function showProblem({ origin, key, value, message, allowed, suggestion }: Problem): string {
  const where = origin.kind === 'default' ? '' : `${showOrigin(origin)}: `;
  const what = [key === '' ? '' : `${key}:`, value ?? '', message].filter((part) => part !== '');
  const hints = [
    allowed === null ? '' : ` Allowed: ${allowed}.`,
    suggestion === null ? '' : ` Did you mean "${suggestion}"?`,
  ];
  return `${where}${what.join(' ')}.${hints.join('')}`;
}

/** The configuration can't be used. Its message lists every problem, one per line. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    super(problems.map(showProblem).join('\n'));
    this.problems = problems;
  }
}
