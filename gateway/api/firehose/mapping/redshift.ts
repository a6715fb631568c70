/** `RedshiftDestinationConfiguration`. */
import type { Configuration } from '../destination-shapes.ts';
import { invalid } from '../errors.ts';
import { checkNoSecretsManager } from './batches.ts';
import { bufferOf } from './buffering.ts';
import type { DeliveryFields } from './delivery.ts';
import { checkHost, type Places } from './places.ts';
import { processingOptions } from './processing.ts';
import { bucketOptions, s3Buffer } from './s3.ts';

const retrySeconds = 3600;
const compressions = { UNCOMPRESSED: 'none', GZIP: 'gzip' } as const;

/** @throws FirehoseError `InvalidArgumentException` */
export function redshiftOptions(given: Configuration<'Redshift'>, places: Places): DeliveryFields {
  const { Username, Password, S3Configuration: staging, CopyCommand: copy } = given;
  checkNoSecretsManager(given);
  if (Username === undefined || Password === undefined) {
    throw invalid('Both Username and Password are needed.');
  }
  const compression = staging.CompressionFormat ?? 'UNCOMPRESSED';
  if (compression !== 'UNCOMPRESSED' && compression !== 'GZIP') {
    throw invalid('Redshift loads objects that are UNCOMPRESSED or GZIP.');
  }
  const { transform, deaggregate, delimiter, query } = processingOptions(
    given.ProcessingConfiguration,
    places,
  );
  if (query !== undefined) throw invalid('MetadataExtraction is for objects in S3.');
  return {
    to: {
      redshift: {
        ...clusterOf(given.ClusterJDBCURL, places),
        ...tableOf(copy.DataTableName),
        ...{ username: Username, password: Password },
        ...columnsOf(copy.DataTableColumns),
        copyOptions: copy.CopyOptions ?? '',
        // The cluster reads the bucket by the role; keys of the gateway's own never go there.
        iamRole: given.RoleARN,
        staging: stagingOf(bucketOptions(staging, places)),
      },
    },
    format: {
      type: 'raw',
      compression: compressions[compression],
      ...(delimiter === undefined ? {} : { delimiter }),
    },
    buffer: bufferOf(staging.BufferingHints, s3Buffer),
    retrySeconds: given.RetryOptions?.DurationInSeconds ?? retrySeconds,
    ...(transform === undefined ? {} : { transform }),
    ...(deaggregate === undefined ? {} : { deaggregate }),
  };
}

function clusterOf(url: string, places: Places): object {
  const [, host = '', port = '', database = ''] = /:\/\/([^:/]+):(\d+)\/(.+)$/.exec(url) ?? [];
  checkHost(host, Number(port), places);
  return { host, port: Number(port), database };
}

/** Perhaps with its schema before it. */
function tableOf(name: string): object {
  const [schema, table, ...more] = name.split('.');
  if (more.length > 0) throw invalid(`${name} is not the name of a table.`);
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
