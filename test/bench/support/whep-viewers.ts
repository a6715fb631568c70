/**
 * Viewers by WHEP in a process of their own, so that what they take is not counted as the gateway's.
 * A line `open <count>` on its input opens so many more; `count` is answered with what all of them
 * have got so far, a line of JSON.
 *
 * node --import tsx whep-viewers.ts <url> <token>
 */
import { createInterface } from 'node:readline';
import { withScope } from '../../support/scope.ts';
import { type LightCounts, watchLightly } from '../../support/webrtc-client.ts';

const [url = '', token = ''] = process.argv.slice(2);

await withScope(async (scope) => {
  const viewers: LightCounts[] = [];
  for await (const line of createInterface({ input: process.stdin })) {
    const [command, count] = line.split(' ');
    if (command === 'open') {
      for (let opened = 0; opened < Number(count); opened += 1) {
        viewers.push(await watchLightly(scope, url, `Bearer ${token}`));
      }
      process.stdout.write(`opened ${viewers.length}\n`);
    } else {
      process.stdout.write(`${JSON.stringify(viewers)}\n`);
    }
  }
});
process.exit();
