/** What `npm run soak -- fuzz` does with many seeds, with one. */
import { it } from 'node:test';
import { fuzzGateway } from '../soak/fuzz.ts';

it('survives nearly valid traffic on every port, and serves all the while', async (t) => {
  const figures = await fuzzGateway(t, { conversations: 1000, seed: 1, note: () => undefined });
  t.diagnostic(JSON.stringify(figures));
});
