/**
 * Publishes with QoS 1 as fast as a broker takes it, over several connections with a window of
 * unacknowledged messages each, and prints messages a second. Packets are built beforehand and
 * nothing is parsed but the types of the answers: the broker is what is measured.
 *
 * node --import tsx mqtt-load.ts <port> <connections> <messages per connection> <window> <user> <password>
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

const [port, connections, messages, window] = process.argv.slice(2, 6).map(Number) as [
  number,
  number,
  number,
  number,
];
const [username = '', password = ''] = process.argv.slice(6);
const payloadBytes = 200;
/** Messages that go out in one write. */
const burst = 50;
const pubackBytes = 4;

function field(text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([Buffer.of(bytes.length >> 8, bytes.length & 255), bytes]);
}

function packet(header: number, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  const { length } = body;
  const lengthBytes = length < 128 ? [length] : [(length & 127) | 128, length >> 7];
  return Buffer.concat([Buffer.of(header, ...lengthBytes), body]);
}

function connectPacket(id: string): Buffer {
  const user = username === '' ? [] : [field(username), field(password)];
  const flags = username === '' ? 2 : 0xc2;
  return packet(0x10, field('MQTT'), Buffer.of(4, flags, 0, 60), field(id), ...user);
}

/** A payload that is JSON, and `payloadBytes` long. */
function payload(connection: number): Buffer {
  const text = JSON.stringify({ device: `device-${connection}`, value: 21.5, padding: '' });
  return Buffer.from(text.replace('""', `"${'x'.repeat(payloadBytes - text.length)}"`));
}

async function open(connection: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  socket.setNoDelay(true);
  socket.write(connectPacket(`load-${connection}`));
  const [answer] = (await once(socket, 'data')) as [Buffer];
  if (answer[0] !== 0x20 || answer[3] !== 0) throw new Error(`refused: ${answer.toString('hex')}`);
  return socket;
}

/** Resolves when every message is acknowledged. */
function publishAll(socket: Socket, connection: number): Promise<void> {
  const topic = field(`site/device-${connection}`);
  const body = payload(connection);
  const one = packet(0x32, topic, Buffer.of(0, 1), body);
  const idAt = one.length - body.length - 2;
  const bytes = Buffer.concat(Array.from({ length: burst }, () => one));
  let sent = 0;
  let acknowledgedBytes = 0;
  const fill = (): void => {
    while (sent < messages && sent - acknowledgedBytes / pubackBytes <= window - burst) {
      const packets = Buffer.from(bytes);
      for (let index = 0; index < burst; index += 1) {
        packets.writeUInt16BE(1 + ((sent + index) % 65_535), index * one.length + idAt);
      }
      socket.write(packets);
      sent += burst;
    }
  };
  return new Promise((resolve, reject) => {
    socket.once('close', () => reject(new Error('the broker closed the connection')));
    socket.on('data', (answer: Buffer) => {
      acknowledgedBytes += answer.length;
      if (acknowledgedBytes >= messages * pubackBytes) resolve();
      else fill();
    });
    fill();
  });
}

const sockets = await Promise.all(
  Array.from({ length: connections }, (_, connection) => open(connection)),
);
const startedMs = performance.now();
await Promise.all(sockets.map(publishAll));
const seconds = (performance.now() - startedMs) / 1000;
process.stdout.write(`RATE ${Math.round((connections * messages) / seconds)}\n`);
process.exit(0);
