/**
 * Objects into a table of Redshift: put to S3 first, then loaded by one COPY over a manifest, through
 * the PostgreSQL protocol.
 *
 * A load is done once. Its id goes into a table beside, the ledger, in the transaction of the COPY:
 * both are there afterwards or neither is. Whether it is there already is looked up in that
 * transaction, once the ledger is locked. So a COPY that still runs for an attempt that was given up
 * (its connection broke, or it took too long) is waited for; Redshift enforces no unique constraint
 * that would refuse the second one. The lock is the first statement, for the snapshot of a
 * transaction is that of the first one that reads. Loads that share a ledger go one after the other,
 * as Redshift has it for those into one table anyway.
 *
 * This holds for as long as the ledger keeps the row of a load. Loads of a shard come in order, each
 * once the one before it is known to be done; so a load removes the rows of those before it, and none
 * that could still be asked for. They stay for some days all the same, for a gateway that is set back
 * to a copy of its data begins where that ends.
 *
 * Sources: Amazon Redshift Database Developer Guide (COPY, LOCK, Managing concurrent write
 * operations); Amazon Data Firehose Developer Guide (manifests of skipped objects).
 */
import { createHash } from 'node:crypto';
import { Client, DatabaseError, type ClientConfig } from 'pg';
import {
  SinkError,
  type ObjectSink,
  type ObjectUpload,
  type TableLoad,
  type TableSink,
} from '../../sink.ts';
import { readTlsFiles, unlessCalledOff } from '../connection.ts';
import { copyOptions } from './copy-options.ts';
import { LoadError, redshiftError } from './errors.ts';
import {
  copyStatement,
  ledgerCheckStatement,
  ledgerColumnStatements,
  ledgerRowStatement,
  ledgerStatement,
  literal,
  tableName,
  trimStatement,
  type CopyAuthorization,
  type TableName,
} from './sql.ts';

export interface RedshiftSinkOptions {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly username: string;
  readonly password: string;
  /** Without it the password crosses the network in the clear. */
  readonly tls: boolean;
  /** Authorities in PEM beside those that Node knows, Amazon's among them; null: none. */
  readonly caFile: string | null;
  readonly table: TableName;
  readonly authorization: CopyAuthorization;
  /** Made when it is missing. */
  readonly ledger: TableName;
  /** How long rows stay in the ledger that nothing asks for any more. */
  readonly ledgerSeconds: number;
  readonly staging: {
    /** Closed with this sink. */
    readonly sink: ObjectSink;
    readonly bucket: string;
    /** Begins the keys of manifests. */
    readonly prefix: string;
    readonly region: string | null;
  };
  /** Until a connection stands. Default 15 s. */
  readonly connectTimeoutMs?: number;
  /** Until all of a load is done, waiting for the lock included. Default 30 minutes. */
  readonly loadTimeoutMs?: number;
}

export interface RedshiftSink extends TableSink {
  /** Looks whether we are let in and both tables are, or can be, there. @throws SinkError */
  check(signal: AbortSignal): Promise<string>;
  skip(load: TableLoad, signal: AbortSignal): Promise<void>;
  readonly attemptMs: number;
}

const defaults = { connectTimeoutMs: 15_000, loadTimeoutMs: 30 * 60_000 } as const;
const undefinedTable = '42P01';
const undefinedColumn = '42703';

export function redshiftSink(options: RedshiftSinkOptions): RedshiftSink {
  return new Loader(options);
}

class Loader implements RedshiftSink {
  readonly kind = 'redshift';
  readonly description: string;
  readonly staging: ObjectSink;
  readonly attemptMs: number;
  readonly #options: RedshiftSinkOptions;
  readonly #secrets: readonly string[];

  constructor(options: RedshiftSinkOptions) {
    this.#options = options;
    const { host, database, table, authorization } = options;
    this.staging = options.staging.sink;
    this.attemptMs = options.loadTimeoutMs ?? defaults.loadTimeoutMs;
    this.description = `redshift:${host}/${database}/${table.schema}.${table.table}`;
    const key = 'iamRole' in authorization ? [] : [authorization.secretAccessKey];
    this.#secrets = [options.password, ...key];
  }

  async load(load: TableLoad, signal: AbortSignal): Promise<void> {
    if (load.objects.length === 0) return;
    await this.#putManifest(load, this.#manifestKey(load), signal);
    await this.#session(signal, async (client) => {
      try {
        await this.#transaction(client, load);
      } catch (error) {
        if (!isUndefined(error)) throw error;
        // The ledger, or the table: only the ledger is ours to make.
        await client.query('ROLLBACK');
        await this.#makeLedger(client);
        await this.#transaction(client, load);
      }
    });
  }

  /** Leaves a manifest of objects that are not loaded, as Firehose does, to load them by hand. */
  async skip(load: TableLoad, signal: AbortSignal): Promise<void> {
    const key = `${this.#options.staging.prefix}errors/manifests/${load.id}.manifest`;
    await this.#putManifest(load, key, signal);
  }

  async check(signal: AbortSignal): Promise<string> {
    const { table, ledger } = this.#options;
    return this.#session(signal, async (client) => {
      await client.query(`SELECT 1 FROM ${tableName(table)} LIMIT 0`);
      try {
        await client.query(ledgerCheckStatement(ledger));
      } catch (error) {
        if (!isUndefined(error)) throw ofLedger(error, ledger);
        return `table ${table.schema}.${table.table} is there; the ledger ${ledger.table} will be made`;
      }
      return `tables ${table.schema}.${table.table} and ${ledger.table} are there`;
    });
  }

  async #transaction(client: Client, load: TableLoad): Promise<void> {
    const { table: into, ledger, ledgerSeconds, authorization, staging } = this.#options;
    const manifestUrl = `s3://${staging.bucket}/${this.#manifestKey(load)}`;
    await client.query('BEGIN');
    await client.query(`LOCK ${tableName(ledger)}`);
    const known = await client.query(
      `SELECT load_id FROM ${tableName(ledger)} WHERE load_id = ${literal(load.id)}`,
    );
    if (known.rows.length > 0) {
      await client.query('ROLLBACK');
      return;
    }
    try {
      await client.query(trimStatement(ledger, load, ledgerSeconds));
    } catch (error) {
      throw ofLedger(error, ledger);
    }
    await client.query(ledgerRowStatement(ledger, load, { into, manifestUrl }));
    const { format, reading } = load;
    const copy = copyStatement({
      ...{ into, columns: reading.columns, manifestUrl, authorization, region: staging.region },
      ...{ isColumnar: isColumnar(load), options: copyOptions(format, reading.options) },
    });
    try {
      await client.query(copy);
    } catch (error) {
      throw await this.#withReason(client, error);
    }
    await client.query('COMMIT');
  }

  async #makeLedger(client: Client): Promise<void> {
    const { ledger } = this.#options;
    try {
      await client.query(ledgerStatement(ledger));
    } catch (error) {
      // Another gateway made it in this moment: that it is there, the next statement finds.
      const exists = ['23505', '42P07'];
      if (!exists.includes(stateOf(error))) throw error;
    }
  }

  /** What can't be loaded is told line by line in a table of the system's. */
  async #withReason(client: Client, error: unknown): Promise<unknown> {
    const failure = redshiftError(error, this.#secrets);
    if (!(failure instanceof LoadError)) return error;
    for (const question of loadErrors) {
      try {
        await client.query('ROLLBACK');
        const { rows } = await client.query<LoadErrorRow>(question);
        const [row] = rows;
        if (row !== undefined) return new LoadError('rejected', `${failure.message}; ${told(row)}`);
      } catch (unknown) {
        // Provisioned clusters have one of them, serverless ones the other; without the right, none.
        if (redshiftError(unknown, this.#secrets).retryable) return failure;
      }
    }
    return failure;
  }

  /** A connection for as long as the work takes: loads are minutes apart. */
  async #session<T>(signal: AbortSignal, work: (client: Client) => Promise<T>): Promise<T> {
    const client = new Client(await this.#settings());
    // A connection that breaks while nobody waits for an answer; whoever asks next is told.
    client.on('error', () => undefined);
    try {
      return await unlessCalledOff(signal, async () => {
        await client.connect();
        return await work(client);
      });
    } catch (error) {
      throw redshiftError(error, this.#secrets);
    } finally {
      // Cut, not ended: what still runs there must not be waited for.
      client.connection.stream.destroy();
    }
  }

  async #settings(): Promise<ClientConfig> {
    const { host, port, database, username, password, tls } = this.#options;
    const { caFile, connectTimeoutMs } = this.#options;
    const files = await readTlsFiles({ caFile, certFile: null, keyFile: null });
    return {
      ...{ host, port, database, password, user: username },
      application_name: 'headgate',
      keepAlive: true,
      ssl: tls ? { ...files, rejectUnauthorized: true } : false,
      connectionTimeoutMillis: connectTimeoutMs ?? defaults.connectTimeoutMs,
      query_timeout: this.attemptMs,
    };
  }

  #manifestKey(load: TableLoad): string {
    return `${this.#options.staging.prefix}manifests/${load.id}.manifest`;
  }

  async #putManifest(load: TableLoad, key: string, signal: AbortSignal): Promise<void> {
    const { bucket } = this.#options.staging;
    const entries = load.objects.map(({ key: object, sizeBytes }) => ({
      url: `s3://${bucket}/${object}`,
      mandatory: true,
      ...(isColumnar(load) && { meta: { content_length: sizeBytes } }),
    }));
    const content = Buffer.from(`${JSON.stringify({ entries }, null, 2)}\n`);
    const upload: ObjectUpload = {
      key,
      contentType: 'application/json',
      sizeBytes: content.length,
      sha256: createHash('sha256').update(content).digest('hex'),
      // eslint-disable-next-line @typescript-eslint/require-await -- as the interface has it
      read: async function* () {
        yield content;
      },
    };
    await this.staging.put(upload, signal);
  }

  async close(): Promise<void> {
    await this.staging.close();
  }
}

interface LoadErrorRow {
  readonly file_name: string | null;
  readonly line_number: string | number | null;
  readonly column_name: string | null;
  readonly error_message: string | null;
}

/** Of this session, the last one: of all clusters, and of provisioned ones. */
const loadErrors = [
  'SELECT file_name, line_number, column_name, error_message FROM sys_load_error_detail WHERE session_id = pg_backend_pid() ORDER BY start_time DESC LIMIT 1',
  'SELECT filename AS file_name, line_number, colname AS column_name, err_reason AS error_message FROM stl_load_errors WHERE session = pg_backend_pid() ORDER BY starttime DESC LIMIT 1',
];

/** Columns of fixed length are filled up with spaces. */
function told(row: LoadErrorRow): string {
  const word = (text: string | null): string => (text ?? '').trim();
  const column = word(row.column_name);
  return [
    `${word(row.file_name)} line ${row.line_number ?? '?'}`,
    ...(column === '' ? [] : [`column ${column}`]),
    word(row.error_message),
  ].join(', ');
}

/** Of Parquet, COPY wants to know how long each object is. */
function isColumnar({ format }: TableLoad): boolean {
  return format.type === 'parquet';
}

function stateOf(error: unknown): string {
  return error instanceof DatabaseError ? (error.code ?? '') : '';
}

function isUndefined(error: unknown): boolean {
  return stateOf(error) === undefinedTable;
}

/** A column that the ledger lacks is not looked for in the table. */
function ofLedger(error: unknown, ledger: TableName): unknown {
  if (stateOf(error) !== undefinedColumn) return error;
  const statements = ledgerColumnStatements(ledger).join('; ');
  return new SinkError('missing', `the ledger ${ledger.table} was made by an earlier release`, {
    advice: `Add the columns that it lacks: ${statements}.`,
  });
}
