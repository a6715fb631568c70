/** Tags of streams and of consumers: the old operations by stream, the newer ones by ARN. */
import { parseConsumerArn } from '../arns.ts';
import { invalidArgument } from '../errors.ts';
import { resourceArn, streamTarget, tagKeys, tags } from '../members.ts';
import { defineOperation, type KinesisContext, type Resource } from '../operation.ts';
import { integer, optional, required, structure, text } from '../../aws/shapes.ts';
import { attributeOf, type StreamAttributes } from '../stream-attributes.ts';
import {
  consumerOf,
  consumerResource,
  knownStream,
  streamNameOf,
  streamResource,
} from '../targets.ts';

const tagsMax = 50;

type Tags = Readonly<Record<string, string>>;

export const addTagsToStream = defineOperation({
  name: 'AddTagsToStream',
  input: structure({ Tags: required(tags), ...streamTarget }),
  resources: (input, context) => [streamResource(input, context)],
  async run(input, context) {
    const { name } = knownStream(input, context);
    checkTags(input.Tags, name, context, 'add');
    await changeStreamTags(name, context.attributes, adding(input.Tags, name, context));
    return {};
  },
});

export const removeTagsFromStream = defineOperation({
  name: 'RemoveTagsFromStream',
  input: structure({ TagKeys: required(tagKeys), ...streamTarget }),
  resources: (input, context) => [streamResource(input, context)],
  async run(input, context) {
    const { name } = knownStream(input, context);
    checkTags(keysOnly(input.TagKeys), name, context, 'remove');
    await changeStreamTags(name, context.attributes, removing(input.TagKeys));
    return {};
  },
});

export const listTagsForStream = defineOperation({
  name: 'ListTagsForStream',
  input: structure({
    Limit: optional(integer({ min: 1, max: 50 })),
    ExclusiveStartTagKey: optional(text({ min: 1, max: 128 })),
    ...streamTarget,
  }),
  resources: (input, context) => [streamResource(input, context)],
  run(input, context) {
    const { ExclusiveStartTagKey: after, Limit: limit = tagsMax } = input;
    const rest = sorted(attributeOf(knownStream(input, context), 'tags')).filter(
      ({ Key }) => after === undefined || Key > after,
    );
    return Promise.resolve({ Tags: rest.slice(0, limit), HasMoreTags: rest.length > limit });
  },
});

const resourceTarget = { ResourceARN: required(resourceArn) };

export const tagResource = defineOperation({
  name: 'TagResource',
  input: structure({ Tags: required(tags), ...resourceTarget }),
  resources: ({ ResourceARN }, context) => [taggedResource(ResourceARN, context)],
  async run({ ResourceARN, Tags: added }, context) {
    checkTags(added, ResourceARN, context, 'add');
    await changeTags(ResourceARN, context, adding(added, ResourceARN, context));
    return {};
  },
});

export const untagResource = defineOperation({
  name: 'UntagResource',
  input: structure({ TagKeys: required(tagKeys), ...resourceTarget }),
  resources: ({ ResourceARN }, context) => [taggedResource(ResourceARN, context)],
  async run({ ResourceARN, TagKeys }, context) {
    checkTags(keysOnly(TagKeys), ResourceARN, context, 'remove');
    await changeTags(ResourceARN, context, removing(TagKeys));
    return {};
  },
});

export const listTagsForResource = defineOperation({
  name: 'ListTagsForResource',
  input: structure(resourceTarget),
  resources: ({ ResourceARN }, context) => [taggedResource(ResourceARN, context)],
  run({ ResourceARN: arn }, context) {
    const kept =
      parseConsumerArn(arn) === null
        ? attributeOf(knownStream({ StreamARN: arn }, context), 'tags')
        : consumerOf({ ConsumerARN: arn }, context).consumer.tags;
    return Promise.resolve({ Tags: sorted(kept) });
  },
});

/** A stream or a consumer by its ARN, as something to be permitted. */
export function taggedResource(arn: string, context: KinesisContext): Resource {
  return parseConsumerArn(arn) === null
    ? streamResource({ StreamARN: arn }, context)
    : consumerResource({ ConsumerARN: arn }, context);
}

async function changeTags(
  arn: string,
  context: KinesisContext,
  change: (tags: Tags) => Record<string, string>,
): Promise<void> {
  if (parseConsumerArn(arn) === null) {
    const name = streamNameOf({ StreamARN: arn }, context);
    knownStream({ StreamName: name }, context);
    await changeStreamTags(name, context.attributes, change);
    return;
  }
  const { stream, consumer } = consumerOf({ ConsumerARN: arn }, context);
  await context.attributes.change(stream.name, 'consumers', (consumers) =>
    consumers.map((candidate) =>
      candidate.name === consumer.name ? { ...candidate, tags: change(candidate.tags) } : candidate,
    ),
  );
}

async function changeStreamTags(
  name: string,
  attributes: StreamAttributes,
  change: (tags: Tags) => Record<string, string>,
): Promise<void> {
  await attributes.change(name, 'tags', change);
}

function adding(
  added: ReadonlyMap<string, string>,
  resource: string,
  { account }: KinesisContext,
): (tags: Tags) => Record<string, string> {
  return (kept) => {
    const all = { ...kept, ...Object.fromEntries(added) };
    if (Object.keys(all).length > tagsMax) {
      throw invalidArgument(
        `Failed to add tags to stream ${resource} under account ${account.accountId} because a ` +
          `given stream cannot have more than ${tagsMax} tags associated with it.`,
      );
    }
    return all;
  };
}

function removing(keys: readonly string[]): (tags: Tags) => Record<string, string> {
  return (kept) => Object.fromEntries(Object.entries(kept).filter(([key]) => !keys.includes(key)));
}

function keysOnly(keys: readonly string[]): ReadonlyMap<string, string> {
  return new Map(keys.map((key) => [key, '']));
}

function sorted(kept: Tags): { Key: string; Value: string }[] {
  return Object.entries(kept)
    .map(([Key, Value]) => ({ Key, Value }))
    .sort((a, b) => (a.Key < b.Key ? -1 : 1));
}

/** @throws KinesisError `InvalidArgumentException` */
export function checkTags(
  given: ReadonlyMap<string, string>,
  resource: string,
  { account }: KinesisContext,
  what: 'add' | 'remove',
): void {
  const texts = [...given.keys(), ...given.values()];
  if (texts.some((tag) => /[^\u00C0-\u1FFF\u2C00-\uD7FF\w./\-=+_ @%:]/.test(tag))) {
    throw invalidArgument(
      'Some tags contain invalid characters. Valid characters: ' +
        'Unicode letters, digits, white space, _ . / = + - % @.',
    );
  }
  if (texts.some((tag) => tag.includes('%'))) {
    throw invalidArgument(
      `Failed to ${what} tags ${what === 'add' ? 'to' : 'from'} stream ${resource} under account ` +
        `${account.accountId} because some tags contained illegal characters. The allowed ` +
        "characters are Unicode letters, white-spaces, '_',',','/','=','+','-','@'.",
    );
  }
}
