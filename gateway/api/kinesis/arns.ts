/** The names of streams and consumers as AWS writes them (IAM service authorization reference). */
import type { Account } from '../aws/account.ts';

const streamPattern =
  /^arn:aws[a-z-]*:kinesis:([a-z0-9-]*):(\d{12}):stream\/([a-zA-Z0-9_.-]{1,128})$/;
const consumerPattern =
  /^(arn:aws[a-z-]*:kinesis:[a-z0-9-]*:\d{12}:stream\/[a-zA-Z0-9_.-]{1,128})\/consumer\/([a-zA-Z0-9_.-]{1,128}):(\d{1,15})$/;

export function streamArn({ region, accountId }: Account, name: string): string {
  return `arn:aws:kinesis:${region}:${accountId}:stream/${name}`;
}

/** @param keyId as it was given: an ARN, an alias, or the id of a key */
export function keyArn({ region, accountId }: Account, keyId: string): string {
  if (keyId.startsWith('arn:')) return keyId;
  const resource = keyId.startsWith('alias/') ? keyId : `key/${keyId}`;
  return `arn:aws:kms:${region}:${accountId}:${resource}`;
}

/** @param createdMs when the consumer was registered; the ARN has whole seconds */
export function consumerArn(stream: string, name: string, createdMs: number): string {
  return `${stream}/consumer/${name}:${Math.floor(createdMs / 1000)}`;
}

export interface ParsedStreamArn extends Account {
  readonly name: string;
}

/** null: it is not the ARN of a stream. */
export function parseStreamArn(arn: string): ParsedStreamArn | null {
  const match = streamPattern.exec(arn);
  if (match === null) return null;
  const [, region = '', accountId = '', name = ''] = match;
  return { region, accountId, name };
}

export interface ParsedConsumerArn {
  readonly stream: ParsedStreamArn;
  readonly name: string;
  readonly createdSeconds: number;
}

/** null: it is not the ARN of a consumer. */
export function parseConsumerArn(arn: string): ParsedConsumerArn | null {
  const match = consumerPattern.exec(arn);
  const stream = parseStreamArn(match?.[1] ?? '');
  if (match === null || stream === null) return null;
  return { stream, name: match[2] ?? '', createdSeconds: Number(match[3]) };
}
