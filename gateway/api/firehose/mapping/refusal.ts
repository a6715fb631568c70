/** Why a destination can't be had, said of the members that ask for it. */

export interface MemberProblem {
  /** From the destination on, with dots between its parts; '': the destination as a whole. */
  readonly member: string;
  /** Goes on from the member, behind a colon, with its full stop. */
  readonly message: string;
}

/** Becomes an answer where it is known which member of the request the destination is (`delivery.ts`). */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly problems: readonly MemberProblem[];

  constructor(problems: readonly MemberProblem[]) {
    super(problems.map(({ member, message }) => `${member}: ${message}`).join(' '));
    this.problems = problems;
  }
}

export function refusal(member: string, message: string): Refusal {
  return new Refusal([{ member, message }]);
}

/** @param inner '': the member itself is meant */
export function joined(outer: string, inner: string): string {
  return inner === '' ? outer : `${outer}.${inner}`;
}

/** Does what looks at one member alone, and names its members from the destination on. */
export function within<T>(outer: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    throw new Refusal(
      error.problems.map(({ member, message }) => ({ member: joined(outer, member), message })),
    );
  }
}
