/** UpdateDestination. */
import { optional, parseInput, required, structure, type Described } from '../../aws/shapes.ts';
import {
  configurations,
  destinationKinds,
  updates,
  type DestinationKind,
  type GivenDestination,
} from '../destination-shapes.ts';
import { invalid } from '../errors.ts';
import { mapsAsObjects } from '../kept-streams.ts';
import { isBackedUp } from '../mapping/backup.ts';
import { destinationId, target, versionId, whatever } from '../members.ts';
import { defineOperation, ownStream } from '../operation.ts';
import type { Fields } from '../secrets.ts';
import { checkDestinationId } from './streams.ts';

const input = structure({
  ...target,
  CurrentDeliveryStreamVersionId: required(versionId),
  DestinationId: required(destinationId),
  S3DestinationUpdate: optional(updates.S3),
  ExtendedS3DestinationUpdate: optional(updates.ExtendedS3),
  RedshiftDestinationUpdate: optional(updates.Redshift),
  ElasticsearchDestinationUpdate: optional(updates.Elasticsearch),
  AmazonopensearchserviceDestinationUpdate: optional(updates.Amazonopensearchservice),
  SplunkDestinationUpdate: optional(updates.Splunk),
  HttpEndpointDestinationUpdate: optional(updates.HttpEndpoint),
  AmazonOpenSearchServerlessDestinationUpdate: optional(whatever),
  SnowflakeDestinationUpdate: optional(whatever),
  IcebergDestinationUpdate: optional(whatever),
});

export const updateDestination = defineOperation({
  name: 'UpdateDestination',
  input,
  resources: ownStream,
  async run(asked, { streams }) {
    const { DeliveryStreamName: name, CurrentDeliveryStreamVersionId: version } = asked;
    checkDestinationId(asked.DestinationId);
    const { kind, update } = updateOf(asked);
    const member = `${kind}DestinationUpdate`;
    await streams.redirect(name, version, member, ({ destination }) =>
      merged(destination, kind, update),
    );
    return {};
  },
});

interface Update {
  readonly kind: DestinationKind;
  readonly update: Fields;
}

/** @throws FirehoseError `InvalidArgumentException` where there is not exactly one */
function updateOf(asked: Described<typeof input>): Update {
  const given = destinationKinds.flatMap((kind) => {
    const update = asked[`${kind}DestinationUpdate`];
    return update === undefined ? [] : [{ kind, update }];
  });
  const [only, ...more] = given;
  if (only !== undefined && more.length === 0) return only;
  throw invalid('Exactly one destination update, of a kind that is delivered to here, is needed.');
}

/** Both say where objects go; the older of the two says less. */
const buckets: readonly DestinationKind[] = ['S3', 'ExtendedS3'];

/**
 * As the service does it: of the same kind of destination, what is not given stays as it was; of
 * another kind, nothing stays.
 * @throws RequestError where what comes of it lacks a member; FirehoseError
 *   `InvalidArgumentException` where it would end a backup
 */
function merged(before: GivenDestination, kind: DestinationKind, update: Fields): GivenDestination {
  const isSame = before.kind === kind || (buckets.includes(before.kind) && buckets.includes(kind));
  const wanted = isSame && kind === 'S3' ? before.kind : kind;
  const kept: Fields = isSame ? before.configuration : {};
  const { S3Update, S3BackupUpdate, ...others } = update;
  const configuration = {
    ...kept,
    ...others,
    ...nested('S3Configuration', kept, S3Update),
    ...nested('S3BackupConfiguration', kept, S3BackupUpdate),
  };
  const plain: unknown = JSON.parse(JSON.stringify(configuration, mapsAsObjects));
  // The compiler does not see that each kind goes with its own configuration.
  const after = { kind: wanted, configuration: whole(wanted, kind, plain) } as GivenDestination;
  if (isSame && isBackedUp(before) && !isBackedUp(after)) {
    throw invalid('Disabling S3 backup is not currently supported.');
  }
  return after;
}

/** The member is named that was asked for. @throws RequestError where something is missing */
function whole(wanted: DestinationKind, asked: DestinationKind, configuration: unknown): unknown {
  const member = `${asked}DestinationUpdate`;
  const shape = structure({ [member]: required<unknown>(configurations[wanted]) });
  return parseInput(shape, { [member]: configuration })[member];
}

function nested(name: string, kept: Fields, update: unknown): Fields {
  if (update === undefined) return {};
  return { [name]: { ...(kept[name] as Fields | undefined), ...(update as Fields) } };
}
