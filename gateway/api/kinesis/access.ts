export interface Caller {
  readonly accessKeyId: string;
  readonly arn: string;
  readonly name: string;
}
export interface AwsRequest {
  readonly method: string;
  readonly url: URL;
  readonly headers: Headers;
  readonly body: Uint8Array;
  readonly connection?: { readonly encrypted: boolean; readonly remoteAddress: string };
}
export interface AwsAuthenticator {
  authenticate(request: AwsRequest, service: string): Promise<Caller>;
}
export interface Authorizer {
  authorize(
    caller: Caller,
    action: string,
    resourceArn: string,
    context?: Record<string, string>,
    resourcePolicies?: readonly string[],
  ): void;
}
export class AwsAuthError extends Error {
  override readonly name = 'AwsAuthError';
  readonly status = 400;
  readonly type: string;
  constructor(type: string, message: string) {
    super(message);
    this.type = type;
  }
}
export interface AuditSink {
  record(entry: {
    readonly action: string;
    readonly resource: string | null;
    readonly caller: string | null;
    readonly accessKeyId: string | null;
    readonly sourceAddress: string | null;
    readonly requestId: string | null;
    readonly outcome: string;
  }): void;
}
