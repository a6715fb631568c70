/** The members that several operations have in common, with the limits of the service model. */
import { choice, list, optional, required, structure, text, type Shape } from '../aws/shapes.ts';

export const deliveryStreamName = text({ pattern: '[a-zA-Z0-9_.-]+', min: 1, max: 64 });
export const versionId = text({ pattern: '[0-9]+', min: 1, max: 50 });
export const destinationId = text({ pattern: '[a-zA-Z0-9-]+', min: 1, max: 100 });
export const arn = text({ pattern: 'arn:.*', min: 1, max: 512 });
export const deliveryStreamType = choice([
  ...(['DirectPut', 'KinesisStreamAsSource', 'MSKAsSource', 'DatabaseAsSource'] as const),
]);

export const tagKey = text({
  pattern: '(?!aws:)[\\p{L}\\p{Z}\\p{N}_.:/=+\\-@%]*',
  ...{ min: 1, max: 128 },
});
export const tags = list(
  structure({
    Key: required(tagKey),
    Value: optional(text({ pattern: '[\\p{L}\\p{Z}\\p{N}_.:/=+\\-@%]*', max: 256 })),
  }),
  { min: 1, max: 50, shownMember: 'Tag' },
);

/** A server-side key; the box encrypts with its own, and keeps what was asked for. */
export const encryptionInput = structure({
  KeyARN: optional(arn),
  KeyType: required(choice(['AWS_OWNED_CMK', 'CUSTOMER_MANAGED_CMK'])),
});

/** What is not looked into: it is refused, or kept as it came. */
export const whatever: Shape<unknown> = {
  parse: (value) => value,
  constrain: () => undefined,
};

export const target = { DeliveryStreamName: required(deliveryStreamName) };
