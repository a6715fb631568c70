/** What destinations have in common that take records in batches: HTTP endpoints, Splunk, OpenSearch. */
import type { Processing } from '../destination-shapes.ts';
import { invalid } from '../errors.ts';
import { processingOptions } from './processing.ts';
import type { Places } from './places.ts';

export interface BatchConfiguration {
  readonly ProcessingConfiguration?: Processing;
  readonly RetryOptions?: { readonly DurationInSeconds?: number };
  readonly SecretsManagerConfiguration?: { readonly Enabled: boolean };
}

/**
 * Keys of the delivery, but for the bucket of `S3Configuration` (`backup.ts`).
 * @param retrySeconds where the client says nothing
 * @throws FirehoseError `InvalidArgumentException`
 */
export function batchFields(
  given: BatchConfiguration,
  retrySeconds: number,
  places: Places,
): object {
  const { ProcessingConfiguration, RetryOptions } = given;
  checkNoSecretsManager(given);
  const { transform, deaggregate, delimiter, query } = processingOptions(
    ProcessingConfiguration,
    places,
  );
  if (delimiter !== undefined || query !== undefined) {
    throw invalid('AppendDelimiterToRecord and MetadataExtraction are for objects in S3.');
  }
  return {
    retrySeconds: RetryOptions?.DurationInSeconds ?? retrySeconds,
    ...(transform === undefined ? {} : { transform }),
    ...(deaggregate === undefined ? {} : { deaggregate }),
  };
}

/** @throws FirehoseError `InvalidArgumentException` */
export function checkNoSecretsManager({
  SecretsManagerConfiguration: secrets,
}: Pick<BatchConfiguration, 'SecretsManagerConfiguration'>): void {
  if (secrets?.Enabled === true) {
    throw invalid('There is no Secrets Manager here: the secret is given in the request.');
  }
}
