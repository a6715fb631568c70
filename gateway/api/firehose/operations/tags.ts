/** Tags of delivery streams. */
import { integer, list, optional, required, structure, type Described } from '../../aws/shapes.ts';
import { FirehoseError, invalid } from '../errors.ts';
import { tagKey, tags, target } from '../members.ts';
import { defineOperation, ownStream } from '../operation.ts';

const tagsMax = 50;

export const tagDeliveryStream = defineOperation({
  name: 'TagDeliveryStream',
  input: structure({ ...target, Tags: required(tags) }),
  resources: ownStream,
  async run({ DeliveryStreamName, Tags }, { streams }) {
    const given = tagsOf(Tags);
    await streams.change(DeliveryStreamName, (stream) => {
      const all = { ...stream.tags, ...given };
      if (Object.keys(all).length <= tagsMax) return { tags: all };
      throw new FirehoseError(
        'LimitExceededException',
        `A delivery stream has at most ${tagsMax} tags.`,
      );
    });
    return {};
  },
});

export const untagDeliveryStream = defineOperation({
  name: 'UntagDeliveryStream',
  input: structure({ ...target, TagKeys: required(list(tagKey, { min: 1, max: 50 })) }),
  resources: ownStream,
  async run({ DeliveryStreamName, TagKeys }, { streams }) {
    await streams.change(DeliveryStreamName, (stream) => ({
      tags: Object.fromEntries(
        Object.entries(stream.tags).filter(([key]) => !TagKeys.includes(key)),
      ),
    }));
    return {};
  },
});

export const listTagsForDeliveryStream = defineOperation({
  name: 'ListTagsForDeliveryStream',
  input: structure({
    ...target,
    ExclusiveStartTagKey: optional(tagKey),
    Limit: optional(integer({ min: 1, max: tagsMax })),
  }),
  resources: ownStream,
  run({ DeliveryStreamName, ExclusiveStartTagKey: after, Limit: limit = tagsMax }, { streams }) {
    const rest = Object.entries(streams.known(DeliveryStreamName).tags)
      .map(([Key, Value]) => ({ Key, Value }))
      .filter(({ Key }) => after === undefined || Key > after)
      .sort((one, other) => (one.Key < other.Key ? -1 : 1));
    return Promise.resolve({ Tags: rest.slice(0, limit), HasMoreTags: rest.length > limit });
  },
});

/** @throws FirehoseError `InvalidArgumentException` for a key that is given twice */
export function tagsOf(given: Described<typeof tags>): Readonly<Record<string, string>> {
  const all = Object.fromEntries(given.map(({ Key, Value = '' }) => [Key, Value]));
  if (Object.keys(all).length === given.length) return all;
  throw invalid('A key of a tag is given twice.');
}
