/**
 * Follows files into a store until it is killed. Prints `ready` when it has begun, and
 * `stored <number>` for the number that begins the last line of an append.
 */
import { numberOf } from './log-writer.ts';
import { openLineStore, startSource } from './support.ts';

const [dataFolder = '', path = ''] = process.argv.slice(2);
const { places } = await openLineStore(dataFolder);
// The clock's timers do not keep a process alive.
setInterval(() => undefined, 60_000);
const { ready, ended } = startSource({
  path,
  places: {
    of: (name) => places.of(name),
    move: async (name, changes, placed) => {
      await places.move(name, changes, placed);
      const last = placed?.records.at(-1)?.data;
      if (last !== undefined) console.log(`stored ${numberOf(last)}`);
    },
  },
});
await ready;
console.log('ready');
await ended;
