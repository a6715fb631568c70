/** `AmazonopensearchserviceDestinationConfiguration`, and the older one of Elasticsearch. */
import type { Configuration } from '../destination-shapes.ts';
import { batchFields } from './batches.ts';
import { bufferOf } from './buffering.ts';
import type { DeliveryFields } from './delivery.ts';
import { allowedAddress, type Places } from './places.ts';
import { refusal } from './refusal.ts';

const buffer = { SizeInMBs: 5, IntervalInSeconds: 300 };
const retrySeconds = 300;

const rotations = {
  NoRotation: 'none',
  OneHour: 'hour',
  OneDay: 'day',
  OneWeek: 'week',
  OneMonth: 'month',
} as const;

/** @throws Refusal */
export function searchOptions(
  given: Configuration<'Amazonopensearchservice'>,
  places: Places,
): DeliveryFields {
  const { ClusterEndpoint, IndexName, IndexRotationPeriod = 'OneDay', TypeName } = given;
  if (ClusterEndpoint === undefined) {
    const message = 'is needed: a DomainARN alone does not say where the domain is.';
    throw refusal('ClusterEndpoint', message);
  }
  if (given.VpcConfiguration !== undefined) {
    throw refusal('VpcConfiguration', 'There is no VPC here: leave it out.');
  }
  if (TypeName !== undefined && TypeName !== '' && TypeName !== '_doc') {
    throw refusal('TypeName', 'Indexes have no types any more: leave it out.');
  }
  const keepsIds = given.DocumentIdOptions?.DefaultDocumentIdFormat !== 'NO_DOCUMENT_ID';
  return {
    to: {
      opensearch: {
        endpoint: allowedAddress('ClusterEndpoint', ClusterEndpoint, places),
        index: IndexName,
        rotation: rotations[IndexRotationPeriod],
        documentId: keepsIds ? 'record' : 'none',
        ...signing(places),
      },
    },
    buffer: bufferOf(given.BufferingHints, buffer),
    ...batchFields(given, retrySeconds, places),
  };
}

/** By the key that the configuration has for all domains. */
function signing({ opensearch }: Places): object {
  return opensearch.accessKeyId === null ? {} : { service: 'es', ...opensearch };
}
