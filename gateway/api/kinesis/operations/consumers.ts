/** Consumers with enhanced fan-out: their names. What they read is SubscribeToShard's business. */
import { consumerArn as arnOf, streamArn as streamArnOf } from '../arns.ts';
import { KinesisError, invalidArgument, notFound } from '../errors.ts';
import {
  consumerArn,
  consumerName,
  instant,
  nextToken,
  pageSize,
  streamArn,
  tags,
} from '../members.ts';
import { defineOperation, type KinesisContext } from '../operation.ts';
import { optional, required, structure } from '../../aws/shapes.ts';
import type { RegisteredConsumer } from '../stream-attributes.ts';
import {
  consumerOf,
  consumerResource,
  consumersOf,
  knownStream,
  settledStream,
  streamNameOf,
  streamResource,
} from '../targets.ts';
import { checkTags } from './tags.ts';

const consumersMax = 50;
const consumersShown = 100;

export const registerStreamConsumer = defineOperation({
  name: 'RegisterStreamConsumer',
  input: structure({
    ConsumerName: required(consumerName),
    StreamARN: required(streamArn),
    Tags: optional(tags),
  }),
  resources: ({ StreamARN }, context) => [streamResource({ StreamARN }, context)],
  async run({ ConsumerName: name, StreamARN, Tags }, context) {
    const stream = settledStream({ StreamARN }, context);
    if (Tags !== undefined) checkTags(Tags, name, context, 'add');
    const consumer: RegisteredConsumer = {
      ...{ name, createdMs: context.clock.nowMs(), policy: null },
      tags: Object.fromEntries(Tags ?? []),
    };
    await context.attributes.change(stream.name, 'consumers', (consumers) => {
      checkNew(name, [...consumers, ...context.states.deletingConsumers(stream.id)], context);
      return [...consumers, consumer];
    });
    const arn = arnOf(streamArnOf(context.account, stream.name), name, consumer.createdMs);
    context.states.beginConsumer(arn);
    return { Consumer: consumerView(consumer, stream.name, context) };
  },
});

function checkNew(
  name: string,
  consumers: readonly RegisteredConsumer[],
  { account }: KinesisContext,
): void {
  if (consumers.some((consumer) => consumer.name === name)) {
    throw new KinesisError(
      'ResourceInUseException',
      `Consumer ${name} under account ${account.accountId} already exists.`,
    );
  }
  if (consumers.length >= consumersMax) {
    throw new KinesisError(
      'LimitExceededException',
      `This request would exceed the limit of ${consumersMax} registered consumers of a stream ` +
        `for the account ${account.accountId}.`,
    );
  }
}

export function consumerView(
  { name, createdMs }: RegisteredConsumer,
  stream: string,
  { account, states }: KinesisContext,
): object {
  const arn = arnOf(streamArnOf(account, stream), name, createdMs);
  return {
    ConsumerName: name,
    ConsumerARN: arn,
    ConsumerStatus: states.ofConsumer(arn),
    ConsumerCreationTimestamp: new Date(createdMs),
  };
}

const consumerTarget = {
  ConsumerARN: optional(consumerArn),
  ConsumerName: optional(consumerName),
  StreamARN: optional(streamArn),
};

export const describeStreamConsumer = defineOperation({
  name: 'DescribeStreamConsumer',
  input: structure(consumerTarget),
  resources: (input, context) => [consumerResource(input, context)],
  run(input, context) {
    const { stream, consumer } = consumerOf(input, context);
    return Promise.resolve({
      ConsumerDescription: {
        ...consumerView(consumer, stream.name, context),
        StreamARN: streamArnOf(context.account, stream.name),
      },
    });
  },
});

export const deregisterStreamConsumer = defineOperation({
  name: 'DeregisterStreamConsumer',
  input: structure(consumerTarget),
  resources: (input, context) => [consumerResource(input, context)],
  async run(input, context) {
    const { stream, consumer, arn } = consumerOf(input, context);
    if (context.states.ofConsumer(arn) === 'DELETING') {
      throw new KinesisError(
        'ResourceInUseException',
        `Consumer ${consumer.name} of stream ${stream.name} under account ` +
          `${context.account.accountId} is being deregistered already.`,
      );
    }
    await context.attributes.change(stream.name, 'consumers', (consumers) =>
      consumers.filter(({ name }) => name !== consumer.name),
    );
    context.states.beginDeletingConsumer(arn, stream.id, consumer);
    context.subscriptions.endOf(arn);
    return {};
  },
});

interface Page {
  readonly stream: string;
  readonly after: string;
}

export const listStreamConsumers = defineOperation({
  name: 'ListStreamConsumers',
  input: structure({
    MaxResults: optional(pageSize),
    NextToken: optional(nextToken),
    StreamARN: required(streamArn),
    StreamCreationTimestamp: optional(instant),
  }),
  resources: ({ StreamARN }, context) => [streamResource({ StreamARN }, context)],
  run({ MaxResults, NextToken, StreamARN, StreamCreationTimestamp: asked }, context) {
    const name = streamNameOf({ StreamARN }, context);
    const stream = knownStream({ StreamName: name }, context);
    if (asked !== undefined && Math.floor(asked / 1000) !== Math.floor(stream.createdMs / 1000)) {
      throw notFound(
        `Stream ${name} under account ${context.account.accountId} was not created at ${asked}.`,
      );
    }
    const page =
      NextToken === undefined
        ? null
        : (context.pageTokens.open('ListStreamConsumers', NextToken) as Page);
    if (page !== null && page.stream !== name) {
      throw invalidArgument('The NextToken is of another stream.');
    }
    const limit = MaxResults ?? consumersShown;
    const rest = [...consumersOf(stream, context)]
      .filter((consumer) => page === null || consumer.name > page.after)
      .sort((a, b) => (a.name < b.name ? -1 : 1));
    const shown = rest.slice(0, limit);
    const after = shown.at(-1)?.name;
    return Promise.resolve({
      Consumers: shown.map((consumer) => consumerView(consumer, name, context)),
      NextToken:
        after !== undefined && rest.length > limit
          ? context.pageTokens.make('ListStreamConsumers', { stream: name, after })
          : undefined,
    });
  },
});
