/** What is kept beside a table: tags; and what it has not, so that clients that ask learn it. */
import { flag, list, optional, required, structure, text } from '../../aws/shapes.ts';
import { invalid } from '../errors.ts';
import { target } from '../inputs.ts';
import { defineOperation, knownTable, ownTable } from '../operation.ts';
import { definitionOf, tableNameOf } from '../tables.ts';
import { tagList, tagsOf } from '../tagging.ts';

const resource = { ResourceArn: required(text({ min: 1, max: 1283 })) };
const ownResource = ({ ResourceArn }: { readonly ResourceArn: string }): readonly string[] => [
  ResourceArn,
];

export const tagResource = defineOperation({
  name: 'TagResource',
  input: structure({ ...resource, Tags: required(tagList) }),
  resources: ownResource,
  async run({ ResourceArn, Tags }, context) {
    const { name } = knownTable(tableNameOf(ResourceArn, context.account), context);
    await context.items.updateTable(name, (table) => {
      const definition = definitionOf(table);
      const tags = tagsOf(Tags, new Map(Object.entries(definition.tags)));
      return { definition: { ...definition, tags: Object.fromEntries(tags) } };
    });
    return {};
  },
});

export const untagResource = defineOperation({
  name: 'UntagResource',
  input: structure({ ...resource, TagKeys: required(list(text({ min: 1, max: 128 }))) }),
  resources: ownResource,
  async run({ ResourceArn, TagKeys }, context) {
    const { name } = knownTable(tableNameOf(ResourceArn, context.account), context);
    await context.items.updateTable(name, (table) => {
      const definition = definitionOf(table);
      const left = Object.entries(definition.tags).filter(([key]) => !TagKeys.includes(key));
      return { definition: { ...definition, tags: Object.fromEntries(left) } };
    });
    return {};
  },
});

export const listTagsOfResource = defineOperation({
  name: 'ListTagsOfResource',
  input: structure({ ...resource, NextToken: optional(text()) }),
  resources: ownResource,
  run({ ResourceArn }, context) {
    const table = knownTable(tableNameOf(ResourceArn, context.account), context);
    const { tags } = definitionOf(table);
    return Promise.resolve({
      Tags: Object.entries(tags).map(([Key, Value]) => ({ Key, Value })),
    });
  },
});

export const describeTimeToLive = defineOperation({
  name: 'DescribeTimeToLive',
  input: structure(target),
  resources: ownTable,
  run({ TableName }, context) {
    knownTable(TableName, context);
    return Promise.resolve({ TimeToLiveDescription: { TimeToLiveStatus: 'DISABLED' } });
  },
});

const noBackups = {
  ContinuousBackupsDescription: {
    ContinuousBackupsStatus: 'DISABLED',
    PointInTimeRecoveryDescription: { PointInTimeRecoveryStatus: 'DISABLED' },
  },
};

export const describeContinuousBackups = defineOperation({
  name: 'DescribeContinuousBackups',
  input: structure(target),
  resources: ownTable,
  run({ TableName }, context) {
    knownTable(TableName, context);
    return Promise.resolve(noBackups);
  },
});

export const updateContinuousBackups = defineOperation({
  name: 'UpdateContinuousBackups',
  input: structure({
    ...target,
    PointInTimeRecoverySpecification: required(
      structure({ PointInTimeRecoveryEnabled: required(flag()) }),
    ),
  }),
  resources: ownTable,
  run({ TableName, PointInTimeRecoverySpecification: wanted }, context) {
    knownTable(TableName, context);
    if (wanted.PointInTimeRecoveryEnabled) {
      throw invalid(
        'There is no point-in-time recovery of tables here: they are in the backups of the gateway',
      );
    }
    return Promise.resolve(noBackups);
  },
});
