/**
 * Who may do what: IAM's evaluation of the policies of a key and of a resource, within the one
 * account there is (docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html).
 *
 * - An explicit Deny in any policy wins.
 * - Else an Allow is needed, from the key's policies or, for its user by name or for everybody
 *   (`*`), from the resource's. An Allow for the account alone leaves it to the keys' policies.
 * - A key without a policy may do everything that no resource's policy denies.
 *
 * The documents are read in policy-document.ts.
 */
import { BlockList, isIP, isIPv4 } from 'node:net';
import type { Clock } from '../../storage/ports.ts';
import { AwsAuthError } from './aws-error.ts';
import type { Caller } from './aws-authenticator.ts';
import {
  dateOf,
  numberOf,
  parsePolicyText,
  PolicyError,
  type Choice,
  type Condition,
  type Policy,
  type Statement,
} from './policy-document.ts';

const policiesKeptMax = 256;

const denyAll: Policy = {
  statements: [
    {
      effect: 'Deny',
      actions: { patterns: ['*'], includes: true },
      resources: { patterns: ['*'], includes: true },
      principals: ['*'],
      conditions: [],
    },
  ],
};

/** What conditions are held against, by lower-case key. */
export type RequestContext = Readonly<Record<string, string>>;

export interface PolicyRequest {
  readonly callerArn: string;
  /** `kinesis:PutRecord` */
  readonly action: string;
  readonly resourceArn: string;
  readonly context: RequestContext;
}

export type Verdict = 'allowed' | 'denied-by-identity' | 'denied-by-resource' | 'not-allowed';

/** @param identity the policies of the caller's key; none: it may do everything */
export function evaluate(
  request: PolicyRequest,
  identity: readonly Policy[],
  resource: readonly Policy[],
): Verdict {
  const applying = (policies: readonly Policy[]): readonly Statement[] =>
    policies.flatMap(({ statements }) =>
      statements.filter((statement) => applies(statement, request)),
    );
  const own = applying(identity);
  const attached = applying(resource);
  if (own.some(({ effect }) => effect === 'Deny')) return 'denied-by-identity';
  if (attached.some(({ effect }) => effect === 'Deny')) return 'denied-by-resource';
  return identity.length === 0 || own.length > 0 || attached.length > 0 ? 'allowed' : 'not-allowed';
}

export interface Authorizer {
  /**
   * @param action e.g. `kinesis:PutRecord` or `kms:Decrypt`
   * @param context what conditions may ask for, e.g. `aws:SourceIp` and `aws:SecureTransport`; who
   *   calls and when is added here
   * @param resourcePolicies those attached to the resource, as JSON; one that can't be read denies
   * @throws AwsAuthError `AccessDeniedException`
   */
  authorize(
    caller: Caller,
    action: string,
    resourceArn: string,
    context?: RequestContext,
    resourcePolicies?: readonly string[],
  ): void;
}

export interface AuthorizerOptions {
  readonly keys: {
    /** null: there is no such key (any more). */
    policiesOf(accessKeyId: string): readonly Policy[] | null;
  };
  readonly clock: Clock;
}

export function createAuthorizer({ keys, clock }: AuthorizerOptions): Authorizer {
  const read = policyReader();
  return {
    authorize(caller, action, resourceArn, context = {}, resourcePolicies = []) {
      const attached = resourcePolicies.map(read);
      const policies = keys.policiesOf(caller.accessKeyId);
      if (policies?.length === 0 && attached.length === 0) return;
      const request = {
        callerArn: caller.arn,
        action,
        resourceArn,
        context: fullContext(caller, clock.nowMs(), context),
      };
      const verdict = policies === null ? 'not-allowed' : evaluate(request, policies, attached);
      if (verdict === 'allowed') return;
      const refused = `User: ${caller.arn} is not authorized to perform: ${action} on resource: ${resourceArn}`;
      throw new AwsAuthError(
        'AccessDeniedException',
        verdict === 'not-allowed'
          ? `${refused} because no identity-based policy allows the ${action} action`
          : `${refused} with an explicit deny in ${verdict === 'denied-by-identity' ? 'an identity' : 'a resource'}-based policy`,
      );
    },
  };
}

/** Reads the policies of resources, which come as text with each request, once. */
function policyReader(): (text: string) => Policy {
  const known = new Map<string, Policy>();
  return (text) => {
    const kept = known.get(text);
    if (kept !== undefined) return kept;
    const policy = readOrDeny(text);
    const oldest = known.keys().next();
    if (known.size >= policiesKeptMax && oldest.done !== true) known.delete(oldest.value);
    known.set(text, policy);
    return policy;
  };
}

function readOrDeny(text: string): Policy {
  try {
    return parsePolicyText(text, 'resource');
  } catch (error) {
    if (error instanceof PolicyError) return denyAll;
    throw error;
  }
}

function fullContext(caller: Caller, nowMs: number, context: RequestContext): RequestContext {
  const given = Object.entries(context).map(([key, value]) => [key.toLowerCase(), value]);
  return {
    ...(Object.fromEntries(given) as RequestContext),
    'aws:currenttime': new Date(nowMs).toISOString(),
    'aws:epochtime': String(Math.floor(nowMs / 1000)),
    'aws:username': caller.name,
    'aws:principalarn': caller.arn,
    'aws:principaltype': 'User',
  };
}

function applies(statement: Statement, request: PolicyRequest): boolean {
  const { actions, resources, principals, conditions, effect } = statement;
  const action = request.action.toLowerCase();
  return (
    chooses(actions, (pattern) => matches(pattern, action)) &&
    chooses(resources, (pattern) => matchesArn(pattern, request.resourceArn)) &&
    (principals === null || names(principals, request.callerArn, effect)) &&
    conditions.every((condition) => meets(condition, request.context))
  );
}

function chooses({ patterns, includes }: Choice, test: (pattern: string) => boolean): boolean {
  return patterns.some(test) === includes;
}

/** The account stands for its users where something is denied; to allow is then up to their keys. */
function names(principals: readonly string[], arn: string, effect: Statement['effect']): boolean {
  const account = `arn:aws:iam::${arn.split(':')[4] ?? ''}:root`;
  return principals.some(
    (principal) =>
      principal === '*' || principal === arn || (effect === 'Deny' && principal === account),
  );
}

// ---------------------------------------------------------------- conditions

function meets(condition: Condition, context: RequestContext): boolean {
  const { operator, ifExists, key, values } = condition;
  const value = Object.hasOwn(context, key) ? context[key] : undefined;
  if (operator === 'Null') {
    return values.some((wanted) => (wanted.toLowerCase() === 'true') === (value === undefined));
  }
  const positive = operator.replace('Not', '');
  const isNegated = positive !== operator;
  // As in IAM: what is not there is not equal to anything.
  if (value === undefined) return ifExists || isNegated;
  return values.some((wanted) => holds(positive, value, wanted)) !== isNegated;
}

/** @param operator without its `Not` */
function holds(operator: string, value: string, wanted: string): boolean {
  switch (operator) {
    case 'StringEquals':
      return value === wanted;
    case 'StringEqualsIgnoreCase':
    case 'Bool':
      return value.toLowerCase() === wanted.toLowerCase();
    case 'StringLike':
      return matches(wanted, value);
    case 'ArnEquals':
    case 'ArnLike':
      return matchesArn(wanted, value);
    case 'IpAddress':
      return isInNetwork(value, wanted);
    default: {
      const read = operator.startsWith('Date') ? dateOf : numberOf;
      return compares(operator.replace(/^(Date|Numeric)/, ''), read(value), read(wanted));
    }
  }
}

/** What can't be read is not less, greater or equal. */
function compares(how: string, value: number | null, wanted: number | null): boolean {
  if (value === null || wanted === null) return false;
  switch (how) {
    case 'Equals':
      return value === wanted;
    case 'LessThan':
      return value < wanted;
    case 'LessThanEquals':
      return value <= wanted;
    case 'GreaterThan':
      return value > wanted;
    case 'GreaterThanEquals':
      return value >= wanted;
    default:
      throw new TypeError(`${how} is no comparison`);
  }
}

function isInNetwork(given: string, network: string): boolean {
  const address = given.replace(/^::ffff:(?=\d+\.)/i, '').replace(/%.*$/, '');
  if (isIP(address) === 0) return false;
  const [base = '', prefix] = network.split('/');
  const family = isIPv4(base) ? 'ipv4' : 'ipv6';
  const list = new BlockList();
  list.addSubnet(base, Number(prefix ?? (isIPv4(base) ? 32 : 128)), family);
  return isIPv4(address) === isIPv4(base) && list.check(address, family);
}

// ---------------------------------------------------------------- wildcards

/** Part by part: a `*` before the last part ends with its part. */
function matchesArn(pattern: string, arn: string): boolean {
  if (pattern === '*') return true;
  const [patterns, parts] = [arnParts(pattern), arnParts(arn)];
  return patterns.every((part, index) => matches(part, parts[index] ?? ''));
}

function arnParts(arn: string): readonly string[] {
  const parts = arn.split(':');
  return [...parts.slice(0, 5), parts.slice(5).join(':')];
}

/**
 * Whether a text is of a pattern in which `*` stands for any characters and `?` for one. In time
 * proportional to the product of the lengths at worst: a pattern can't be made to take longer.
 */
export function matches(pattern: string, text: string): boolean {
  let at = 0;
  let next = 0;
  let star = -1;
  let resume = 0;
  while (at < text.length) {
    const wanted = pattern[next];
    if (wanted === '*') {
      star = next;
      resume = at;
      next += 1;
    } else if (wanted === '?' || (wanted !== undefined && wanted === text[at])) {
      next += 1;
      at += 1;
    } else if (star >= 0) {
      resume += 1;
      at = resume;
      next = star + 1;
    } else {
      return false;
    }
  }
  while (pattern[next] === '*') next += 1;
  return next === pattern.length;
}
