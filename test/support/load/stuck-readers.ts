/** Readers that ask for much and then never read: one for each way out of the gateway. */
import { connect as connectSocket, type Socket } from 'node:net';
import { connectAsync } from 'mqtt';
import { startChild, type Child } from '../child.ts';
import type { GatewayProcess } from '../gateway.ts';
import type { Scope } from '../scope.ts';
import { ffmpegPath } from '../tools.ts';

/** An HTTP client that asks for the same over and over in one connection, and reads no answer. */
export async function stuckHttpReader(
  scope: Scope,
  gateway: GatewayProcess,
  path: string,
): Promise<Socket> {
  const socket = connectSocket(gateway.httpPort, '127.0.0.1');
  scope.after(() => socket.destroy());
  socket.on('error', () => undefined);
  socket.pause();
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', reject);
  });
  const request = [
    `GET ${path} HTTP/1.1`,
    `Host: 127.0.0.1:${gateway.httpPort}`,
    `Authorization: Bearer ${gateway.token}`,
    '\r\n',
  ].join('\r\n');
  socket.write(request.repeat(30));
  return socket;
}

/** A subscriber to everything that never reads its socket. */
export async function stuckSubscriber(
  scope: Scope,
  port: number,
  user: { readonly username: string; readonly password: string },
): Promise<void> {
  const client = await connectAsync(`mqtt://127.0.0.1:${port}`, { ...user, reconnectPeriod: 0 });
  scope.after(() => client.end(true));
  client.on('error', () => undefined);
  await client.subscribeAsync('#', { qos: 1 });
  client.stream.pause();
}

/** A player that stops in the middle of playing. */
export async function stuckPlayer(scope: Scope, url: string): Promise<Child> {
  const player = startChild(scope, ffmpegPath, [
    ...['-hide_banner', '-nostdin', '-loglevel', 'info', '-rtsp_transport', 'tcp', '-i', url],
    ...['-c', 'copy', '-f', 'null', '-'],
  ]);
  await player.line(/Press|frame=|Output #0/);
  player.process.kill('SIGSTOP');
  return player;
}
