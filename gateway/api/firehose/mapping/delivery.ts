/**
 * A delivery stream as the delivery that it is here. What it was asked for becomes what one would
 * write for it in `deliveries` of the configuration, and goes through the same checks: so nothing is
 * understood in two ways, and what can't be had is refused with a sentence.
 */
import type { z } from 'zod';
import { configSchema } from '../../../config/schema.ts';
import { configTree, nodeAt, type KeyPath } from '../../../config/tree.ts';
import type { DeliveryOptions, FailedOptions } from '../../../forward/options.ts';
import type { DestinationKind } from '../destination-shapes.ts';
import { invalid } from '../errors.ts';
import type { MadeStream } from '../kept-streams.ts';
import { backupFields, failedBucket, failedBucketProblem, failedFields } from './backup.ts';
import { httpEndpointOptions } from './http-endpoint.ts';
import { bucketPlace, type Places } from './places.ts';
import { joined, Refusal, type MemberProblem } from './refusal.ts';
import { redshiftOptions } from './redshift.ts';
import { extendedS3Options } from './s3.ts';
import { searchOptions } from './search.ts';
import { splunkOptions } from './splunk.ts';
import { inMembers, memberOf } from './words.ts';

/** What is written in the configuration of a delivery, but for its source. */
export type DeliveryFields = Readonly<Record<string, unknown>> & { readonly to: object };

export interface Mapped {
  readonly name: string;
  readonly arn: string;
  readonly made: MadeStream;
  readonly places: Places;
  /** The member of the request that has the destination; undefined: as it was made. */
  readonly asked?: string | undefined;
}

/** @throws FirehoseError `InvalidArgumentException` */
export function deliveryOf(mapped: Mapped): DeliveryOptions {
  const { made, asked = memberAskedFor(made) } = mapped;
  if (made.lostSecrets) {
    throw invalid(
      'Its secret was kept by another gateway, and has to be given again (UpdateDestination).',
    );
  }
  return answering(asked, () => mappedDelivery(mapped));
}

/**
 * Does what may refuse a destination, and answers in members of the request.
 * @param asked the member that has the destination
 * @throws FirehoseError `InvalidArgumentException`
 */
export function answering<T>(asked: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    const sentences = error.problems.map(
      ({ member, message }) => `${joined(asked, member)}: ${message}`,
    );
    throw invalid((asked.endsWith('Update') ? sentences.map(ofUpdate) : sentences).join(' '));
  }
}

/** Where a destination stands when it is made. */
export function memberAskedFor({ destination }: MadeStream): string {
  return `${destination.kind}DestinationConfiguration`;
}

/** Where it begins: as the service does, of a stream that is read with what comes from now on. */
export function startAtOf({ type }: MadeStream): 'earliest' | 'latest' {
  return type === 'DirectPut' ? 'earliest' : 'latest';
}

/** Buckets within a destination are called otherwise there. */
function ofUpdate(sentence: string): string {
  return sentence.replace(/\b(S3|S3Backup)Configuration\b/g, '$1Update');
}

/** @throws Refusal */
function mappedDelivery({ name, arn, made, places }: Mapped): DeliveryOptions {
  const fields = {
    from: { stream: made.stream },
    startAt: startAtOf(made),
    ...destinationFields(made, arn, places),
    ...backupFields(made.destination, places),
    ...failedFields(made.destination, places),
  };
  const config = configSchema.safeParse({
    streams: { [made.stream]: {} },
    deliveries: { [name]: fields },
  });
  if (!config.success) {
    throw new Refusal(config.error.issues.map((issue) => problemOf(made.destination.kind, issue)));
  }
  const delivery = config.data.deliveries[name];
  if (delivery === undefined) throw new Error('a delivery without options');
  const { layout, backup, failed } = delivery;
  // As the service names them, wherever the records lie.
  const objectName = name;
  return {
    ...{ name, ...delivery, version: made.version, origin: 'firehose' },
    layout: { ...layout, objectName },
    backup: backup && { ...backup, layout: { ...backup.layout, objectName } },
    failed:
      withheldFailed(made, places) ??
      (failed && { ...failed, layout: { ...failed.layout, objectName } }),
  };
}

/** null: the bucket for what fails is possible, or there is none. */
function withheldFailed({ destination }: MadeStream, places: Places): FailedOptions | null {
  const bucket = failedBucket(destination);
  const problem = failedBucketProblem(destination, places);
  if (bucket === undefined || problem === null) return null;
  return { to: bucketPlace(bucket.BucketARN, places), withheld: problem };
}

function destinationFields(
  { destination }: MadeStream,
  arn: string,
  places: Places,
): DeliveryFields {
  switch (destination.kind) {
    case 'S3':
    case 'ExtendedS3':
      return extendedS3Options(destination.configuration, places);
    case 'HttpEndpoint':
      return httpEndpointOptions(destination.configuration, arn, places);
    case 'Splunk':
      return splunkOptions(destination.configuration, places);
    case 'Amazonopensearchservice':
    case 'Elasticsearch':
      return searchOptions(destination.configuration, places);
    case 'Redshift':
      return redshiftOptions(destination.configuration, places);
  }
}

/** Without values: they may be secrets. */
function problemOf(kind: DestinationKind, issue: z.core.$ZodIssue): MemberProblem {
  const path: KeyPath = issue.path.map((part) => (typeof part === 'number' ? part : String(part)));
  // deliveries.<name>, and then what was asked for.
  const member = memberOf(kind, path.slice(2).map(String));
  const isRule = issue.code === 'custom' && issue.params !== undefined;
  const allowed = isRule ? allowedBy(issue.params) : (nodeAt(configTree, path)?.allowed ?? null);
  const message = isRule ? issue.message : 'is not allowed';
  // What is null in a configuration is left out here.
  const words = allowed?.replace(/, or null$/, '') ?? null;
  const sentence = `${message}.${words === null ? '' : ` Allowed: ${words}.`}`;
  return { member, message: inMembers(kind, sentence) };
}

function allowedBy({ allowed }: Readonly<Record<string, unknown>> = {}): string | null {
  return typeof allowed === 'string' ? allowed : null;
}
