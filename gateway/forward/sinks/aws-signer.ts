/** Requests of our own to AWS services, signed with what the SDK finds of region and credentials. */
import { KinesisClient } from '@aws-sdk/client-kinesis';
import type { Clock } from '../../../storage/ports.ts';
import { signedHeaders } from '../../security/sign-request.ts';
import { sha256Hex } from '../../security/sigv4.ts';
import { AwsClient, type AwsOptions } from './aws.ts';
import type { Service } from './advice.ts';
import type { HttpRequest } from './http-client.ts';

export interface SignedRequests {
  readonly region: string;
  /** The request with its signature; what is signed is its address, its headers and its body. */
  readonly sign: (request: HttpRequest) => HttpRequest;
}

export class AwsSigner {
  readonly #client: AwsClient<KinesisClient>;
  readonly #signedAs: string;
  readonly #clock: Clock;

  /** @param signedAs the service as signatures name it, such as `es` */
  constructor(service: Service, signedAs: string, options: AwsOptions, clock: Clock) {
    // The SDK's client is asked for nothing but region and credentials.
    this.#client = new AwsClient(service, options, (config) => new KinesisClient(config));
    this.#signedAs = signedAs;
    this.#clock = clock;
  }

  /**
   * Does work with requests that are signed. Credentials that it finds refused are looked up again
   * for the next.
   * @throws SinkError
   */
  use<T>(
    signal: AbortSignal,
    work: (requests: SignedRequests, signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    return this.#client.call(signal, async ({ config }, abortSignal) => {
      const region = await config.region();
      const credentials = await config.credentials();
      const sign = (request: HttpRequest): HttpRequest => {
        const { url, method = 'POST', headers, body = [] } = request;
        const payloadHash = sha256Hex(Buffer.concat(body));
        const toSign = {
          ...{ method, url, payloadHash, region, service: this.#signedAs },
          headers: { ...headers, 'x-amz-content-sha256': payloadHash },
        };
        return { ...request, headers: signedHeaders(toSign, credentials, this.#clock.nowMs()) };
      };
      return work({ region, sign }, abortSignal);
    });
  }

  close(): void {
    this.#client.close();
  }
}
