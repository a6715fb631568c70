/** Tags of a stream, in the two ways that the service has for them. */
import { list, optional, required, structure, text, textMap } from '../../aws/shapes.ts';
import { invalid, KinesisVideoError } from '../errors.ts';
import { pageToken, streamArn, streamTarget } from '../members.ts';
import { defineOperation } from '../operation.ts';
import type { Streams, StreamTarget } from '../streams.ts';

type Tags = Readonly<Record<string, string>>;

const tagsMax = 50;
const tagPattern = /^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$/u;
const keyText = text({ min: 1, max: 128 });
const keys = list(keyText, { min: 1, max: tagsMax });

export const tagStream = defineOperation({
  name: 'TagStream',
  path: '/tagStream',
  input: structure({
    ...streamTarget,
    Tags: required(textMap({ min: 1, max: tagsMax, keyLengths: [1, 128], valueLengths: [0, 256] })),
  }),
  resources: (input, { streams }) => streams.arnOf(input),
  run: (input, { streams }) => addTags(streams, input, Object.fromEntries(input.Tags)),
});

export const untagStream = defineOperation({
  name: 'UntagStream',
  path: '/untagStream',
  input: structure({ ...streamTarget, TagKeyList: required(keys) }),
  resources: (input, { streams }) => streams.arnOf(input),
  run: (input, { streams }) => removeTags(streams, input, input.TagKeyList),
});

export const listTagsForStream = defineOperation({
  name: 'ListTagsForStream',
  path: '/listTagsForStream',
  input: structure({ ...streamTarget, NextToken: optional(pageToken) }),
  resources: (input, { streams }) => streams.arnOf(input),
  run: (input, { streams }) => listTags(streams, input),
});

const tag = structure({ Key: required(keyText), Value: required(text({ max: 256 })) });

export const tagResource = defineOperation({
  name: 'TagResource',
  path: '/TagResource',
  input: structure({
    ResourceARN: required(streamArn),
    Tags: required(list(tag, { min: 1, max: tagsMax })),
  }),
  resources: ({ ResourceARN: StreamARN }, { streams }) => streams.arnOf({ StreamARN }),
  run: ({ ResourceARN: StreamARN, Tags }, { streams }) =>
    addTags(streams, { StreamARN }, Object.fromEntries(Tags.map(({ Key, Value }) => [Key, Value]))),
});

export const untagResource = defineOperation({
  name: 'UntagResource',
  path: '/UntagResource',
  input: structure({ ResourceARN: required(streamArn), TagKeyList: required(keys) }),
  resources: ({ ResourceARN: StreamARN }, { streams }) => streams.arnOf({ StreamARN }),
  run: ({ ResourceARN: StreamARN, TagKeyList }, { streams }) =>
    removeTags(streams, { StreamARN }, TagKeyList),
});

export const listTagsForResource = defineOperation({
  name: 'ListTagsForResource',
  path: '/ListTagsForResource',
  input: structure({ ResourceARN: required(streamArn), NextToken: optional(pageToken) }),
  resources: ({ ResourceARN: StreamARN }, { streams }) => streams.arnOf({ StreamARN }),
  run: ({ ResourceARN: StreamARN }, { streams }) => listTags(streams, { StreamARN }),
});

/** @throws KinesisVideoError `TagsPerResourceExceededLimitException` */
export function checkTags(tags: Tags, others: Tags): void {
  for (const [key, value] of Object.entries(tags)) {
    if (tagPattern.test(key) && tagPattern.test(value)) continue;
    throw invalid(`A tag is made of letters, digits, spaces and _ . : / = + - @: ${key}=${value}`);
  }
  if (Object.keys({ ...others, ...tags }).length <= tagsMax) return;
  throw new KinesisVideoError(
    'TagsPerResourceExceededLimitException',
    `A stream has at most ${tagsMax} tags.`,
  );
}

async function addTags(streams: Streams, target: StreamTarget, tags: Tags): Promise<object> {
  await streams.change(target, undefined, ({ facts }) => {
    const others = facts.tags ?? {};
    checkTags(tags, others);
    return { ...facts, tags: { ...others, ...tags } };
  });
  return {};
}

async function removeTags(
  streams: Streams,
  target: StreamTarget,
  gone: readonly string[],
): Promise<object> {
  await streams.change(target, undefined, ({ facts }) => {
    const rest = Object.entries(facts.tags ?? {}).filter(([key]) => !gone.includes(key));
    return { ...facts, tags: Object.fromEntries(rest) };
  });
  return {};
}

/** All at once: there are no more than 50. */
async function listTags(streams: Streams, target: StreamTarget): Promise<object> {
  const { facts } = await streams.find(target);
  return { Tags: facts.tags ?? {} };
}
