/** What `npm run soak -- everything` does for ten minutes, for less than one. */
import { it } from 'node:test';
import { everythingAtOnce } from '../soak/everything.ts';

it('keeps its limits, and what behaves unharmed, with everything bad at once', async (t) => {
  const figures = await everythingAtOnce(t, {
    seconds: 40,
    seed: 1,
    note: (text) => t.diagnostic(text),
  });
  t.diagnostic(JSON.stringify(figures));
});
