/**
 * Lambda's event filter patterns, over `data` (JSON) and `partitionKey`
 * (docs.aws.amazon.com/lambda/latest/dg/invocation-eventfiltering.html).
 *
 * Rules of values: strings, numbers, booleans and null as they are; prefix, suffix,
 * equals-ignore-case, anything-but (values, or a prefix or suffix), numeric, exists. Lists are
 * alternatives, keys go together, `$or` has alternatives of keys. Not: wildcard, cidr.
 */
import { suggest } from '../config/suggest.ts';

type Matches = (value: unknown) => boolean;

interface Filtered {
  readonly partitionKey: string;
  readonly data: Buffer;
}

const scopes = ['data', 'partitionKey'];
const comparisons: Readonly<Record<string, (value: number, limit: number) => boolean>> = {
  '=': (value, limit) => value === limit,
  '<': (value, limit) => value < limit,
  '<=': (value, limit) => value <= limit,
  '>': (value, limit) => value > limit,
  '>=': (value, limit) => value >= limit,
};
const operators = ['prefix', 'suffix', 'equals-ignore-case', 'anything-but', 'numeric', 'exists'];
const depthMax = 32;

class PatternError extends Error {}

/** What is wrong with a pattern; null: nothing. */
export function patternProblem(text: string): string | null {
  try {
    compilePattern(text);
    return null;
  } catch (error) {
    if (error instanceof PatternError) return `is no pattern: ${error.message}`;
    throw error;
  }
}

/**
 * Whether a record fits one of the patterns; with none all do. Data that is no JSON fits no pattern
 * that looks at data.
 */
export function compileFilter(patterns: readonly string[]): (record: Filtered) => boolean {
  if (patterns.length === 0) return () => true;
  const compiled = patterns.map(compilePattern);
  return ({ partitionKey, data }) => {
    const seen = { partitionKey, data: parsed(data) };
    return compiled.some((matches) => matches(seen));
  };
}

function parsed(data: Buffer): unknown {
  try {
    return JSON.parse(data.toString('utf8')) as unknown;
  } catch {
    return undefined;
  }
}

function compilePattern(text: string): Matches {
  const pattern = parsedPattern(text);
  if (!isObject(pattern)) throw new PatternError('a pattern is an object');
  const unknown = Object.keys(pattern).find((key) => !scopes.includes(key));
  if (unknown !== undefined) {
    throw new PatternError(`${unknown} is neither ${scopes.join(' nor ')}`);
  }
  return keysOf(pattern, 0);
}

function parsedPattern(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new PatternError('it is not JSON, in which keys stand between "', { cause: error });
  }
}

function keysOf(pattern: Readonly<Record<string, unknown>>, depth: number): Matches {
  if (depth > depthMax) throw new PatternError('it is too deep');
  const entries = Object.entries(pattern);
  if (entries.length === 0) throw new PatternError('an object of it is empty');
  const rules = entries.map(([key, rule]): Matches => {
    if (key === '$or') return alternatives(rule, depth);
    const matches = ruleOf(key, rule, depth);
    // A value that is not JSON has no keys, and lacks none either.
    return (value) => value !== undefined && matches(fieldOf(value, key));
  });
  return (value) => rules.every((matches) => matches(value));
}

function alternatives(rule: unknown, depth: number): Matches {
  if (!Array.isArray(rule) || rule.length < 2 || !rule.every(isObject)) {
    throw new PatternError('$or is a list of two objects or more');
  }
  const compiled = rule.map((one) => keysOf(one, depth + 1));
  return (value) => compiled.some((matches) => matches(value));
}

function ruleOf(key: string, rule: unknown, depth: number): Matches {
  if (isRule(key, rule)) {
    throw new PatternError(`${key} stands in a list: [{"${key}": ${JSON.stringify(rule)}}]`);
  }
  if (isObject(rule)) return keysOf(rule, depth + 1);
  if (!Array.isArray(rule) || rule.length === 0) {
    throw new PatternError(`${key} needs an object or a list of values`);
  }
  const compiled = rule.map((one: unknown) => leafOf(key, one));
  return (value) => compiled.some((matches) => matches(value));
}

/** What would be taken for a field of that name, which no record has. */
function isRule(key: string, rule: unknown): boolean {
  if (!operators.includes(key)) return false;
  if (key === 'numeric') return Array.isArray(rule) && comparisons[String(rule[0])] !== undefined;
  return key === 'anything-but' || !(Array.isArray(rule) || isObject(rule));
}

/** A list fits when one of its elements does. */
function ofAny(matches: Matches): Matches {
  return (value) => (Array.isArray(value) ? value.some(matches) : matches(value));
}

function leafOf(key: string, rule: unknown): Matches {
  if (!isObject(rule)) {
    if (Array.isArray(rule)) throw new PatternError(`${key} has a list in its list`);
    return ofAny((value) => value === rule);
  }
  const [entry, ...others] = Object.entries(rule);
  if (entry === undefined || others.length > 0) {
    throw new PatternError(`a rule of ${key} has one key`);
  }
  const [operator, operand] = entry;
  if (!operators.includes(operator)) {
    const meant = suggest(operator, operators);
    const says = meant === null ? `known are ${operators.join(', ')}` : `${meant}, perhaps`;
    throw new PatternError(`there is no rule ${operator}; ${says}`);
  }
  if (operator === 'exists') {
    if (typeof operand !== 'boolean') throw new PatternError('exists is true or false');
    return (value) => (value !== undefined && !isObject(value)) === operand;
  }
  if (operator === 'anything-but') return anythingBut(operand);
  if (operator === 'numeric') return ofAny(numeric(operand));
  return ofAny(textRule(operator, operand));
}

function textRule(operator: string, operand: unknown): Matches {
  if (typeof operand !== 'string') throw new PatternError(`${operator} needs a text`);
  if (operator === 'prefix') {
    return (value) => typeof value === 'string' && value.startsWith(operand);
  }
  if (operator === 'suffix') {
    return (value) => typeof value === 'string' && value.endsWith(operand);
  }
  const wanted = operand.toLowerCase();
  return (value) => typeof value === 'string' && value.toLowerCase() === wanted;
}

function anythingBut(operand: unknown): Matches {
  const isPresent: Matches = (value) => value !== undefined && !isObject(value);
  if (isObject(operand)) {
    const [entry, ...others] = Object.entries(operand);
    if (entry === undefined || others.length > 0 || !['prefix', 'suffix'].includes(entry[0])) {
      throw new PatternError('anything-but takes values, a prefix or a suffix');
    }
    const matches = textRule(...entry);
    return ofAny((value) => isPresent(value) && !matches(value));
  }
  const values = (Array.isArray(operand) ? operand : [operand]) as readonly unknown[];
  if (values.some((value) => typeof value !== 'string' && typeof value !== 'number')) {
    throw new PatternError('anything-but takes texts or numbers');
  }
  return ofAny((value) => isPresent(value) && !values.includes(value));
}

function numeric(operand: unknown): Matches {
  if (!Array.isArray(operand) || (operand.length !== 2 && operand.length !== 4)) {
    throw new PatternError('numeric is a list such as [">", 0, "<=", 5]');
  }
  const limits: ((value: number) => boolean)[] = [];
  for (let at = 0; at < operand.length; at += 2) {
    const [operator, limit] = [operand[at] as unknown, operand[at + 1] as unknown];
    const compare = typeof operator === 'string' ? comparisons[operator] : undefined;
    if (compare === undefined || typeof limit !== 'number') {
      throw new PatternError('numeric is a list such as [">", 0, "<=", 5]');
    }
    limits.push((value) => compare(value, limit));
  }
  return (value) => typeof value === 'number' && limits.every((fits) => fits(value));
}

function fieldOf(value: unknown, key: string): unknown {
  return isObject(value) && Object.hasOwn(value, key) ? value[key] : undefined;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
