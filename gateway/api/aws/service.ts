/** What each of the AWS APIs here is given of the gateway. */
import type { Logger, Metrics } from '../../../storage/ports.ts';
import type { AuditLog } from '../../observe/audit.ts';
import type { AwsAuthenticator } from '../../security/aws-authenticator.ts';
import type { Authorizer } from '../../security/policies.ts';

export interface ServiceOptions {
  readonly authenticator: AwsAuthenticator;
  readonly authorizer: Authorizer;
  /** Is told of operations that change something, whatever came of them and whoever asked. */
  readonly audit: Pick<AuditLog, 'record' | 'countStranger'>;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

export interface ServiceRoutesOptions<ServiceContext> extends ServiceOptions {
  /** What the operations work with. */
  readonly context: ServiceContext;
}
