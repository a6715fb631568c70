import assert from 'node:assert/strict';
import { chown, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { Tokens, TooManyTokensError } from '../../../gateway/security/tokens.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';

async function open(context: TestContext): Promise<{
  tokens: Tokens;
  folder: string;
  clock: ManualClock;
}> {
  const folder = join(await temporaryFolder(context), 'access');
  const clock = new ManualClock();
  return { tokens: await Tokens.open({ folder, clock }), folder, clock };
}

test('the first start makes a token, the second none', async (context) => {
  const { tokens, folder, clock } = await open(context);
  const token = await tokens.createFirstToken();
  assert.match(token ?? '', /^hg_[\w-]{43}$/);
  assert.equal(await tokens.checkToken(token ?? ''), true);
  const again = await Tokens.open({ folder, clock });
  assert.equal(await again.createFirstToken(), null);
  assert.equal(await again.checkToken(token ?? ''), true);
});

test('what is not a token is none', async (context) => {
  const { tokens, folder } = await open(context);
  const token = (await tokens.createFirstToken()) ?? '';
  const [hash = ''] = await readdir(join(folder, 'tokens'));
  for (const wrong of ['', token.slice(0, -1), `${token}x`, token.toLowerCase(), hash, '../x']) {
    assert.equal(await tokens.checkToken(wrong), false, wrong);
  }
});

test('no secret is on the disk, and nobody else may read what is', async (context) => {
  const { tokens, folder } = await open(context);
  const secrets = [
    (await tokens.createFirstToken()) ?? '',
    await tokens.createLoginCode(),
    (await tokens.createSession()).secret,
  ];
  for (const kind of ['tokens', 'codes', 'sessions']) {
    assert.equal((await stat(join(folder, kind))).mode & 0o777, 0o700);
    const names = await readdir(join(folder, kind));
    assert.equal(names.length, 1);
    for (const name of names) {
      assert.equal((await stat(join(folder, kind, name))).mode & 0o777, 0o600);
      const text = name + (await readFile(join(folder, kind, name), 'utf8'));
      for (const secret of secrets) assert.ok(!text.includes(secret.slice(-20)));
    }
  }
});

test('a token made by another process counts at once, and a revoked one no more', async (context) => {
  const { tokens, folder, clock } = await open(context);
  const elsewhere = await Tokens.open({ folder, clock });
  const token = await elsewhere.createToken();
  const { secret } = await tokens.createSession();
  assert.equal(await tokens.checkToken(token), true);
  assert.equal(await elsewhere.revokeAll(), 1);
  assert.equal(await tokens.checkToken(token), false);
  assert.equal(await tokens.checkSession(secret), false);
});

test('a login code is good once, whoever is quicker', async (context) => {
  const { tokens, folder, clock } = await open(context);
  const elsewhere = await Tokens.open({ folder, clock });
  const code = await tokens.createLoginCode();
  const outcomes = await Promise.all(
    Array.from({ length: 8 }, (_, i) => (i % 2 === 0 ? tokens : elsewhere).redeemLoginCode(code)),
  );
  assert.equal(outcomes.filter(Boolean).length, 1);
  assert.equal(await tokens.redeemLoginCode(code), false);
});

test('a login code is good for 15 minutes', async (context) => {
  const { tokens, clock } = await open(context);
  const [early, late] = [await tokens.createLoginCode(), await tokens.createLoginCode()];
  clock.advance(15 * 60_000 - 1);
  assert.equal(await tokens.redeemLoginCode(early), true);
  clock.advance(1);
  assert.equal(await tokens.redeemLoginCode(late), false);
});

test('a session outlives a restart and ends after 7 days or at logout', async (context) => {
  const { tokens, folder, clock } = await open(context);
  const [first, second] = [await tokens.createSession(), await tokens.createSession()];
  const again = await Tokens.open({ folder, clock });
  assert.equal(await again.checkSession(first.secret), true);
  await again.endSession(first.secret);
  await again.endSession(first.secret);
  assert.equal(await tokens.checkSession(first.secret), false);
  assert.equal(first.lifeMs, 7 * 24 * 3_600_000);
  clock.advance(first.lifeMs);
  assert.equal(await tokens.checkSession(second.secret), false);
});

test('tokens past 64 are refused; of sessions past 256 the oldest ends', async (context) => {
  const { tokens, clock } = await open(context);
  for (let i = 0; i < 64; i++) await tokens.createToken();
  await assert.rejects(tokens.createToken(), TooManyTokensError);
  const sessions: string[] = [];
  for (let i = 0; i < 257; i++) {
    clock.advance(1);
    sessions.push((await tokens.createSession()).secret);
  }
  assert.equal(await tokens.checkSession(sessions[0]!), false);
  assert.equal(await tokens.checkSession(sessions[1]!), true);
  assert.equal(await tokens.checkSession(sessions[256]!), true);
});

test('rubbish in the folder lets nobody in and stops nobody', async (context) => {
  const { tokens, folder } = await open(context);
  const token = await tokens.createToken();
  const [hash = ''] = await readdir(join(folder, 'tokens'));
  for (const rubbish of [
    '',
    '{',
    '[]',
    'null',
    '{"createdMs":"x","expiresMs":null}',
    '\0'.repeat(99),
  ]) {
    await writeFile(join(folder, 'tokens', hash), rubbish);
    assert.equal(await tokens.checkToken(token), false, rubbish);
  }
  await writeFile(join(folder, 'tokens', 'notes.txt'), 'mine');
  const other = await tokens.createToken();
  assert.equal(await tokens.checkToken(other), true);
});

test('what root makes in the folder of another user is for that user to read', async (t) => {
  if (userInfo().uid !== 0) {
    t.skip('only root can make files for others');
    return;
  }
  const folder = await temporaryFolder(t);
  const clock = new ManualClock();
  const tokens = await Tokens.open({ folder, clock });
  await chown(folder, 12_345, 12_345);
  await tokens.createToken();
  const [name = ''] = await readdir(join(folder, 'tokens'));
  const { uid, gid, mode } = await stat(join(folder, 'tokens', name));
  assert.deepEqual([uid, gid, mode & 0o777], [12_345, 12_345, 0o600]);
});
