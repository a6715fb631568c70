/**
 * StartDeliveryStreamEncryption and StopDeliveryStreamEncryption. What is put is encrypted on disk in
 * any case, with keys of the gateway's own; which key was asked for is kept and shown.
 */
import { optional, structure, type Described } from '../../aws/shapes.ts';
import type { DeliveryStream } from '../delivery-streams.ts';
import { FirehoseError, invalid } from '../errors.ts';
import type { KeptStream } from '../kept-streams.ts';
import { encryptionInput, target } from '../members.ts';
import { defineOperation, ownStream } from '../operation.ts';

type Encryption = NonNullable<KeptStream['encryption']>;

const keyArn = /^arn:[a-z-]+:kms:[a-z0-9-]+:\d{12}:key\/[\w-]+$/;

export const startDeliveryStreamEncryption = defineOperation({
  name: 'StartDeliveryStreamEncryption',
  input: structure({
    ...target,
    DeliveryStreamEncryptionConfigurationInput: optional(encryptionInput),
  }),
  resources: ownStream,
  async run({ DeliveryStreamName, DeliveryStreamEncryptionConfigurationInput: given }, context) {
    const { streams, log } = context;
    const encryption = encryptionOf(given ?? { KeyType: 'AWS_OWNED_CMK' });
    await streams.change(DeliveryStreamName, (stream) => {
      checkDirect(stream);
      return { encryption };
    });
    const { source } = streams.known(DeliveryStreamName);
    await log.updateStream(source, { encryption: 'aes-256-gcm' });
    return {};
  },
});

export const stopDeliveryStreamEncryption = defineOperation({
  name: 'StopDeliveryStreamEncryption',
  input: structure(target),
  resources: ownStream,
  async run({ DeliveryStreamName }, { streams }) {
    await streams.change(DeliveryStreamName, (stream) => {
      checkDirect(stream);
      return { encryption: null };
    });
    return {};
  },
});

/** @throws FirehoseError `InvalidArgumentException`, `InvalidKMSResourceException` */
export function encryptionOf({
  KeyType: keyType,
  KeyARN,
}: Described<typeof encryptionInput>): Encryption {
  if (keyType === 'AWS_OWNED_CMK') {
    if (KeyARN === undefined) return { keyType, keyArn: null };
    throw invalid('A KeyARN is given with the key type CUSTOMER_MANAGED_CMK only.');
  }
  if (KeyARN === undefined) {
    throw invalid('A KeyARN is needed with the key type CUSTOMER_MANAGED_CMK.');
  }
  if (keyArn.test(KeyARN)) return { keyType, keyArn: KeyARN };
  throw new FirehoseError('InvalidKMSResourceException', `${KeyARN} is not the ARN of a key.`);
}

function checkDirect({ type }: DeliveryStream): void {
  if (type === 'DirectPut') return;
  throw invalid('This operation is not permitted on KinesisStreamAsSource delivery stream type.');
}
