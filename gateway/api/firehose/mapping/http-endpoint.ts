/** `HttpEndpointDestinationConfiguration`. */
import type { Configuration } from '../destination-shapes.ts';
import { bufferOf } from './buffering.ts';
import { batchFields } from './batches.ts';
import type { DeliveryFields } from './delivery.ts';
import { allowedAddress, type Places } from './places.ts';

const buffer = { SizeInMBs: 5, IntervalInSeconds: 300 };
const retrySeconds = 300;

/**
 * @param arn of the delivery stream, which endpoints are told
 * @throws Refusal
 */
export function httpEndpointOptions(
  given: Configuration<'HttpEndpoint'>,
  arn: string,
  places: Places,
): DeliveryFields {
  const { Url, AccessKey } = given.EndpointConfiguration;
  const { ContentEncoding, CommonAttributes = [] } = given.RequestConfiguration ?? {};
  return {
    to: {
      http: {
        url: allowedAddress('EndpointConfiguration.Url', Url, places),
        sourceArn: arn,
        compression: ContentEncoding === 'GZIP' ? 'gzip' : 'none',
        commonAttributes: Object.fromEntries(
          CommonAttributes.map(({ AttributeName, AttributeValue }) => [
            AttributeName,
            AttributeValue,
          ]),
        ),
        ...(AccessKey === undefined || AccessKey === '' ? {} : { accessKey: AccessKey }),
      },
    },
    buffer: bufferOf(given.BufferingHints, buffer),
    ...batchFields(given, retrySeconds, places),
  };
}
