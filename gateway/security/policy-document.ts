/**
 * Policy documents as IAM has them, read and checked once
 * (docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements.html).
 *
 * What is not understood is refused, never passed over: a Deny that silently matches nothing would
 * open what its author meant to close. So there are no policy variables (`${aws:username}`), no
 * NotPrincipal and no set operators (ForAllValues, ForAnyValue) here, and a document that uses them
 * is told so. What a document allows is in policies.ts.
 */
import { isNetwork } from '../../ingest/rtsp/client/guard.ts';

/** What the document is attached to: a key, or a resource, which then says for whom. */
export type PolicyKind = 'identity' | 'resource';

export interface Policy {
  readonly statements: readonly Statement[];
}

export interface Statement {
  readonly effect: 'Allow' | 'Deny';
  /** Lower case. */
  readonly actions: Choice;
  /** Each `*`, or the six parts of an ARN. */
  readonly resources: Choice;
  /** null: a document of a key, which speaks of that key's caller. */
  readonly principals: readonly string[] | null;
  readonly conditions: readonly Condition[];
}

export interface Choice {
  readonly patterns: readonly string[];
  /** Those; false: all but those. */
  readonly includes: boolean;
}

export interface Condition {
  readonly operator: ConditionOperator;
  /** Whether a request without the key meets it. */
  readonly ifExists: boolean;
  /** Lower case. */
  readonly key: string;
  readonly values: readonly string[];
}

/** Each positive operator and how it compares; `Not…` forms are the same, turned round. */
const operators = {
  StringEquals: 'text',
  StringNotEquals: 'text',
  StringEqualsIgnoreCase: 'text',
  StringNotEqualsIgnoreCase: 'text',
  StringLike: 'text',
  StringNotLike: 'text',
  NumericEquals: 'number',
  NumericNotEquals: 'number',
  NumericLessThan: 'number',
  NumericLessThanEquals: 'number',
  NumericGreaterThan: 'number',
  NumericGreaterThanEquals: 'number',
  DateEquals: 'date',
  DateNotEquals: 'date',
  DateLessThan: 'date',
  DateLessThanEquals: 'date',
  DateGreaterThan: 'date',
  DateGreaterThanEquals: 'date',
  Bool: 'flag',
  Null: 'flag',
  IpAddress: 'network',
  NotIpAddress: 'network',
  ArnEquals: 'arn',
  ArnLike: 'arn',
  ArnNotEquals: 'arn',
  ArnNotLike: 'arn',
} as const;

export type ConditionOperator = keyof typeof operators;

const examples = {
  Action: '"kinesis:Get*"',
  Resource: '"arn:aws:kinesis:*:*:stream/readings"',
} as const;

export const policyCharactersMax = 20_480;
const statementsMax = 100;
const listMax = 500;
const textMax = 2_048;

/** A document that is no policy: every mistake with its place, like `Statement[1].Effect`. */
export class PolicyError extends Error {
  override readonly name = 'PolicyError';
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(`the policy can't be used: ${problems.join('; ')}`);
    this.problems = problems;
  }
}

/** @param text JSON @throws PolicyError */
export function parsePolicyText(text: string, kind: PolicyKind): Policy {
  if (text.length > policyCharactersMax) {
    throw new PolicyError([`the document has more than ${policyCharactersMax} characters`]);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new PolicyError([`the document is not JSON: ${reason}`]);
  }
  return parsePolicy(value, kind);
}

/** @throws PolicyError */
export function parsePolicy(value: unknown, kind: PolicyKind): Policy {
  const reader = new Reader(kind);
  const policy = reader.policy(value);
  if (reader.problems.length > 0) throw new PolicyError(reader.problems);
  return policy;
}

/** What is wrong with a document; null: it is a policy. */
export function policyProblem(text: string, kind: PolicyKind): string | null {
  try {
    parsePolicyText(text, kind);
    return null;
  } catch (error) {
    if (error instanceof PolicyError) return error.problems.join('; ');
    throw error;
  }
}

type Fields = Readonly<Record<string, unknown>>;

/** Reads a document as far as it goes, and notes what is wrong. */
class Reader {
  readonly problems: string[] = [];
  readonly #kind: PolicyKind;

  constructor(kind: PolicyKind) {
    this.#kind = kind;
  }

  policy(value: unknown): Policy {
    const fields = this.#fields(value, '', ['Version', 'Id', 'Statement']);
    const version = fields['Version'];
    if (version !== undefined && version !== '2012-10-17' && version !== '2008-10-17') {
      this.#note('Version', 'must be "2012-10-17"');
    }
    if (fields['Id'] !== undefined) this.#text(fields['Id'], 'Id');
    const statements = Array.isArray(fields['Statement'])
      ? (fields['Statement'] as unknown[])
      : [fields['Statement']];
    if (fields['Statement'] === undefined || statements.length === 0) {
      this.#note('Statement', 'is missing');
      return { statements: [] };
    }
    if (statements.length > statementsMax) {
      this.#note('Statement', `has more than ${statementsMax} entries`);
      return { statements: [] };
    }
    const isList = Array.isArray(fields['Statement']);
    return {
      statements: statements.map((statement, index) =>
        this.#statement(statement, isList ? `Statement[${index}]` : 'Statement'),
      ),
    };
  }

  #statement(value: unknown, place: string): Statement {
    const principal = this.#kind === 'resource' ? ['Principal'] : [];
    const fields = this.#fields(value, place, [
      ...['Sid', 'Effect', 'Action', 'NotAction', 'Resource', 'NotResource', 'Condition'],
      ...principal,
    ]);
    if (fields['Sid'] !== undefined) this.#text(fields['Sid'], `${place}.Sid`, true);
    const effect = fields['Effect'];
    if (effect !== 'Allow' && effect !== 'Deny') {
      this.#note(`${place}.Effect`, 'must be "Allow" or "Deny"');
    }
    return {
      effect: effect === 'Allow' ? 'Allow' : 'Deny',
      actions: this.#choice(fields, 'Action', place),
      resources: this.#choice(fields, 'Resource', place),
      principals: this.#kind === 'identity' ? null : this.#principals(fields['Principal'], place),
      conditions: this.#conditions(fields['Condition'], `${place}.Condition`),
    };
  }

  #choice(fields: Fields, name: 'Action' | 'Resource', place: string): Choice {
    const not = `Not${name}`;
    if ((fields[name] === undefined) === (fields[not] === undefined)) {
      this.#note(place, `must have one of ${name} and ${not}`);
      return { patterns: [], includes: true };
    }
    const includes = fields[name] !== undefined;
    const key = includes ? name : not;
    const read = this.#texts(fields[key], `${place}.${key}`);
    for (const { text, at } of read) {
      const isRight = text === '*' || (name === 'Action' ? isAction(text) : isArn(text));
      if (!isRight) this.#note(at, `must be "*" or like ${examples[name]}`);
    }
    const patterns = read.map(({ text }) => (name === 'Action' ? text.toLowerCase() : text));
    return { patterns, includes };
  }

  #principals(value: unknown, place: string): readonly string[] {
    const at = `${place}.Principal`;
    if (value === undefined) this.#note(at, 'is missing');
    if (value === undefined || value === '*') return ['*'];
    const fields = this.#fields(value, at, ['AWS', 'Service', 'Federated', 'CanonicalUser']);
    if (Object.keys(fields).length === 0) this.#note(at, 'must name somebody');
    // Who is not a user of ours never asks: the other kinds are read, and match nobody.
    for (const kind of ['Service', 'Federated', 'CanonicalUser']) {
      if (fields[kind] !== undefined) this.#texts(fields[kind], `${at}.${kind}`);
    }
    if (fields['AWS'] === undefined) return [];
    return this.#texts(fields['AWS'], `${at}.AWS`).map(({ text, at: textAt }) => {
      const isKnown =
        text === '*' || /^\d{12}$/.test(text) || /^arn:aws:(iam|sts)::\d{12}:[^*?]+$/.test(text);
      if (!isKnown) this.#note(textAt, 'must be "*", an account, or the ARN of a user');
      return /^\d{12}$/.test(text) ? `arn:aws:iam::${text}:root` : text;
    });
  }

  #conditions(value: unknown, place: string): readonly Condition[] {
    if (value === undefined) return [];
    return Object.entries(this.#fields(value, place, null)).flatMap(([name, keys]) => {
      const at = `${place}.${name}`;
      const ifExists = name.endsWith('IfExists');
      const operator = ifExists ? name.slice(0, -'IfExists'.length) : name;
      if (!isOperator(operator) || (ifExists && operator === 'Null')) {
        this.#note(at, 'is not a condition operator that is known here');
        return [];
      }
      return Object.entries(this.#fields(keys, at, null)).map(([key, values]) => {
        const read = this.#texts(values, `${at}.${key}`);
        for (const { text, at: textAt } of read) {
          const must = mistakeOf(operator, text);
          if (must !== null) this.#note(textAt, must);
        }
        return { operator, ifExists, key: key.toLowerCase(), values: read.map(({ text }) => text) };
      });
    });
  }

  /** One text or a list of them, none empty. Numbers and flags are taken as they are written. */
  #texts(value: unknown, place: string): readonly { text: string; at: string }[] {
    const isList = Array.isArray(value);
    const values = isList ? (value as unknown[]) : [value];
    if (values.length === 0 || values.length > listMax) {
      this.#note(place, `must have from 1 to ${listMax} entries`);
      return [];
    }
    return values.map((one, index) => {
      const at = isList ? `${place}[${index}]` : place;
      const plain = typeof one === 'number' || typeof one === 'boolean' ? String(one) : one;
      return { text: this.#text(plain, at), at };
    });
  }

  #text(value: unknown, place: string, mayBeEmpty = false): string {
    if (typeof value !== 'string' || value.length > textMax || (value === '' && !mayBeEmpty)) {
      this.#note(place, `must be a text of 1 to ${textMax} characters`);
      return '';
    }
    if (value.includes('${')) this.#note(place, 'must not have policy variables (${…})');
    return value;
  }

  /** @param known the keys that there may be; null: any */
  #fields(value: unknown, place: string, known: readonly string[] | null): Fields {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      this.#note(place, 'must be an object');
      return {};
    }
    for (const key of Object.keys(value)) {
      if (known === null || known.includes(key)) continue;
      const at = place === '' ? key : `${place}.${key}`;
      this.#note(
        at.slice(0, textMax),
        key === 'Principal' ? 'is for policies of resources' : 'is not known here',
      );
    }
    return value as Fields;
  }

  #note(place: string, what: string): void {
    if (this.problems.length < 20) this.problems.push(`${place || 'the document'} ${what}`);
  }
}

function isOperator(name: string): name is ConditionOperator {
  return Object.hasOwn(operators, name);
}

function isAction(text: string): boolean {
  return /^[a-z0-9-]+:[a-z0-9*?]+$/i.test(text);
}

function isArn(text: string): boolean {
  return text.startsWith('arn:') && text.split(':').length >= 6;
}

/** What a value of a condition must be; null: it is. */
function mistakeOf(operator: ConditionOperator, text: string): string | null {
  switch (operators[operator]) {
    case 'text':
      return null;
    case 'number':
      return numberOf(text) === null ? 'must be a number' : null;
    case 'date':
      return dateOf(text) === null ? 'must be a date like "2026-11-01T12:00:00Z"' : null;
    case 'flag':
      return /^(true|false)$/i.test(text) ? null : 'must be "true" or "false"';
    case 'network':
      return isNetwork(text) ? null : 'must be a network like "192.168.0.0/16"';
    case 'arn':
      return isArn(text) ? null : `must be like ${examples.Resource}`;
  }
}

export function numberOf(text: string): number | null {
  return /^-?\d{1,15}(\.\d{1,15})?$/.test(text) ? Number(text) : null;
}

/** Milliseconds since the epoch, of a date of ISO 8601 or of seconds since the epoch. */
export function dateOf(text: string): number | null {
  if (/^\d{1,11}$/.test(text) && text.length !== 4) return Number(text) * 1000;
  const isIso = /^\d{4}(-\d\d(-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,3})?)?(Z|[+-]\d\d:\d\d))?)?)?$/.test(
    text,
  );
  const timeMs = isIso ? Date.parse(text) : NaN;
  return Number.isNaN(timeMs) ? null : timeMs;
}
