/** What tests of delivery streams ask for in the same words. */
import type { Client } from '../aws/clients.ts';

export const role = 'arn:aws:iam::000000000000:role/firehose';

/** What DescribeDeliveryStream tells. */
export interface Described<Destination> {
  readonly DeliveryStreamDescription: {
    readonly DeliveryStreamStatus: string;
    readonly Destinations: readonly [Destination];
  };
}

/** Makes a delivery stream, and waits until it takes records. */
export async function createDeliveryStream<Destination = object>(
  client: Client,
  DeliveryStreamName: string,
  destination: object,
): Promise<Destination> {
  await client.ask('CreateDeliveryStream', { DeliveryStreamName, ...destination });
  for (;;) {
    const { DeliveryStreamDescription } = await client.ask<Described<Destination>>(
      'DescribeDeliveryStream',
      { DeliveryStreamName },
    );
    const { DeliveryStreamStatus, Destinations } = DeliveryStreamDescription;
    if (DeliveryStreamStatus === 'ACTIVE') return Destinations[0];
  }
}

export async function putRecords(
  client: Client,
  DeliveryStreamName: string,
  texts: readonly string[],
): Promise<void> {
  const Records = texts.map((text) => ({ Data: Buffer.from(text).toString('base64') }));
  await client.ask('PutRecordBatch', { DeliveryStreamName, Records });
}

export function processor(Type: string, parameters: Readonly<Record<string, string>>): object {
  return {
    Type,
    Parameters: Object.entries(parameters).map(([ParameterName, ParameterValue]) => ({
      ...{ ParameterName, ParameterValue },
    })),
  };
}
