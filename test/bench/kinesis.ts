/**
 * The Kinesis API of a whole gateway, signatures checked, every put answered after its fsynced
 * commit. Beside it, called by the same client: kinesalite, which keeps everything in memory and
 * checks no signature, and a server that reads what it is sent and answers from memory without a
 * look at it, which is the ceiling of that client.
 *
 * There are two clients, each a process of its own (support/kinesis-callers.ts). The SDK is what
 * users have, and the targets are for it: it takes most of a core itself, so its ceiling is low. The
 * bare one signs ahead and looks at nothing, so that what it measures is the server alone.
 *
 * Servers take turns, and the best round of each counts.
 */
import type { Benchmark, BenchmarkContext, Figure } from './bench.ts';
import { recordBytes, recordsPerGet, recordsPerPut } from './support/kinesis-records.ts';
import {
  gatewayServer,
  load,
  startCeiling,
  startGateway,
  startKinesalite,
  written,
  type KinesisServer,
} from './support/kinesis-servers.ts';
import type { Operation, Protocol } from './support/kinesis-callers.ts';

const rounds = 2;
const secondsPerRound = 2;

interface Way {
  readonly operation: Operation;
  readonly name: string;
  readonly callers: number;
  readonly recordsPerCall: number;
  /** Of the ceiling, by the SDK. */
  readonly ceilingMin: number;
  /** Of kinesalite. */
  readonly peerMin: number | null;
}

const ways: readonly Way[] = [
  {
    operation: 'PutRecords',
    name: `PutRecords of ${recordsPerPut}, 4 callers`,
    ...{ callers: 4, recordsPerCall: recordsPerPut, ceilingMin: 0.5, peerMin: 4 },
  },
  {
    operation: 'GetRecords',
    name: `GetRecords of ${recordsPerGet.toLocaleString('en-US')}, 4 callers`,
    ...{ callers: 4, recordsPerCall: recordsPerGet, ceilingMin: 0.7, peerMin: null },
  },
  {
    operation: 'PutRecord',
    name: 'PutRecord, 16 callers',
    ...{ callers: 16, recordsPerCall: 1, ceilingMin: 0.8, peerMin: null },
  },
];

const clients: readonly { client: 'sdk' | 'bare'; protocol: Protocol; name: string }[] = [
  { client: 'sdk', protocol: 'h2c', name: 'SDK over h2c' },
  { client: 'sdk', protocol: 'http1', name: 'SDK over HTTP/1.1' },
  { client: 'bare', protocol: 'http1', name: 'bare client over HTTP/1.1' },
];

export const benchmark: Benchmark = {
  name: 'kinesis',
  title: `The Kinesis API, records of ${recordBytes} B, signatures checked`,
  run: async (context) => {
    const figures: Figure[] = [];
    const servers = {
      ours: await gatewayServer(await startGateway(context, context.folder)),
      peer: await startKinesalite(context),
      ceiling: await startCeiling(context),
    };
    for (const way of ways) {
      for (const client of clients) {
        figures.push(...(await compare(context, servers, way, client)));
      }
    }
    return figures;
  },
};

interface Servers {
  readonly ours: KinesisServer;
  readonly peer: KinesisServer;
  readonly ceiling: KinesisServer;
}

async function compare(
  { note }: BenchmarkContext,
  { ours, peer, ceiling }: Servers,
  way: Way,
  { client, protocol, name: clientName }: (typeof clients)[number],
): Promise<readonly Figure[]> {
  const { operation, callers, recordsPerCall } = way;
  // kinesalite speaks HTTP/1.1 only.
  const compared = protocol === 'h2c' ? [ours, ceiling] : [ours, peer, ceiling];
  const best = new Map<KinesisServer, number>();
  let clientCores = 0;
  for (let round = 0; round < rounds; round += 1) {
    for (const server of compared) {
      const result = await load({
        ...{ client, protocol, operation, callers, stream: written },
        ...{ port: server.port(protocol), seconds: secondsPerRound },
        ...(operation === 'GetRecords' ? { inputs: server.reads } : {}),
      });
      const perSecond = result.callsPerSecond * recordsPerCall;
      best.set(server, Math.max(best.get(server) ?? 0, perSecond));
      if (server === ceiling) clientCores = result.clientCores;
    }
  }
  const [value = 0, peerValue = 0, ceilingValue = 0] = [ours, peer, ceiling].map((server) =>
    best.get(server),
  );
  note(
    `${way.name}, ${clientName}: ${Math.round(value)} of ${Math.round(ceilingValue)} records/s; ` +
      `the client took ${clientCores.toFixed(2)} cores at its ceiling`,
  );
  const figure = { name: `${way.name}, ${clientName}`, value, unit: 'records/s' };
  const againstCeiling: Figure = {
    ...figure,
    against: { name: 'answers from memory', value: ceilingValue },
    ratio: value / ceilingValue,
    ...(client === 'sdk' ? { target: { atLeast: way.ceilingMin } } : {}),
  };
  if (protocol === 'h2c') return [againstCeiling];
  return [
    againstCeiling,
    {
      ...figure,
      against: { name: 'kinesalite', value: peerValue },
      ratio: value / peerValue,
      ...(way.peerMin === null ? {} : { target: { atLeast: way.peerMin } }),
    },
  ];
}
