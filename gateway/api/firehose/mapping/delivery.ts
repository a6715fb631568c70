/**
 * A delivery stream as the delivery that it is here. What it was asked for becomes what one would
 * write for it in `deliveries` of the configuration, and goes through the same checks: so nothing is
 * understood in two ways, and what can't be had is refused with a sentence.
 */
import { configSchema } from '../../../config/schema.ts';
import type { DeliveryOptions } from '../../../forward/options.ts';
import { invalid } from '../errors.ts';
import type { MadeStream } from '../kept-streams.ts';
import { backupFields, failedFields } from './backup.ts';
import { httpEndpointOptions } from './http-endpoint.ts';
import type { Places } from './places.ts';
import { redshiftOptions } from './redshift.ts';
import { extendedS3Options } from './s3.ts';
import { searchOptions } from './search.ts';
import { splunkOptions } from './splunk.ts';

/** What is written in the configuration of a delivery, but for its source. */
export type DeliveryFields = Readonly<Record<string, unknown>> & { readonly to: object };

export interface Mapped {
  readonly name: string;
  readonly arn: string;
  readonly made: MadeStream;
  readonly places: Places;
}

/** @throws FirehoseError `InvalidArgumentException` */
export function deliveryOf({ name, arn, made, places }: Mapped): DeliveryOptions {
  if (made.lostSecrets) {
    throw invalid(
      'Its secret was kept by another gateway, and has to be given again (UpdateDestination).',
    );
  }
  const fields = {
    from: { stream: made.stream },
    // As the service does: of a stream that is read, what comes from now on.
    startAt: made.type === 'DirectPut' ? 'earliest' : 'latest',
    ...destinationFields(made, arn, places),
    ...backupFields(made.destination, places),
    ...failedFields(made.destination, places),
  };
  const config = configSchema.safeParse({
    streams: { [made.stream]: {} },
    deliveries: { [name]: fields },
  });
  if (!config.success) throw invalid(config.error.issues.map(sentenceOf).join(' '));
  const delivery = config.data.deliveries[name];
  if (delivery === undefined) throw new Error('a delivery without options');
  const { layout, backup, failed } = delivery;
  // As the service names them, wherever the records lie.
  const objectName = name;
  return {
    ...{ name, ...delivery, version: made.version },
    layout: { ...layout, objectName },
    backup: backup && { ...backup, layout: { ...backup.layout, objectName } },
    failed: failed && { ...failed, layout: { ...failed.layout, objectName } },
  };
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

interface Issue {
  readonly code?: string;
  readonly path: readonly PropertyKey[];
  readonly message: string;
}

/** Without values: they may be secrets. */
function sentenceOf({ path, message }: Issue): string {
  const [section, , ...key] = path.map(String);
  const where = section === 'deliveries' ? key.join('.') : path.map(String).join('.');
  return `The delivery that it would be is not possible here: ${where}: ${message}.`;
}
