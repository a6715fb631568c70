/** What destinations have in common that take records in batches: HTTP endpoints, Splunk, OpenSearch. */
import type { Processing } from '../destination-shapes.ts';
import { processingOptions } from './processing.ts';
import type { Places } from './places.ts';
import { refusal } from './refusal.ts';

export interface BatchConfiguration {
  readonly ProcessingConfiguration?: Processing;
  readonly RetryOptions?: { readonly DurationInSeconds?: number };
  readonly SecretsManagerConfiguration?: { readonly Enabled: boolean };
}

/**
 * Keys of the delivery, but for the bucket of `S3Configuration` (`backup.ts`).
 * @param retrySeconds where the client says nothing
 * @throws Refusal
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
    const message = 'AppendDelimiterToRecord and MetadataExtraction are for objects in S3.';
    throw refusal('ProcessingConfiguration', message);
  }
  return {
    retrySeconds: RetryOptions?.DurationInSeconds ?? retrySeconds,
    ...(transform === undefined ? {} : { transform }),
    ...(deaggregate === undefined ? {} : { deaggregate }),
  };
}

/** @throws Refusal */
export function checkNoSecretsManager({
  SecretsManagerConfiguration: secrets,
}: Pick<BatchConfiguration, 'SecretsManagerConfiguration'>): void {
  if (secrets?.Enabled === true) {
    const message = 'There is no Secrets Manager here: the secret is given in the request.';
    throw refusal('SecretsManagerConfiguration', message);
  }
}
