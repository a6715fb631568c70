/** `SplunkDestinationConfiguration`. */
import type { Configuration } from '../destination-shapes.ts';
import { batchFields } from './batches.ts';
import { bufferOf } from './buffering.ts';
import type { DeliveryFields } from './delivery.ts';
import { allowedAddress, type Places } from './places.ts';
import { refusal } from './refusal.ts';

const buffer = { SizeInMBs: 5, IntervalInSeconds: 60 };
const retrySeconds = 300;
const ackTimeoutSeconds = 180;

/** @throws Refusal */
export function splunkOptions(given: Configuration<'Splunk'>, places: Places): DeliveryFields {
  const { HECEndpoint, HECEndpointType, HECToken, HECAcknowledgmentTimeoutInSeconds } = given;
  if (HECToken === undefined || HECToken === '') throw refusal('HECToken', 'is needed.');
  return {
    to: {
      splunk: {
        endpoint: allowedAddress('HECEndpoint', HECEndpoint, places),
        token: HECToken,
        mode: HECEndpointType === 'Raw' ? 'raw' : 'event',
        ackTimeoutSeconds: HECAcknowledgmentTimeoutInSeconds ?? ackTimeoutSeconds,
      },
    },
    buffer: bufferOf(given.BufferingHints, buffer),
    ...batchFields(given, retrySeconds, places),
  };
}
