/*
 * `npm run setup`: everything that `npm start` would do or begin, to its end, with downloads that
 * failed before tried again. For machine images, and for a person who has changed something.
 */
'use strict';

const worker = require('./mediasoup-worker.cjs');
const { prepare } = require('./prepare.cjs');
const { createSteps, main } = require('./steps.cjs');

main(async () => {
  const steps = createSteps();
  const prepared = await prepare(steps, { retryDownloads: true });
  if (prepared.worker === 'to build') await worker.build(steps);
});
