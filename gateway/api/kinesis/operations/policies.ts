/** Policies that are attached to a stream or a consumer. What they allow, the authorizer says. */
import { policyProblem } from '../../../security/policy-document.ts';
import { parseConsumerArn } from '../arns.ts';
import { KinesisError, invalidArgument, notFound } from '../errors.ts';
import { resourceArn } from '../members.ts';
import { defineOperation, type KinesisContext } from '../operation.ts';
import { required, structure, text } from '../../aws/shapes.ts';
import { attributeOf } from '../stream-attributes.ts';
import { consumerOf, knownStream } from '../targets.ts';
import { taggedResource } from './tags.ts';

/** As in the service. */
const policyBytesMax = 20 * 1024;

const target = { ResourceARN: required(resourceArn) };

export const putResourcePolicy = defineOperation({
  name: 'PutResourcePolicy',
  input: structure({ ...target, Policy: required(text()) }),
  resources: ({ ResourceARN }, context) => [taggedResource(ResourceARN, context)],
  async run({ ResourceARN, Policy }, context) {
    if (Buffer.byteLength(Policy) > policyBytesMax) {
      throw new KinesisError(
        'LimitExceededException',
        `A resource policy has at most ${policyBytesMax} bytes.`,
      );
    }
    const problem = policyProblem(Policy, 'resource');
    if (problem !== null) throw invalidArgument(`Invalid policy: ${problem}`);
    await setPolicy(ResourceARN, Policy, context);
    return {};
  },
});

export const getResourcePolicy = defineOperation({
  name: 'GetResourcePolicy',
  input: structure(target),
  resources: ({ ResourceARN }, context) => [taggedResource(ResourceARN, context)],
  run({ ResourceARN }, context) {
    return Promise.resolve({ Policy: policyOf(ResourceARN, context) });
  },
});

export const deleteResourcePolicy = defineOperation({
  name: 'DeleteResourcePolicy',
  input: structure(target),
  resources: ({ ResourceARN }, context) => [taggedResource(ResourceARN, context)],
  async run({ ResourceARN }, context) {
    policyOf(ResourceARN, context);
    await setPolicy(ResourceARN, null, context);
    return {};
  },
});

/** @throws KinesisError `ResourceNotFoundException` when there is none */
function policyOf(arn: string, context: KinesisContext): string {
  const policy =
    parseConsumerArn(arn) === null
      ? attributeOf(knownStream({ StreamARN: arn }, context), 'policy')
      : consumerOf({ ConsumerARN: arn }, context).consumer.policy;
  if (policy === null) throw notFound(`No resource policy found for resource ARN ${arn}`);
  return policy;
}

async function setPolicy(
  arn: string,
  policy: string | null,
  context: KinesisContext,
): Promise<void> {
  if (parseConsumerArn(arn) === null) {
    const { name } = knownStream({ StreamARN: arn }, context);
    await context.attributes.change(name, 'policy', () => policy);
    return;
  }
  const { stream, consumer } = consumerOf({ ConsumerARN: arn }, context);
  await context.attributes.change(stream.name, 'consumers', (consumers) =>
    consumers.map((candidate) =>
      candidate.name === consumer.name ? { ...candidate, policy } : candidate,
    ),
  );
}
