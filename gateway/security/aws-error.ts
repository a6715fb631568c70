/** What a caller of an AWS service is told who is not let in, in the services' own words. */

export type AwsAuthErrorType =
  | 'MissingAuthenticationTokenException'
  | 'IncompleteSignatureException'
  | 'InvalidSignatureException'
  | 'UnrecognizedClientException'
  | 'AccessDeniedException';

/** The JSON services answer all of these with 400. */
export class AwsAuthError extends Error {
  override readonly name = 'AwsAuthError';
  readonly type: AwsAuthErrorType;
  readonly status = 400;

  constructor(type: AwsAuthErrorType, message: string) {
    super(message);
    this.type = type;
  }
}
