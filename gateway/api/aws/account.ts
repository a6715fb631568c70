/** Whom the gateway takes itself for; part of every ARN. */
export interface Account {
  /** e.g. `us-east-1`. */
  readonly region: string;
  /** 12 digits. */
  readonly accountId: string;
}
