/**
 * MQTT: messages of 200 bytes with QoS 1, PUBACK after the fsynced commit, end to end through a
 * whole gateway, against mosquitto, which stores nothing and has no subscriber.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Child, startChild } from '../support/child.ts';
import { freePort, GatewayProcess } from '../support/gateway.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { findProgram } from '../support/tools.ts';
import { median, type Benchmark, type BenchmarkContext, type Figure } from './bench.ts';

const connections = 10;
const messagesPerConnection = 30_000;
const windowMessages = 500;
const rounds = 5;
const user = { username: 'device', password: 'device-password' };
const loadScript = join(import.meta.dirname, 'support/mqtt-load.ts');

export const benchmark: Benchmark = {
  name: 'mqtt',
  title: `QoS 1 from ${connections} connections, ${windowMessages} in flight each, PUBACK after the commit`,
  run: async (context) => {
    const gateway = await GatewayProcess.start(
      context,
      context.folder,
      'streams: { readings: { shards: 4, maxBytes: 2 GB, whenFull: drop-oldest } }',
      JSON.stringify([user]),
      "[{ topic: 'site/+', stream: readings, partitionKey: '{topic[1]}', decoder: json }]",
    );
    const mosquitto = findProgram('mosquitto') === null ? null : await startMosquitto(context);
    const ours: number[] = [];
    const theirs: number[] = [];
    for (let round = 0; round < rounds; round += 1) {
      ours.push(await measure(gateway.mqttPort, user));
      if (mosquitto !== null) theirs.push(await measure(mosquitto, null));
      context.note(`${ours.at(-1) ?? 0} messages/s, mosquitto ${theirs.at(-1) ?? 0}`);
    }
    const value = median(ours);
    const figure: Figure = { name: 'QoS 1, JSON of 200 B', value, unit: 'messages/s' };
    if (theirs.length === 0) return [figure];
    const peer = median(theirs);
    return [
      {
        ...figure,
        against: { name: 'mosquitto, nothing stored', value: peer },
        ratio: value / peer,
        target: { atLeast: 1.5 },
      },
    ];
  },
};

async function startMosquitto(context: BenchmarkContext): Promise<number> {
  const port = await freePort();
  const path = join(await temporaryFolder(context), 'mosquitto.conf');
  const settings = [`listener ${port} 127.0.0.1`, 'allow_anonymous true', 'persistence false'];
  await writeFile(
    path,
    `${[...settings, 'log_type error', 'max_inflight_messages 0'].join('\n')}\n`,
  );
  startChild(context, 'mosquitto', ['-c', path, '-v']);
  return port;
}

async function measure(
  port: number,
  login: { readonly username: string; readonly password: string } | null,
): Promise<number> {
  const sizes = [port, connections, messagesPerConnection, windowMessages].map(String);
  const names = login === null ? [] : [login.username, login.password];
  const child = new Child(process.execPath, ['--import', 'tsx', loadScript, ...sizes, ...names]);
  const [, rate] = await child.line(/^RATE (\d+)$/);
  await child.exited;
  return Number(rate);
}
