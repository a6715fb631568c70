/** Tags of tables. */
import { list, required, structure, text, type Described } from '../aws/shapes.ts';
import { invalid } from './errors.ts';

const tagsMax = 50;

export const tagList = list(
  structure({
    Key: required(text({ min: 1, max: 128 })),
    Value: required(text({ max: 256 })),
  }),
  { shownMember: 'Tag' },
);

/** @throws DynamoDbError when there are too many */
export function tagsOf(
  tags: Described<typeof tagList>,
  before: ReadonlyMap<string, string> = new Map(),
): ReadonlyMap<string, string> {
  const all = new Map(before);
  for (const { Key, Value } of tags) all.set(Key, Value);
  if (all.size > tagsMax) throw invalid('Too many tags: a resource has at most 50');
  return all;
}
