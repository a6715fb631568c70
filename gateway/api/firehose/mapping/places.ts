/** Where delivery streams may send: what the configuration lists, and nowhere else, whoever asks. */
import type { FirehoseConfig } from '../../../config/firehose.ts';
import type { Destination } from '../../../forward/options.ts';
import { refusal } from './refusal.ts';

/** Of the configuration. */
export type Places = Pick<FirehoseConfig, 'allowed' | 's3' | 'lambda' | 'opensearch'>;

/** @throws Refusal for one that is not allowed, or no bucket */
export function allowedBucket(arn: string, { allowed }: Places): string {
  const name = bucketOf(arn);
  if (name === null) throw refusal('BucketARN', `${arn} is not the ARN of a bucket.`);
  if (allowed.buckets.includes(name)) return name;
  throw refusal(
    'BucketARN',
    `The bucket ${name} is not among those that the gateway may write to (firehose.allowed.buckets).`,
  );
}

/** Its name; null: it is no ARN of a bucket. */
export function bucketOf(arn: string): string | null {
  return /^arn:[a-z-]+:s3:::([a-zA-Z0-9._-]{1,255})$/.exec(arn)?.[1] ?? null;
}

/** As it is shown where nothing may be sent there: without what lets us in. */
export function bucketPlace(arn: string, { s3 }: Places): Extract<Destination, { s3: unknown }> {
  const { region, endpoint } = s3;
  return { s3: { bucket: bucketOf(arn) ?? arn, region, endpoint } };
}

/**
 * @param member which has it
 * @param address such as `https://logs.example.net:8088/services`
 * @throws Refusal for one that is not allowed, or no address
 */
export function allowedAddress(member: string, address: string, places: Places): string {
  if (!URL.canParse(address)) throw refusal(member, `${address} is not a URL.`);
  const { protocol, hostname, port, username, password } = new URL(address);
  if (protocol !== 'https:' && protocol !== 'http:') {
    throw refusal(member, `${address} is not a URL of HTTPS.`);
  }
  if (username !== '' || password !== '') {
    throw refusal(member, 'A URL has no user and no password here.');
  }
  const listened = port === '' ? (protocol === 'https:' ? 443 : 80) : Number(port);
  checkHost(member, hostname, listened, places);
  return address;
}

/** @throws Refusal */
export function checkHost(member: string, host: string, port: number, { allowed }: Places): void {
  const name = host.toLowerCase();
  const isAllowed = allowed.hosts.some((entry) => {
    const [listed = '', listedPort] = entry.toLowerCase().split(':');
    return listed === name && (listedPort === undefined || Number(listedPort) === port);
  });
  if (isAllowed) return;
  throw refusal(
    member,
    `${name}:${port} is not among the hosts that the gateway may send to (firehose.allowed.hosts).`,
  );
}

/** Its name; null: it is no ARN of a Lambda function. */
export function functionOf(arn: string): string | null {
  const pattern =
    /^arn:[a-z-]+:lambda:[a-z0-9-]+:\d{12}:function:([\w-]{1,140})(?::[\w$-]{1,128})?$/;
  return pattern.exec(arn)?.[1] ?? null;
}

/**
 * @param member which has it
 * @param arn of a Lambda function, perhaps with a version or an alias
 * @throws Refusal for one that is not allowed, or no function
 */
export function allowedFunction(member: string, arn: string, { allowed }: Places): string {
  const name = functionOf(arn);
  if (name === null) throw refusal(member, `${arn} is not the ARN of a Lambda function.`);
  if (allowed.functions.includes(name)) return arn;
  throw refusal(
    member,
    `The function ${name} is not among those that the gateway may call (firehose.allowed.functions).`,
  );
}
