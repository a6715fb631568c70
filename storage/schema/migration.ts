/** One step of the schema. Steps are only ever added; one that was released never changes. */
export interface Migration {
  /** 1, 2, 3 …: what `PRAGMA user_version` says once it has run. */
  readonly version: number;
  readonly name: string;
  /** Statements run in one transaction, without BEGIN and COMMIT. */
  readonly sql: string;
}
