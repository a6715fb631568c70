import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdir, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import type { Config } from '../../../gateway/config/schema.ts';
import { createAwsAuthenticator } from '../../../gateway/security/aws-authenticator.ts';
import { openMasterKey } from '../../../gateway/security/master-key.ts';
import { StorageError } from '../../../storage/errors.ts';
import { localMasterKey, type MasterKey } from '../../../storage/keys.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { credentials } from './signing.ts';

const noKms: Config['encryption']['kms'] = {
  ...{ keyId: null, region: null, endpoint: null, accessKeyId: null, secretAccessKey: null },
};
const clock = new ManualClock(Date.UTC(2026, 10, 1));

function openIn(
  dataDir: string,
  encryption: Partial<Config['encryption']> = {},
): Promise<MasterKey> {
  const none = { masterKeyFile: null, masterKey: null, kms: noKms };
  const all = { ...none, previous: none, dataKeyDays: 90, ...encryption };
  return openMasterKey({ config: { dataDir, encryption: all }, clock, fetch });
}

const context = { purpose: 'test', scope: 'stream/1' };

test('the first start makes a master key that only its owner may read; the next ones use it', async (t) => {
  const folder = await temporaryFolder(t);
  const keys = await Promise.all(Array.from({ length: 8 }, () => openIn(folder)));
  assert.equal(new Set(keys.map(({ id }) => id)).size, 1, 'whoever came first made it');
  assert.deepEqual(await readdir(join(folder, 'access')), ['master.key']);
  assert.equal((await stat(join(folder, 'access', 'master.key'))).mode & 0o777, 0o600);
  const wrapped = await keys[0]!.wrap(Buffer.from('a data key'), context);
  assert.equal((await (await openIn(folder)).unwrap(wrapped, context)).toString(), 'a data key');
});

test('a file or the configuration can hold it', async (t) => {
  const folder = await temporaryFolder(t);
  const key = randomBytes(32);
  const path = join(folder, 'key');
  await writeFile(path, `${key.toString('base64')}\n`);
  const { id } = localMasterKey(key);
  assert.equal((await openIn(folder, { masterKeyFile: path })).id, id);
  assert.equal((await openIn(folder, { masterKey: key.toString('hex') })).id, id);
  assert.deepEqual(await readdir(folder), ['key'], 'no other is made');
});

test('a file that is missing or holds no key is refused, and left as it is', async (t) => {
  const folder = await temporaryFolder(t);
  const path = join(folder, 'key');
  await assert.rejects(
    openIn(folder, { masterKeyFile: path }),
    (error) => error instanceof StorageError && error.code === 'not-found',
  );
  for (const content of ['', 'short', '\0'.repeat(44)]) {
    await writeFile(path, content);
    await assert.rejects(openIn(folder, { masterKeyFile: path }), (error) => {
      assert.ok(error instanceof StorageError);
      assert.equal(error.code, 'wrong-key');
      assert.ok(error.message.includes(path) && !error.message.includes('short'));
      return true;
    });
  }
  await openIn(folder);
  await writeFile(join(folder, 'access', 'master.key'), 'torn');
  await assert.rejects(openIn(folder), { code: 'wrong-key' });
});

// ---------------------------------------------------------------- KMS

const keyId = 'arn:aws:kms:eu-central-1:000000000000:key/1';

interface Kms {
  readonly endpoint: string;
  /** What it answers instead, for a while. */
  answer: { readonly status: number; readonly body: string } | null;
}

/** A key service that checks signatures, wraps with a key of its own, and holds the context. */
async function startKms(t: TestContext): Promise<Kms> {
  const inside = localMasterKey(Buffer.alloc(32, 9));
  const authenticator = createAwsAuthenticator({
    mode: 'sigv4',
    accountId: '000000000000',
    region: 'eu-central-1',
    keys: {
      find: (id) =>
        Promise.resolve(id === credentials.accessKeyId ? { name: 'box', ...credentials } : null),
    },
    clock,
  });
  interface Input {
    KeyId: string;
    Plaintext?: string;
    CiphertextBlob?: string;
    EncryptionContext: Record<string, string>;
  }
  const handle = async (target: string, input: Input): Promise<object> => {
    assert.equal(input.KeyId, keyId);
    if (target === 'TrentService.Encrypt') {
      const plain = Buffer.from(input.Plaintext ?? '', 'base64');
      const wrapped = await inside.wrap(plain, input.EncryptionContext);
      return { CiphertextBlob: wrapped.toString('base64'), KeyId: keyId };
    }
    const wrapped = Buffer.from(input.CiphertextBlob ?? '', 'base64');
    const plain = await inside.unwrap(wrapped, input.EncryptionContext).catch(() => null);
    if (plain === null) return { __type: 'InvalidCiphertextException' };
    return { Plaintext: plain.toString('base64'), KeyId: keyId };
  };
  const kms: { endpoint: string; answer: Kms['answer'] } = { endpoint: '', answer: null };
  const server = createServer((incoming, outgoing) => {
    const chunks: Buffer[] = [];
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
    incoming.on('end', () => {
      const body = Buffer.concat(chunks);
      const headers = new Headers(incoming.headers as Record<string, string>);
      const url = new URL(incoming.url ?? '/', kms.endpoint);
      const answered = authenticator
        .authenticate({ method: 'POST', url, headers, body }, 'kms')
        .then(() => handle(headers.get('x-amz-target') ?? '', JSON.parse(body.toString()) as Input))
        .catch((error: unknown) => ({
          __type: (error as { type?: string }).type ?? String(error),
        }));
      void answered.then((answer) => {
        const { status, body: text } = kms.answer ?? {
          status: '__type' in answer ? 400 : 200,
          body: JSON.stringify(answer),
        };
        outgoing.writeHead(status).end(text);
      });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  kms.endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  return kms;
}

test('KMS wraps and unwraps, bound to what the key is for', async (t) => {
  const kms = await startKms(t);
  const folder = await temporaryFolder(t);
  const settings = { ...noKms, keyId, endpoint: kms.endpoint, ...credentials };
  const key = await openIn(folder, { kms: settings });
  assert.equal(key.id, `kms:${keyId}`);
  assert.deepEqual(await readdir(folder), []);
  const wrapped = await key.wrap(Buffer.from('a data key'), context);
  assert.equal((await key.unwrap(wrapped, context)).toString(), 'a data key');
  await assert.rejects(key.unwrap(wrapped, { ...context, scope: 'stream/2' }), {
    code: 'wrong-key',
  });
});

test('what KMS refuses, and that it is not there, is told', async (t) => {
  const kms = await startKms(t);
  const folder = await temporaryFolder(t);
  const settings = { ...noKms, keyId, endpoint: kms.endpoint, ...credentials };
  const wrong = await openIn(folder, { kms: { ...settings, secretAccessKey: 'x' } });
  await assert.rejects(wrong.wrap(Buffer.from('k'), context), {
    ...{ code: 'key-unavailable', retryable: true },
    message: /refuses to encrypt with arn:aws:kms:.* \(InvalidSignatureException\)$/,
  });
  const key = await openIn(folder, { kms: settings });
  for (const [status, body, message] of [
    [400, '{"__type":"com.amazon.kms#DisabledException"}', /\(DisabledException\)$/],
    [500, '<html>', /\(status 500\)$/],
    [200, 'null', /\(status 200\)$/],
    [200, '{}', /has no CiphertextBlob/],
  ] as const) {
    kms.answer = { status, body };
    await assert.rejects(key.wrap(Buffer.from('k'), context), {
      ...{ code: 'key-unavailable', message },
    });
  }
  const nobody = createServer();
  await new Promise<void>((resolve) => nobody.listen(0, '127.0.0.1', resolve));
  const { port } = nobody.address() as AddressInfo;
  await new Promise((resolve) => nobody.close(resolve));
  const gone = await openIn(folder, {
    kms: { ...settings, endpoint: `http://127.0.0.1:${port}/` },
  });
  await assert.rejects(gone.wrap(Buffer.from('k'), context), {
    ...{ code: 'key-unavailable', message: /does not answer$/ },
  });
});
