import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Caller } from '../../../gateway/security/aws-authenticator.ts';
import { AwsAuthError } from '../../../gateway/security/aws-error.ts';
import { createAuthorizer, evaluate, matches } from '../../../gateway/security/policies.ts';
import {
  parsePolicy,
  parsePolicyText,
  PolicyError,
  type PolicyKind,
} from '../../../gateway/security/policy-document.ts';
import { seededRandom } from '../../storage/support/open.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const callerArn = 'arn:aws:iam::000000000000:user/plant';
const readings = 'arn:aws:kinesis:us-east-1:000000000000:stream/readings';
const commands = 'arn:aws:kinesis:us-east-1:000000000000:stream/commands';

function verdict(
  statements: unknown,
  request: { action?: string; resourceArn?: string; context?: Record<string, string> } = {},
  attached?: unknown,
): string {
  const asked = { action: 'kinesis:PutRecord', resourceArn: readings, context: {}, ...request };
  return evaluate(
    { callerArn, ...asked },
    statements === undefined ? [] : [parsePolicy({ Statement: statements }, 'identity')],
    attached === undefined ? [] : [parsePolicy({ Statement: attached }, 'resource')],
  );
}

const allowAll = { Effect: 'Allow', Action: '*', Resource: '*' };

test('nothing is allowed that no statement allows, and a key without a policy may do everything', () => {
  assert.equal(verdict(undefined), 'allowed');
  assert.equal(verdict(allowAll), 'allowed');
  assert.equal(verdict({ ...allowAll, Action: 'kinesis:Get*' }), 'not-allowed');
  assert.equal(verdict({ ...allowAll, Effect: 'Deny' }), 'denied-by-identity');
});

test('actions are matched without regard to case, resources with it', () => {
  for (const [action, expected] of [
    ['kinesis:PutRecord', 'allowed'],
    ['KINESIS:putrecord', 'allowed'],
    ['kinesis:Put*', 'allowed'],
    ['kinesis:Put?ecord', 'allowed'],
    ['kinesis:*', 'allowed'],
    ['kinesis:PutRecord?', 'not-allowed'],
    ['kinesis:PutRecords', 'not-allowed'],
    ['kinesis:Put', 'not-allowed'],
    ['firehose:*', 'not-allowed'],
  ] as const) {
    assert.equal(verdict({ ...allowAll, Action: action }), expected, action);
  }
  for (const [resource, expected] of [
    [readings, 'allowed'],
    ['arn:aws:kinesis:*:*:stream/readings', 'allowed'],
    ['arn:aws:kinesis:*:*:stream/read*', 'allowed'],
    ['arn:*:*:*:*:*', 'allowed'],
    ['arn:aws:kinesis:*:*:stream/Readings', 'not-allowed'],
    [commands, 'not-allowed'],
    ['arn:aws:kinesis:us-east-1:000000000000:stream', 'not-allowed'],
    ['arn:aws:kin*:stream/readings:::', 'not-allowed'],
  ] as const) {
    assert.equal(verdict({ ...allowAll, Resource: resource }), expected, resource);
  }
  assert.throws(() => verdict({ ...allowAll, Resource: 'arn:aws:kinesis:*' }), PolicyError);
});

test('a deny wins, wherever it stands', () => {
  const deny = { Effect: 'Deny', Action: 'kinesis:Put*', Resource: readings };
  assert.equal(verdict([allowAll, deny]), 'denied-by-identity');
  assert.equal(verdict([deny, allowAll]), 'denied-by-identity');
  assert.equal(verdict([deny, allowAll], { resourceArn: commands }), 'allowed');
  const attached = { ...deny, Principal: '*' };
  assert.equal(verdict(allowAll, {}, attached), 'denied-by-resource');
  assert.equal(verdict(undefined, {}, attached), 'denied-by-resource');
  assert.equal(verdict([allowAll, deny], {}, attached), 'denied-by-identity');
});

test('NotAction and NotResource mean all the others', () => {
  const noAction = { Effect: 'Allow', Resource: '*' };
  const noResource = { Effect: 'Allow', Action: '*' };
  assert.equal(verdict({ ...noAction, NotAction: 'kinesis:Delete*' }), 'allowed');
  assert.equal(verdict({ ...noAction, NotAction: ['kinesis:Put*', 'x:*'] }), 'not-allowed');
  assert.equal(verdict({ ...noResource, NotResource: commands }), 'allowed');
  assert.equal(verdict({ ...noResource, NotResource: [commands, readings] }), 'not-allowed');
});

test("a resource's policy lets in whom it names, and leaves the account to the keys", () => {
  const nothing = { ...allowAll, Action: 'sns:*' };
  for (const [principal, allow, deny] of [
    ['*', 'allowed', 'denied-by-resource'],
    [{ AWS: '*' }, 'allowed', 'denied-by-resource'],
    [{ AWS: callerArn }, 'allowed', 'denied-by-resource'],
    [{ AWS: ['arn:aws:iam::000000000000:user/x', callerArn] }, 'allowed', 'denied-by-resource'],
    [{ AWS: '000000000000' }, 'not-allowed', 'denied-by-resource'],
    [{ AWS: 'arn:aws:iam::000000000000:root' }, 'not-allowed', 'denied-by-resource'],
    [{ AWS: 'arn:aws:iam::111111111111:root' }, 'not-allowed', 'not-allowed'],
    [{ AWS: 'arn:aws:iam::000000000000:user/plant2' }, 'not-allowed', 'not-allowed'],
    [{ Service: 'firehose.amazonaws.com' }, 'not-allowed', 'not-allowed'],
  ] as const) {
    const statement = { ...allowAll, Principal: principal };
    const what = JSON.stringify(principal);
    assert.equal(verdict(nothing, {}, statement), allow, what);
    assert.equal(verdict(nothing, {}, { ...statement, Effect: 'Deny' }), deny, what);
  }
});

test('conditions compare as IAM does, also where the request has no such key', () => {
  const context = {
    'aws:sourceip': '192.168.1.20',
    'aws:username': 'plant',
    'x:count': '10',
    'x:when': '2026-11-01T12:00:00Z',
    'x:secure': 'true',
    'x:arn': readings,
  };
  for (const [condition, expected] of [
    [{ StringEquals: { 'aws:username': ['other', 'plant'] } }, true],
    [{ StringEquals: { 'AWS:UserName': 'plant' } }, true],
    [{ StringEquals: { 'aws:username': 'Plant' } }, false],
    [{ StringEqualsIgnoreCase: { 'aws:username': 'Plant' } }, true],
    [{ StringNotEquals: { 'aws:username': ['a', 'plant'] } }, false],
    [{ StringNotEquals: { 'aws:username': ['a', 'b'] } }, true],
    [{ StringNotEqualsIgnoreCase: { 'aws:username': 'PLANT' } }, false],
    [{ StringLike: { 'aws:username': 'pl*t' } }, true],
    [{ StringNotLike: { 'aws:username': 'pl*t' } }, false],
    [{ StringEquals: { 'x:none': 'a' } }, false],
    [{ StringNotEquals: { 'x:none': 'a' } }, true],
    [{ StringEqualsIfExists: { 'x:none': 'a' } }, true],
    [{ StringEqualsIfExists: { 'aws:username': 'a' } }, false],
    [{ Null: { 'x:none': 'true' } }, true],
    [{ Null: { 'aws:username': 'true' } }, false],
    [{ Null: { 'aws:username': false } }, true],
    [{ NumericEquals: { 'x:count': 10 } }, true],
    [{ NumericEquals: { 'x:count': '10.0' } }, true],
    [{ NumericNotEquals: { 'x:count': 10 } }, false],
    [{ NumericLessThan: { 'x:count': 10 } }, false],
    [{ NumericLessThanEquals: { 'x:count': 10 } }, true],
    [{ NumericGreaterThan: { 'x:count': 9.5 } }, true],
    [{ NumericGreaterThanEquals: { 'x:count': 11 } }, false],
    [{ NumericLessThan: { 'aws:username': 10 } }, false],
    [{ DateLessThan: { 'x:when': '2026-11-02' } }, true],
    [{ DateGreaterThan: { 'x:when': '2026-11-01T13:00:00+02:00' } }, true],
    [{ DateEquals: { 'x:when': String(Date.UTC(2026, 10, 1, 12) / 1000) } }, true],
    [{ DateGreaterThanEquals: { 'x:none': '2026' } }, false],
    [{ Bool: { 'x:secure': true } }, true],
    [{ Bool: { 'x:secure': 'False' } }, false],
    [{ IpAddress: { 'aws:SourceIp': '192.168.0.0/16' } }, true],
    [{ IpAddress: { 'aws:SourceIp': ['10.0.0.0/8', 'fd00::/8'] } }, false],
    [{ NotIpAddress: { 'aws:SourceIp': '192.168.1.20' } }, false],
    [{ ArnLike: { 'x:arn': 'arn:aws:kinesis:*:*:stream/*' } }, true],
    [{ ArnEquals: { 'x:arn': 'arn:aws:kinesis:*:*:stream/x' } }, false],
    [{ ArnNotLike: { 'x:arn': 'arn:aws:kinesis:*:*:stream/x' } }, true],
    [{ StringEquals: { 'aws:username': 'plant', 'x:count': '10' } }, true],
    [{ StringEquals: { 'aws:username': 'plant' }, Bool: { 'x:secure': 'false' } }, false],
  ] as const) {
    const statement = { ...allowAll, Condition: condition };
    assert.equal(
      verdict(statement, { context }) === 'allowed',
      expected,
      JSON.stringify(condition),
    );
  }
  const mapped = { 'aws:sourceip': '::ffff:192.168.1.20' };
  const local = { ...allowAll, Condition: { IpAddress: { 'aws:SourceIp': '192.168.1.0/24' } } };
  assert.equal(verdict(local, { context: mapped }), 'allowed');
  assert.equal(verdict(local, { context: { 'aws:sourceip': 'nowhere' } }), 'not-allowed');
});

test('a document that is no policy is refused, and every mistake has its place', () => {
  const good = { Effect: 'Allow', Action: 'kinesis:*', Resource: '*' };
  const cases: readonly (readonly [unknown, PolicyKind, string])[] = [
    [null, 'identity', 'the document must be an object'],
    [[], 'identity', 'the document must be an object'],
    [{}, 'identity', 'Statement is missing'],
    [{ Statement: [] }, 'identity', 'Statement is missing'],
    [{ Statement: good, Versions: 1 }, 'identity', 'Versions is not known here'],
    [{ Version: '2020', Statement: good }, 'identity', 'Version must be "2012-10-17"'],
    [
      { Statement: { ...good, Effect: 'allow' } },
      'identity',
      'Statement.Effect must be "Allow" or "Deny"',
    ],
    [{ Statement: [good, 1] }, 'identity', 'Statement[1] must be an object'],
    [
      { Statement: [good, { ...good, Action: 'Put' }] },
      'identity',
      'Statement[1].Action must be "*" or like "kinesis:Get*"',
    ],
    [
      { Statement: { ...good, Action: ['kinesis:*', ''] } },
      'identity',
      'Statement.Action[1] must be a text of 1 to 2048 characters',
    ],
    [
      { Statement: { ...good, Action: [] } },
      'identity',
      'Statement.Action must have from 1 to 500 entries',
    ],
    [
      { Statement: { ...good, NotAction: 'a:b' } },
      'identity',
      'Statement must have one of Action and NotAction',
    ],
    [
      { Statement: { Effect: 'Deny', Action: '*' } },
      'identity',
      'Statement must have one of Resource and NotResource',
    ],
    [
      { Statement: { ...good, Resource: 'stream/x' } },
      'identity',
      'Statement.Resource must be "*" or like "arn:aws:kinesis:*:*:stream/readings"',
    ],
    [
      { Statement: { ...good, Resource: 'arn:aws:kinesis:::stream/${aws:username}' } },
      'identity',
      'Statement.Resource must not have policy variables (${…})',
    ],
    [
      { Statement: { ...good, Principal: '*' } },
      'identity',
      'Statement.Principal is for policies of resources',
    ],
    [{ Statement: good }, 'resource', 'Statement.Principal is missing'],
    [
      { Statement: { ...good, Principal: { AWS: 'plant' } } },
      'resource',
      'Statement.Principal.AWS must be "*", an account, or the ARN of a user',
    ],
    [
      { Statement: { ...good, Principal: {} } },
      'resource',
      'Statement.Principal must name somebody',
    ],
    [
      { Statement: { ...good, NotPrincipal: '*' } },
      'resource',
      'Statement.NotPrincipal is not known here',
    ],
    [
      { Statement: { ...good, Condition: { Equals: {} } } },
      'identity',
      'Statement.Condition.Equals is not a condition operator that is known here',
    ],
    [
      { Statement: { ...good, Condition: { 'ForAnyValue:StringLike': {} } } },
      'identity',
      'Statement.Condition.ForAnyValue:StringLike is not a condition operator that is known here',
    ],
    [
      { Statement: { ...good, Condition: { IpAddress: { 'aws:SourceIp': '10.0.0.0/33' } } } },
      'identity',
      'Statement.Condition.IpAddress.aws:SourceIp must be a network like "192.168.0.0/16"',
    ],
    [
      { Statement: { ...good, Condition: { NumericEquals: { a: ['1', 'x'] } } } },
      'identity',
      'Statement.Condition.NumericEquals.a[1] must be a number',
    ],
    [
      { Statement: { ...good, Condition: { DateLessThan: { a: 'soon' } } } },
      'identity',
      'Statement.Condition.DateLessThan.a must be a date like "2026-11-01T12:00:00Z"',
    ],
    [
      { Statement: { ...good, Condition: { Bool: { a: 'yes' } } } },
      'identity',
      'Statement.Condition.Bool.a must be "true" or "false"',
    ],
    [
      { Statement: { ...good, Condition: 'x' } },
      'identity',
      'Statement.Condition must be an object',
    ],
  ];
  for (const [document, kind, problem] of cases) {
    assert.throws(
      () => parsePolicy(document, kind),
      (error) => {
        assert.ok(error instanceof PolicyError);
        const found = error.problems.join('; ');
        assert.ok(found.includes(problem), `${JSON.stringify(document)}: ${found}`);
        return true;
      },
    );
  }
  assert.throws(() => parsePolicyText('{', 'identity'), /the document is not JSON/);
  assert.throws(
    () => parsePolicyText(' '.repeat(20_481), 'identity'),
    /more than 20480 characters/,
  );
});

test('who is refused is told so in the words of IAM', () => {
  const clock = new ManualClock(Date.UTC(2026, 10, 1));
  const caller: Caller = { accessKeyId: 'AKIA1', arn: callerArn, name: 'plant' };
  const denying = { Effect: 'Deny', Action: 'kinesis:PutRecord', Resource: readings };
  const refusal = (statements: unknown, attached?: unknown, context = {}): string => {
    const keys = {
      policiesOf: (id: string) =>
        id !== 'AKIA1' || statements === null
          ? null
          : [parsePolicy({ Statement: statements }, 'identity')],
    };
    const resourcePolicies =
      attached === undefined
        ? []
        : [typeof attached === 'string' ? attached : JSON.stringify({ Statement: attached })];
    try {
      createAuthorizer({ keys, clock }).authorize(
        ...([caller, 'kinesis:PutRecord', readings, context, resourcePolicies] as const),
      );
      return '';
    } catch (error) {
      assert.ok(error instanceof AwsAuthError);
      assert.equal(error.type, 'AccessDeniedException');
      return error.message;
    }
  };
  const start = `User: ${callerArn} is not authorized to perform: kinesis:PutRecord on resource: ${readings} `;
  const because = `${start}because no identity-based policy allows the kinesis:PutRecord action`;
  assert.equal(refusal({ ...allowAll, Action: 'kinesis:Get*' }), because);
  assert.equal(refusal(null), because, 'a key that is gone');
  assert.equal(
    refusal([allowAll, denying]),
    `${start}with an explicit deny in an identity-based policy`,
  );
  assert.equal(
    refusal(allowAll, { ...denying, Principal: '*' }),
    `${start}with an explicit deny in a resource-based policy`,
  );
  assert.equal(
    refusal(allowAll, '{"Statement":'),
    `${start}with an explicit deny in a resource-based policy`,
    'one that can not be read',
  );
  assert.equal(refusal(allowAll), '');
  const timed = {
    ...allowAll,
    Condition: {
      DateLessThan: { 'aws:CurrentTime': '2026-12-01' },
      StringEquals: { 'aws:username': 'plant', 'aws:SecureTransport': 'true' },
    },
  };
  assert.equal(refusal(timed), because);
  assert.equal(refusal(timed, undefined, { 'aws:SecureTransport': 'true' }), '');
  // Who calls is not for the request to say.
  const admin = { ...allowAll, Condition: { StringEquals: { 'aws:username': 'admin' } } };
  assert.equal(refusal(admin, undefined, { 'aws:username': 'admin' }), because);
});

test('wildcards match as regular expressions would, on thousands of patterns', () => {
  const random = seededRandom(1);
  const word = (alphabet: string, max: number): string =>
    Array.from({ length: Math.floor(random() * (max + 1)) }, () =>
      alphabet.charAt(Math.floor(random() * alphabet.length)),
    ).join('');
  for (let round = 0; round < 20_000; round += 1) {
    const [pattern, text] = [word('ab*?', 8), word('ab*', 10)];
    const expression = pattern.replaceAll('?', '[^]').replaceAll('*', '[^]*');
    const expected = new RegExp(`^${expression}$`).test(text);
    assert.equal(matches(pattern, text), expected, `${pattern} of ${text}`);
  }
});

test('a pattern made to be slow is not', () => {
  assert.equal(matches('*a'.repeat(1000), 'a'.repeat(2000) + 'b'), false);
});

test('the evaluator agrees with a plain reading of the rules, on thousands of policies', () => {
  const random = seededRandom(7);
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)]!;
  const actions = ['kinesis:PutRecord', 'kinesis:GetRecords', 'kms:Decrypt'];
  const resources = [readings, commands];
  const principals = [callerArn, 'arn:aws:iam::000000000000:user/other'];
  interface Plain {
    readonly effect: 'Allow' | 'Deny';
    readonly actions: readonly string[];
    readonly resources: readonly string[];
    readonly negated: boolean;
    readonly principal: string;
  }
  const subset = (items: readonly string[]): readonly string[] => {
    const chosen = items.filter(() => random() < 0.5);
    return chosen.length === 0 ? [pick(items)] : chosen;
  };
  const plainStatement = (): Plain => ({
    effect: random() < 0.7 ? 'Allow' : 'Deny',
    actions: subset(actions),
    resources: subset(resources),
    negated: random() < 0.3,
    principal: pick(principals),
  });
  const document = (plain: Plain, kind: PolicyKind): unknown => ({
    Effect: plain.effect,
    [plain.negated ? 'NotAction' : 'Action']: plain.actions,
    Resource: plain.resources,
    ...(kind === 'resource' ? { Principal: { AWS: plain.principal } } : {}),
  });
  const seen = new Set<string>();
  for (let round = 0; round < 5_000; round += 1) {
    const identity = Array.from({ length: Math.floor(random() * 4) }, plainStatement);
    const resource = Array.from({ length: Math.floor(random() * 3) }, plainStatement);
    const [action, resourceArn] = [pick(actions), pick(resources)];
    // The oracle: a set of decisions, looked at in the order of the documentation.
    const decisions = new Set<string>();
    for (const [kind, statements] of [
      ['identity', identity],
      ['resource', resource],
    ] as const) {
      for (const plain of statements) {
        if (kind === 'resource' && plain.principal !== callerArn) continue;
        if (plain.actions.includes(action) === plain.negated) continue;
        if (plain.resources.includes(resourceArn)) decisions.add(`${kind} ${plain.effect}`);
      }
    }
    let expected = 'not-allowed';
    if (identity.length === 0 || [...decisions].some((one) => one.endsWith('Allow')))
      expected = 'allowed';
    if (decisions.has('resource Deny')) expected = 'denied-by-resource';
    if (decisions.has('identity Deny')) expected = 'denied-by-identity';
    const parse = (statements: readonly Plain[], kind: PolicyKind) =>
      statements.map((plain) => parsePolicy({ Statement: document(plain, kind) }, kind));
    const found = evaluate(
      { callerArn, action, resourceArn, context: {} },
      parse(identity, 'identity'),
      parse(resource, 'resource'),
    );
    assert.equal(found, expected, JSON.stringify({ identity, resource, action, resourceArn }));
    seen.add(found);
  }
  assert.equal(seen.size, 4);
});
