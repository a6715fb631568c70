import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { pacedSocket, ReadingPace } from '../../../ingest/rtsp/reading-pace.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const packetBytes = 1_400;

/** Both ends of a connection; the reading one is paced. */
async function pair(t: TestContext): Promise<{ sender: Socket; reader: Socket }> {
  const server = createServer(pacedSocket);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const sender = connect({ host: '127.0.0.1', port: (server.address() as AddressInfo).port });
  const [reader] = (await once(server, 'connection')) as [Socket];
  await once(sender, 'connect');
  sender.setNoDelay(true);
  t.after(() => {
    sender.destroy();
    reader.destroy();
    server.close();
  });
  return { sender, reader };
}

async function sendPackets(sender: Socket, count: number): Promise<void> {
  for (let index = 0; index < count; index += 1) {
    await new Promise((sent) => sender.write(Buffer.alloc(packetBytes, index), sent));
    // The other end has its turn.
    await setImmediate();
    await setImmediate();
  }
}

describe('a paced reading', () => {
  it('reads many packets at once after each rest, all of them, in order', async (t) => {
    const clock = new ManualClock();
    const { sender, reader } = await pair(t);
    const pace = new ReadingPace(reader, clock);
    const pieces: Buffer[] = [];
    reader.on('data', (piece: Buffer) => {
      pieces.push(piece);
      pace.rest(piece.length);
    });
    await sendPackets(sender, 40);
    const { length: before } = pieces;
    assert.equal(before, 2, 'it rests after the second piece');
    const ended = new AbortController();
    reader.on('end', () => ended.abort());
    sender.end();
    while (!ended.signal.aborted) {
      clock.advance(200);
      await setImmediate();
    }
    assert.ok(pieces.length < 12, `40 packets came in ${pieces.length} pieces`);
    const bytes = Buffer.concat(pieces);
    assert.equal(bytes.length, 40 * packetBytes);
    for (let index = 0; index < 40; index += 1) {
      assert.equal(bytes[index * packetBytes], index, `packet ${index}`);
    }
  });

  it('does not rest while more comes than a connection holds', async (t) => {
    const { sender, reader } = await pair(t);
    const pace = new ReadingPace(reader, new ManualClock());
    let bytes = 0;
    reader.on('data', (piece: Buffer) => {
      bytes += piece.length;
      pace.rest(piece.length);
    });
    sender.end(Buffer.alloc(32 * 1024 * 1024));
    await once(reader, 'end');
    assert.equal(bytes, 32 * 1024 * 1024);
  });

  it('reads to the end at once when it is told to', async (t) => {
    const { sender, reader } = await pair(t);
    const pace = new ReadingPace(reader, new ManualClock());
    reader.on('data', (piece: Buffer) => pace.rest(piece.length));
    await sendPackets(sender, 10);
    assert.ok(reader.isPaused());
    pace.end();
    sender.end();
    await once(reader, 'end');
  });
});
