/** The clients that people have for Kinesis Video and Firehose, each asked in the same words. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import type { TestContext } from 'node:test';
import { promisify } from 'node:util';
import * as firehose from '@aws-sdk/client-firehose';
import * as control from '@aws-sdk/client-kinesis-video';
import * as archived from '@aws-sdk/client-kinesis-video-archived-media';
import * as live from '@aws-sdk/client-kinesis-video-media';
import { type Child, startChild } from '../../support/child.ts';

/** An answer as JSON has it; media in base64 under `Payload`, instants as each client writes them. */
export type Answer = Readonly<Record<string, unknown>>;

export interface Client {
  /** Names of the operations that it was asked for and that succeeded. */
  readonly succeeded: ReadonlySet<string>;
  /** Rejects with an error that has the name of what the service answered. */
  ask<T = Answer>(operation: string, input: object): Promise<T>;
}

export interface ClientOptions {
  readonly url: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

export const region = 'us-east-1';

type Ask = (operation: string, input: object) => Promise<unknown>;

function clientOf(ask: Ask): Client {
  const succeeded = new Set<string>();
  return {
    succeeded,
    ask: async <T>(operation: string, input: object) => {
      const answer = await ask(operation, input);
      succeeded.add(operation);
      return answer as T;
    },
  };
}

type Commands = Readonly<Record<string, new (input: object) => object>>;

const services = {
  kinesisvideo: control,
  'kinesis-video-archived-media': archived,
  'kinesis-video-media': live,
  firehose,
} as const;

function serviceOf(operation: string): keyof typeof services {
  for (const [name, sdk] of Object.entries(services)) {
    if (`${operation}Command` in sdk) return name as keyof typeof services;
  }
  throw new Error(`no service has ${operation}`);
}

/** The JavaScript SDK. */
export function javaScriptSdk(t: TestContext, options: ClientOptions): Client {
  const { url: endpoint, ...credentials } = options;
  const common = { region, endpoint, credentials, maxAttempts: 1 };
  const clients = {
    kinesisvideo: new control.KinesisVideoClient(common),
    'kinesis-video-archived-media': new archived.KinesisVideoArchivedMediaClient(common),
    'kinesis-video-media': new live.KinesisVideoMediaClient(common),
    firehose: new firehose.FirehoseClient(common),
  };
  t.after(() => {
    for (const client of Object.values(clients)) client.destroy();
  });
  return clientOf(async (operation, input) => {
    const service = serviceOf(operation);
    const Command = (services[service] as unknown as Commands)[`${operation}Command`];
    if (Command === undefined) throw new Error(`no command for ${operation}`);
    const client = clients[service] as { send(command: object): Promise<Answer> };
    const { Payload, ...rest } = await client.send(new Command(withTypes(input)));
    if (Payload === undefined) return rest;
    const media = await readMedia(Payload as Readable, operation === 'GetMedia');
    return { ...rest, Payload: media.toString('base64') };
  });
}

/** Live media have no end: as much as `clients.py` reads of them, and what came with that. */
async function readMedia(payload: Readable, isLive: boolean): Promise<Buffer> {
  let media = Buffer.alloc(0);
  for await (const part of payload) {
    media = Buffer.concat([media, part as Buffer]);
    const tokens = media.toString('latin1').match(/AWS_KINESISVIDEO_CONTINUATION_TOKEN/g);
    if (isLive && (tokens?.length ?? 0) >= 2) break;
  }
  payload.destroy();
  return media;
}

/** Members that are instants or bytes, as this SDK takes them. */
function withTypes(input: object): object {
  return JSON.parse(JSON.stringify(input), (key, value: unknown) => {
    if (key === 'Data') return Buffer.from(String(value), 'base64');
    return key.endsWith('Timestamp') ? new Date(String(value)) : value;
  }) as object;
}

/** A Python that has a module; null: none has. */
async function pythonWith(module: string): Promise<string | null> {
  for (const name of ['python3', '/usr/bin/python3']) {
    const found = await promisify(execFile)(name, ['-c', `import ${module}`]).then(
      () => name,
      () => null,
    );
    if (found !== null) return found;
  }
  return null;
}

/** boto3 or awscli in a process of its own; null: it is not on this machine. */
export async function pythonClient(
  t: TestContext,
  name: 'boto3' | 'awscli',
  options: ClientOptions,
): Promise<Client | null> {
  const python = await pythonWith(name);
  if (python === null) return null;
  const script = join(import.meta.dirname, 'clients.py');
  const child = startChild(t, python, [script, name, options.url], {
    env: {
      ...process.env,
      AWS_ACCESS_KEY_ID: options.accessKeyId,
      AWS_SECRET_ACCESS_KEY: options.secretAccessKey,
      AWS_DEFAULT_REGION: region,
      AWS_EC2_METADATA_DISABLED: 'true',
      AWS_CONFIG_FILE: '/dev/null',
      AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
      AWS_PAGER: '',
      AWS_MAX_ATTEMPTS: '1',
    },
  });
  return clientOf((operation, input) => askChild(child, operation, input));
}

async function askChild(child: Child, operation: string, input: object): Promise<unknown> {
  const asked = { service: serviceOf(operation), operation, input };
  const known = child.lines.length;
  child.process.stdin?.write(`${JSON.stringify(asked)}\n`);
  const isAnswer = (line: string): boolean => /^\{"(answer|error)":/.test(line);
  let line: string | undefined;
  while ((line = child.lines.slice(known).find(isAnswer)) === undefined) await child.next();
  const told = JSON.parse(line) as { answer: Answer } | { error: string };
  if ('error' in told) throw Object.assign(new Error(told.error), { name: told.error });
  return told.answer;
}
