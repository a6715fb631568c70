/** Callers whom the API knows by their key alone, and what they are answered. */
import type { AwsAuthenticator } from '../../../../gateway/security/aws-authenticator.ts';
import { AwsAuthError } from '../../../../gateway/security/aws-error.ts';

export const accountId = '000000000000';

export interface Answer {
  readonly status: number;
  readonly body: Record<string, unknown>;
}

/** Lets in whoever names the key `AKIATEST`; what a signature is worth is tested elsewhere. */
export const byKeyAlone: AwsAuthenticator = {
  authenticate(request) {
    const authorization = request.headers.get('authorization') ?? '';
    if (!authorization.includes('Credential=AKIATEST/')) {
      return Promise.reject(
        new AwsAuthError(
          'UnrecognizedClientException',
          'The security token included in the request is invalid.',
        ),
      );
    }
    const arn = `arn:aws:iam::${accountId}:user/tester`;
    return Promise.resolve({ accessKeyId: 'AKIATEST', arn, name: 'tester' });
  },
};

export const jsonHeaders: Readonly<Record<string, string>> = {
  'content-type': 'application/x-amz-json-1.1',
  authorization: 'AWS4-HMAC-SHA256 Credential=AKIATEST/20260101/us-east-1/kinesis/aws4_request',
};
