/**
 * Stands before a real PostgreSQL and lets it load from S3 as Redshift does: a COPY from a manifest
 * becomes one from the client, with the rows of the objects that the manifest names. All else goes
 * through as it is, unless a test has it that a connection breaks.
 */
import type { S3Client } from '@aws-sdk/client-s3';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import type { Client } from 'pg';
import type { Scope } from '../../../support/scope.ts';
import { copyReader, type CopyRow } from './copy-reader.ts';
import type { Postgres } from './postgres.ts';
import { getObject } from './servers.ts';

/**
 * What becomes of a statement: the connection is cut before it, or right after it was sent on, or in
 * place of its answer; or the client is gone at once, and the statement is carried out only when
 * another session has asked for the lock that this one holds.
 */
export type Fault = 'cut-before' | 'cut-after' | 'lose-answer' | 'late';

export interface Redshift {
  readonly port: number;
  /** Asked for every statement, and for what comes before the first one (`startup`). */
  fault: (statement: string) => Fault | null;
  /** Every COPY as it came. */
  readonly copies: string[];
}

const copyPattern =
  /^COPY ("(?:[^"]|"")+"\."(?:[^"]|"")+")(?: \((.*?)\))? FROM 's3:\/\/bucket\/([^']+)' (.*)$/s;

/** What Redshift keeps of loads that failed; a proxy fills it. */
const loadErrors = `CREATE TABLE stl_load_errors (
  starttime TIMESTAMP NOT NULL DEFAULT clock_timestamp(), session INTEGER NOT NULL,
  filename CHAR(256), line_number BIGINT, colname CHAR(127), err_reason CHAR(100))`;

export async function startRedshift(
  context: Scope,
  postgres: Postgres,
  s3: S3Client,
): Promise<Redshift> {
  const administrator = await postgres.connect();
  await administrator.query(loadErrors);
  const late = new Set<() => void>();
  const redshift = { port: 0, fault: (): Fault | null => null, copies: [] as string[] };
  const sockets = new Set<Socket>();
  // An answer goes out message by message, and none waits for what is said to the one before it.
  const server = createServer({ noDelay: true }, (client) => {
    const upstream = connect({ port: postgres.port, host: postgres.host, noDelay: true });
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
    }
    const session = new Session(client, upstream, { redshift, administrator, s3, late });
    session.run();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  context.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  redshift.port = (server.address() as AddressInfo).port;
  return redshift;
}

/** The code of a message that asks for TLS before anything else. */
const tlsRequest = 80_877_103;

interface Shared {
  readonly redshift: Redshift;
  readonly administrator: Client;
  readonly s3: S3Client;
  /** Sessions that wait until another asks for the lock. */
  readonly late: Set<() => void>;
}

interface Row extends CopyRow {
  readonly file: string;
}

class Session {
  readonly #client: Socket;
  readonly #upstream: Socket;
  readonly #shared: Shared;
  #pid = 0;
  #isAnswered = true;
  /** Statements go one after the other. */
  #turn: Promise<void> = Promise.resolve();
  /** What the server says while it is not for the client; null: it is. */
  #kept: Message[] | null = null;
  #wake = (): void => undefined;
  #answer: 'passes' | 'is lost' = 'passes';

  constructor(client: Socket, upstream: Socket, shared: Shared) {
    this.#client = client;
    this.#upstream = upstream;
    this.#shared = shared;
  }

  run(): void {
    const fromClient = new Messages('startup');
    this.#client.on('data', (bytes) => {
      for (const message of fromClient.push(bytes)) {
        this.#turn = this.#turn.then(() => this.#take(message)).catch(() => this.#cut());
      }
    });
    const fromServer = new Messages('typed');
    this.#upstream.on('data', (bytes) => {
      for (const message of fromServer.push(bytes)) this.#relay(message);
    });
    this.#client.on('close', () => {
      // As a server that waits for the next statement notices.
      void this.#turn.then(() => {
        if (this.#answer === 'passes') this.#upstream.destroy();
      });
    });
    this.#upstream.on('close', () => {
      this.#client.destroy();
      this.#wake();
    });
  }

  #relay(message: Message): void {
    if (message.type === 'K') this.#pid = message.body.readInt32BE(0);
    if (message.type === 'Z') this.#isAnswered = true;
    if (this.#kept === null) {
      this.#pass(message);
      return;
    }
    this.#kept.push(message);
    this.#wake();
  }

  #pass(message: Message): void {
    if (this.#answer === 'passes') this.#client.write(message.bytes);
    else if (message.type === 'Z') this.#cut();
  }

  async #take(message: Message): Promise<void> {
    if (message.type === '' && message.body.readInt32BE(0) === tlsRequest) {
      this.#client.write('N');
      return;
    }
    const statement = message.type === 'Q' ? textOf(message.body) : 'startup';
    this.#isAnswered = false;
    const fault = this.#shared.redshift.fault(statement);
    if (fault === 'cut-before') {
      this.#cut();
      return;
    }
    if (fault === 'late') {
      this.#answer = 'is lost';
      this.#client.destroy();
      await new Promise<void>((resolve) => this.#shared.late.add(resolve));
    }
    if (fault === 'lose-answer') this.#answer = 'is lost';
    const copy = copyPattern.exec(statement);
    // Redshift takes a primary key, and enforces none.
    if (statement.startsWith('CREATE')) {
      this.#upstream.write(query(statement.replace(' PRIMARY KEY', '')));
    } else if (copy === null) {
      this.#upstream.write(message.bytes);
    } else {
      this.#kept = [];
      for (const message of await this.#copy(statement, copy)) this.#pass(message);
      this.#kept = null;
    }
    if (fault === 'cut-after') this.#cut();
    if (fault === null && statement.startsWith('LOCK')) await this.#untilLocked();
    if (fault === null && statement === 'COMMIT') this.#release();
  }

  /** Those that are late go on while this one waits for them; one that need not wait goes first. */
  async #untilLocked(): Promise<void> {
    while (!this.#isAnswered && !this.#upstream.destroyed) {
      const { rows } = await this.#shared.administrator.query(
        'SELECT 1 FROM pg_locks WHERE NOT granted LIMIT 1',
      );
      if (rows.length > 0) this.#release();
    }
  }

  #release(): void {
    for (const goOn of this.#shared.late) goOn();
    this.#shared.late.clear();
  }

  /** Returns what the client is told. */
  async #copy(
    statement: string,
    [, table = '', list, key = '', rest = '']: RegExpExecArray,
  ): Promise<Message[]> {
    const { redshift, s3 } = this.#shared;
    redshift.copies.push(statement);
    const columns = namesIn(list ?? (await this.#columnsOf(table)));
    const [, options = ''] = /^(?:IAM_ROLE|CREDENTIALS) .*MANIFEST (.*)$/.exec(rest) ?? [];
    const read = copyReader(options, columns);
    if (read === null) return this.#fail('42601', `syntax error in ${rest}`);
    const manifest = JSON.parse((await getObject(s3, key)).toString()) as {
      readonly entries: readonly { readonly url: string; readonly mandatory: boolean }[];
    };
    const rows: Row[] = [];
    for (const { url } of manifest.entries) {
      const object = await getObject(s3, url.replace('s3://bucket/', '')).catch(() => null);
      if (object === null) {
        return this.#fail('XX000', 'Mandatory url is not present in manifest file.');
      }
      rows.push(...(await read(object)).map((row) => ({ file: url, ...row })));
    }
    const into = `${table} (${columns.map((name) => `"${name.replaceAll('"', '""')}"`).join(', ')})`;
    return this.#load(table, into, rows);
  }

  async #load(table: string, into: string, rows: readonly Row[]): Promise<Message[]> {
    const pieces: string[] = [];
    for (const row of rows) {
      if (row.values === null) return this.#failLoad(table, row, 'Invalid JSON');
      pieces.push(`${row.values.map(field).join('\t')}\n`);
    }
    this.#upstream.write(query(`COPY ${into} FROM STDIN`));
    const first = await this.#next('GE');
    // No such table or column, no right: as PostgreSQL says it.
    if (first.type === 'E') return [first, await this.#next('Z')];
    this.#upstream.write(typed('d', Buffer.from(pieces.join(''))));
    this.#upstream.write(typed('c', Buffer.alloc(0)));
    const outcome = await this.#next('CE');
    const end = await this.#next('Z');
    if (outcome.type === 'E') {
      const line = Number(/line (\d+)/.exec(outcome.body.toString())?.[1] ?? 1);
      const reason = /\0M([^\0]*)/.exec(outcome.body.toString())?.[1] ?? '';
      return this.#failLoad(table, rows[line - 1] ?? { file: '', line, values: null }, reason);
    }
    return [outcome, end];
  }

  async #columnsOf(table: string): Promise<string> {
    const { rows } = await this.#shared.administrator.query<{ name: string }>(
      `SELECT quote_ident(attname) AS name FROM pg_attribute
       WHERE attrelid = '${table}'::regclass AND attnum > 0 ORDER BY attnum`,
    );
    return rows.map(({ name }) => (name.startsWith('"') ? name : `"${name}"`)).join(', ');
  }

  /** As Redshift does: the message says nothing but where to look. */
  async #failLoad(table: string, row: Row, reason: string): Promise<Message[]> {
    await this.#shared.administrator.query(
      'INSERT INTO stl_load_errors (session, filename, line_number, colname, err_reason) VALUES ($1, $2, $3, $4, $5)',
      [this.#pid, row.file, row.line, '', reason.slice(0, 100)],
    );
    const where = "Check 'stl_load_errors' system table for details.";
    return this.#fail('XX000', `Load into table ${table} failed.  ${where}`);
  }

  /** Ends the transaction there as the client is told here. */
  async #fail(state: string, message: string): Promise<Message[]> {
    this.#upstream.write(query('SELECT 1 / 0'));
    const end = await this.#next('Z');
    const text = ['SERROR', `C${state}`, `M${message}`].map((part) => `${part}\0`).join('');
    const bytes = typed('E', Buffer.from(`${text}\0`));
    return [{ type: 'E', body: bytes.subarray(5), bytes }, end];
  }

  /** The next message of these types; others on the way are dropped. Throws when no more come. */
  async #next(types: string): Promise<Message> {
    for (;;) {
      const message = this.#kept?.shift();
      if (message !== undefined && types.includes(message.type)) return message;
      if (message !== undefined) continue;
      if (this.#upstream.destroyed) throw new Error('the server is gone');
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #cut(): void {
    this.#client.destroy();
    this.#upstream.destroy();
  }
}

interface Message {
  /** Empty for the first of a client. */
  readonly type: string;
  readonly body: Buffer;
  readonly bytes: Buffer;
}

/** Takes the protocol's messages out of a stream of bytes. */
class Messages {
  #bytes = Buffer.alloc(0);
  #next: 'startup' | 'typed';

  constructor(first: 'startup' | 'typed') {
    this.#next = first;
  }

  *push(bytes: Buffer): Generator<Message> {
    this.#bytes = Buffer.concat([this.#bytes, bytes]);
    for (;;) {
      const head = this.#next === 'startup' ? 0 : 1;
      if (this.#bytes.length < head + 4) return;
      const length = head + this.#bytes.readInt32BE(head);
      if (this.#bytes.length < length) return;
      const message = this.#bytes.subarray(0, length);
      this.#bytes = this.#bytes.subarray(length);
      this.#next = 'typed';
      const type = message.toString('latin1', 0, head);
      yield { type, body: message.subarray(head + 4), bytes: message };
    }
  }
}

function typed(type: string, body: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.write(type, 'latin1');
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}

function query(statement: string): Buffer {
  return typed('Q', Buffer.from(`${statement}\0`));
}

function textOf(body: Buffer): string {
  return body.toString('utf8', 0, body.length - 1);
}

/** Of a list in a statement. */
function namesIn(list: string): readonly string[] {
  return list.split(', ').map((name) => name.slice(1, -1).replaceAll('""', '"'));
}

/** As COPY takes it in its text format. */
function field(value: unknown): string {
  if (value === undefined || value === null) return '\\N';
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return text.replace(/[\\\t\n\r]/g, (character) => `\\${escapes[character] ?? character}`);
}

const escapes: Readonly<Record<string, string>> = { '\t': 't', '\n': 'n', '\r': 'r' };
