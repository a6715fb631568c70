/** What can be set of a stream: retention, mode, encryption, monitoring, sizes. */
import { streamArn as arnOf } from '../arns.ts';
import { KinesisError, invalidArgument } from '../errors.ts';
import { maxRecordKiB, naturalNumber, streamArn, streamMode, streamTarget } from '../members.ts';
import { defineOperation, type AnyOperation, type KinesisContext } from '../operation.ts';
import { choice, integer, list, optional, required, structure, text } from '../../aws/shapes.ts';
import { attributeOf } from '../stream-attributes.ts';
import { settledStream, streamResource } from '../targets.ts';
import { retentionHours } from './streams.ts';

const hourMs = 3_600_000;
const hoursMin = 24;
const hoursMax = 8760;

const retentionInput = structure({
  RetentionPeriodHours: required(integer({})),
  ...streamTarget,
});

function retentionOperation(name: string, direction: 'longer' | 'shorter'): AnyOperation {
  return defineOperation({
    name,
    input: retentionInput,
    resources: (input, context) => [streamResource(input, context)],
    async run(input, context) {
      const stream = settledStream(input, context);
      const hours = input.RetentionPeriodHours;
      checkHours(hours);
      const current = retentionHours(stream);
      if (direction === 'longer' ? hours < current : hours > current) {
        const [opposite, other] =
          direction === 'longer' ? ['shorter', 'Decrease'] : ['longer', 'Increase'];
        throw invalidArgument(
          `Requested retention period (${hours} hours) for stream ${stream.name} can not be ` +
            `${opposite} than existing retention period (${current} hours). ` +
            `Use ${other}RetentionPeriod API.`,
        );
      }
      if (hours === current) return {};
      await context.log.updateStream(stream.name, { retentionMs: hours * hourMs });
      context.states.begin(stream.name, 'UPDATING');
      return {};
    },
  });
}

export const increaseStreamRetentionPeriod = retentionOperation(
  'IncreaseStreamRetentionPeriod',
  'longer',
);
export const decreaseStreamRetentionPeriod = retentionOperation(
  'DecreaseStreamRetentionPeriod',
  'shorter',
);

function checkHours(hours: number): void {
  if (hours < hoursMin) {
    throw invalidArgument(
      `Minimum allowed retention period is ${hoursMin} hours. Requested retention period ` +
        `(${hours} hours) is too short.`,
    );
  }
  if (hours > hoursMax) {
    throw invalidArgument(
      `Maximum allowed retention period is ${hoursMax} hours. Requested retention period ` +
        `(${hours} hours) is too long.`,
    );
  }
}

export const updateStreamMode = defineOperation({
  name: 'UpdateStreamMode',
  input: structure({
    StreamModeDetails: required(structure({ StreamMode: required(streamMode) })),
    WarmThroughputMiBps: optional(naturalNumber),
    StreamARN: required(streamArn),
  }),
  resources: ({ StreamARN }, context) => [streamResource({ StreamARN }, context)],
  async run({ StreamARN, StreamModeDetails, WarmThroughputMiBps: warm }, context) {
    const stream = settledStream({ StreamARN }, context);
    const mode = StreamModeDetails.StreamMode === 'ON_DEMAND' ? 'on-demand' : 'provisioned';
    await context.log.updateStream(stream.name, { mode });
    if (warm !== undefined) {
      await context.attributes.change(stream.name, 'warmThroughputMiBps', () => warm);
    }
    context.states.begin(stream.name, 'UPDATING');
    return {};
  },
});

const encryptionInput = structure({
  EncryptionType: required(choice(['NONE', 'KMS'])),
  KeyId: required(text({ min: 1, max: 2048 })),
  ...streamTarget,
});

export const startStreamEncryption = defineOperation({
  name: 'StartStreamEncryption',
  input: encryptionInput,
  resources: (input, context) => [streamResource(input, context)],
  async run(input, context) {
    const stream = settledStream(input, context);
    checkKms(input.EncryptionType);
    // The data key is the box's all the same; who may have it made and used, the named key says.
    await context.log.updateStream(stream.name, { encryption: 'aes-256-gcm' });
    await context.attributes.change(stream.name, 'encryption', () => ({ keyId: input.KeyId }));
    context.states.begin(stream.name, 'UPDATING');
    return {};
  },
});

export const stopStreamEncryption = defineOperation({
  name: 'StopStreamEncryption',
  input: encryptionInput,
  resources: (input, context) => [streamResource(input, context)],
  async run(input, context) {
    const stream = settledStream(input, context);
    checkKms(input.EncryptionType);
    const { accountId } = context.account;
    await context.attributes.change(stream.name, 'encryption', (current) => {
      if (current !== null && current.keyId !== input.KeyId) {
        throw invalidArgument(
          `Stream ${stream.name} under account ${accountId} is not encrypted with the key ${input.KeyId}.`,
        );
      }
      return null;
    });
    await context.log.updateStream(stream.name, { encryption: 'none' });
    context.states.begin(stream.name, 'UPDATING');
    return {};
  },
});

function checkKms(type: 'NONE' | 'KMS'): void {
  if (type === 'NONE') throw invalidArgument('The EncryptionType must be KMS.');
}

const shardMetrics = [
  'IncomingBytes',
  'IncomingRecords',
  'OutgoingBytes',
  'OutgoingRecords',
  'WriteProvisionedThroughputExceeded',
  'ReadProvisionedThroughputExceeded',
  'IteratorAgeMilliseconds',
] as const;

function monitoringOperation(
  name: string,
  change: (current: readonly string[], named: readonly string[]) => readonly string[],
): AnyOperation {
  return defineOperation({
    name,
    input: structure({
      ShardLevelMetrics: required(list(choice([...shardMetrics, 'ALL']), { min: 1, max: 7 })),
      ...streamTarget,
    }),
    resources: (input, context) => [streamResource(input, context)],
    async run(input, context) {
      const stream = settledStream(input, context);
      const all = input.ShardLevelMetrics.includes('ALL');
      const named = all ? shardMetrics : input.ShardLevelMetrics;
      let before: readonly string[] = [];
      const after = await context.attributes.change(stream.name, 'monitoring', (current) => {
        before = current;
        const changed = change(current, named);
        return shardMetrics.filter((metric) => changed.includes(metric));
      });
      context.metering.monitor(stream, after);
      context.states.begin(stream.name, 'UPDATING');
      return {
        StreamName: stream.name,
        StreamARN: arnOf(context.account, stream.name),
        CurrentShardLevelMetrics: before,
        DesiredShardLevelMetrics: after,
      };
    },
  });
}

export const enableEnhancedMonitoring = monitoringOperation(
  'EnableEnhancedMonitoring',
  (current, named) => [...current, ...named],
);
export const disableEnhancedMonitoring = monitoringOperation(
  'DisableEnhancedMonitoring',
  (current, named) => current.filter((metric) => !named.includes(metric)),
);

export const updateMaxRecordSize = defineOperation({
  name: 'UpdateMaxRecordSize',
  input: structure({ MaxRecordSizeInKiB: required(maxRecordKiB), StreamARN: optional(streamArn) }),
  resources: (input, context) => [streamResource(input, context)],
  async run(input, context) {
    const { name } = settledStream(input, context);
    await context.attributes.change(name, 'maxRecordKiB', () => input.MaxRecordSizeInKiB);
    context.states.begin(name, 'UPDATING');
    return {};
  },
});

export const updateStreamWarmThroughput = defineOperation({
  name: 'UpdateStreamWarmThroughput',
  input: structure({ WarmThroughputMiBps: required(naturalNumber), ...streamTarget }),
  resources: (input, context) => [streamResource(input, context)],
  async run(input, context) {
    const stream = settledStream(input, context);
    checkOnDemand(stream.mode, context);
    const target = input.WarmThroughputMiBps;
    const current = attributeOf(stream, 'warmThroughputMiBps') ?? 0;
    await context.attributes.change(stream.name, 'warmThroughputMiBps', () => target);
    context.states.begin(stream.name, 'UPDATING');
    return {
      StreamARN: arnOf(context.account, stream.name),
      StreamName: stream.name,
      WarmThroughput: { TargetMiBps: target, CurrentMiBps: current },
    };
  },
});

function checkOnDemand(mode: 'on-demand' | 'provisioned', { account }: KinesisContext): void {
  if (mode === 'on-demand') return;
  throw new KinesisError(
    'ValidationException',
    `Warm throughput is for streams in the ON_DEMAND mode, in account ${account.accountId} too.`,
  );
}
