import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { connectPaced, pacedSocket, ReadingPace } from '../../ingest/reading-pace.ts';
import { ManualClock } from '../support/manual-clock.ts';

const packetBytes = 1_400;

type Kind = 'accepted' | 'opened';

/** Both ends of a connection; the reading one is paced. */
async function pair(t: TestContext, kind: Kind): Promise<{ sender: Socket; reader: Socket }> {
  const server = createServer(pacedSocket);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const place = { host: '127.0.0.1', port };
  const opened = kind === 'opened' ? connectPaced(place) : connect(place);
  const [[accepted]] = (await Promise.all([
    once(server, 'connection'),
    once(opened, 'connect'),
  ])) as [[Socket], unknown];
  const [reader, sender] = kind === 'opened' ? [opened, accepted] : [accepted, opened];
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

for (const kind of ['accepted', 'opened'] as const)
  describe(`a paced reading, ${kind}`, () => {
    const paceOf = (reader: Socket, clock: ManualClock): ReadingPace =>
      new ReadingPace(reader, clock, kind === 'opened');

    it('reads many packets at once after each rest, all of them, in order', async (t) => {
      const clock = new ManualClock();
      const { sender, reader } = await pair(t, kind);
      const pace = paceOf(reader, clock);
      const pieces: Buffer[] = [];
      reader.on('data', (piece: Buffer) => {
        pieces.push(Buffer.from(piece));
        pace.rest(piece.length);
      });
      await sendPackets(sender, 40);
      const { length: before } = pieces;
      assert.equal(before, kind === 'opened' ? 1 : 2, 'then it rests');
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
      const { sender, reader } = await pair(t, kind);
      const pace = paceOf(reader, new ManualClock());
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
      const { sender, reader } = await pair(t, kind);
      const pace = paceOf(reader, new ManualClock());
      reader.on('data', (piece: Buffer) => pace.rest(piece.length));
      await sendPackets(sender, 10);
      assert.ok(reader.isPaused());
      pace.end();
      sender.end();
      await once(reader, 'end');
    });
  });
