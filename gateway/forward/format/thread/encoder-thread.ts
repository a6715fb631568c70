/** A thread that encodes, for as many sessions as it is given, one request after the other. */
import { parentPort } from 'node:worker_threads';
import { CsvWriter } from '../rows/csv.ts';
import { ParquetRowWriter } from '../rows/parquet.ts';
import { Table, type RecordChunk, type RowFailure } from '../rows/table.ts';
import type { Answer, Request, Work } from './protocol.ts';
import { hadoopSnappyBlock, snappyBlock, snappyHead } from './snappy.ts';
import { loadZstd, zstdFrame } from './zstd.ts';

interface Session {
  add(chunk: RecordChunk): readonly RowFailure[];
  end(): void;
}

type OnPiece = (piece: Uint8Array) => void;

function sessionOf(work: Work, onPiece: OnPiece): Session {
  switch (work.kind) {
    case 'csv':
      return new Table(work.columns, new CsvWriter(work.csv, onPiece));
    case 'parquet':
      return new Table(work.columns, new ParquetRowWriter(work.parquet, zstdFrame, onPiece));
    case 'zstd':
      return compression(onPiece, zstdFrame);
    case 'hadoop-snappy':
      return compression(onPiece, hadoopSnappyBlock);
    case 'snappy':
      onPiece(snappyHead());
      return compression(onPiece, snappyBlock);
  }
}

function compression(onPiece: OnPiece, compress: (block: Uint8Array) => Uint8Array): Session {
  return {
    add: ({ bytes }) => {
      if (bytes.length > 0) onPiece(compress(bytes));
      return [];
    },
    end: () => undefined,
  };
}

const port = parentPort;
if (port === null) throw new Error('this is a thread of the gateway, and no program');
await loadZstd();

const sessions = new Map<number, Session>();
let pieces: Uint8Array[] = [];

port.on('message', ({ session, request }: { session: number; request: Request }) => {
  if (request.type === 'close') {
    sessions.delete(session);
    return;
  }
  let answer: Answer;
  try {
    const failures = carryOut(session, request);
    answer = { session, pieces, failures };
  } catch (error) {
    sessions.delete(session);
    answer = { session, error: error instanceof Error ? error.message : String(error) };
  }
  const given = pieces;
  pieces = [];
  port.postMessage(answer, [...new Set(given.map(({ buffer }) => buffer as ArrayBuffer))]);
});

function carryOut(id: number, request: Exclude<Request, { type: 'close' }>): readonly RowFailure[] {
  if (request.type === 'open') {
    sessions.set(
      id,
      sessionOf(request.work, (piece) => pieces.push(owned(piece))),
    );
    return [];
  }
  const session = sessions.get(id);
  if (session === undefined) throw new Error('the session is over');
  if (request.type === 'add') return session.add(request);
  session.end();
  return [];
}

/** With memory of its own, that can be handed over. */
function owned(piece: Uint8Array): Uint8Array {
  return piece.byteLength === piece.buffer.byteLength ? piece : new Uint8Array(piece);
}
