/** `RedshiftDestinationConfiguration`. */
import type { Configuration } from '../destination-shapes.ts';
import { checkNoSecretsManager } from './batches.ts';
import { bufferOf } from './buffering.ts';
import type { DeliveryFields } from './delivery.ts';
import { checkHost, type Places } from './places.ts';
import { processingOptions } from './processing.ts';
import { refusal, within } from './refusal.ts';
import { bucketOptions, s3Buffer } from './s3.ts';

const retrySeconds = 3600;
const compressions = { UNCOMPRESSED: 'none', GZIP: 'gzip' } as const;

/** @throws Refusal */
export function redshiftOptions(given: Configuration<'Redshift'>, places: Places): DeliveryFields {
  const { Username, Password, S3Configuration: staging, CopyCommand: copy } = given;
  checkNoSecretsManager(given);
  if (Username === undefined) throw refusal('Username', 'is needed, with a Password.');
  if (Password === undefined) throw refusal('Password', 'is needed.');
  const compression = staging.CompressionFormat ?? 'UNCOMPRESSED';
  if (compression !== 'UNCOMPRESSED' && compression !== 'GZIP') {
    const message = 'Redshift loads objects that are UNCOMPRESSED or GZIP.';
    throw refusal('S3Configuration.CompressionFormat', message);
  }
  const { transform, deaggregate, delimiter, query } = processingOptions(
    given.ProcessingConfiguration,
    places,
  );
  if (query !== undefined) {
    throw refusal('ProcessingConfiguration', 'MetadataExtraction is for objects in S3.');
  }
  return {
    to: {
      redshift: {
        ...allowedCluster(given.ClusterJDBCURL, places),
        ...tableOf(copy.DataTableName),
        ...{ username: Username, password: Password },
        ...columnsOf(copy.DataTableColumns),
        copyOptions: copy.CopyOptions ?? '',
        // The cluster reads the bucket by the role; keys of the gateway's own never go there.
        iamRole: given.RoleARN,
        staging: stagingOf(within('S3Configuration', () => bucketOptions(staging, places))),
      },
    },
    format: {
      type: 'raw',
      compression: compressions[compression],
      ...(delimiter === undefined ? {} : { delimiter }),
    },
    buffer: within('S3Configuration', () => bufferOf(staging.BufferingHints, s3Buffer)),
    retrySeconds: given.RetryOptions?.DurationInSeconds ?? retrySeconds,
    ...(transform === undefined ? {} : { transform }),
    ...(deaggregate === undefined ? {} : { deaggregate }),
  };
}

interface Cluster {
  readonly host: string;
  readonly port: number;
  readonly database: string;
}

/** @param url of JDBC */
export function clusterOf(url: string): Cluster {
  const [, host = '', port = '', database = ''] = /:\/\/([^:/]+):(\d+)\/(.+)$/.exec(url) ?? [];
  return { host, port: Number(port), database };
}

function allowedCluster(url: string, places: Places): Cluster {
  const cluster = clusterOf(url);
  checkHost('ClusterJDBCURL', cluster.host, cluster.port, places);
  return cluster;
}

/** Perhaps with its schema before it. */
function tableOf(name: string): object {
  const [schema, table, ...more] = name.split('.');
  if (more.length > 0) {
    throw refusal('CopyCommand.DataTableName', `${name} is not the name of a table.`);
  }
  return table === undefined ? { table: schema } : { schema, table };
}

function columnsOf(columns: string | undefined): object {
  if (columns === undefined || columns.trim() === '') return {};
  return { columns: columns.split(',').map((column) => column.trim()) };
}

/** It is always asked as Amazon is, or as its endpoint is. */
function stagingOf(options: ReturnType<typeof bucketOptions>): object {
  const { bucket, prefix, region, endpoint, accessKeyId, secretAccessKey } = options;
  const access = { region, endpoint, accessKeyId, secretAccessKey };
  return { bucket, ...(prefix === undefined ? {} : { prefix }), ...access };
}
