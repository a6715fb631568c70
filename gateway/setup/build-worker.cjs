/*
 * Builds mediasoup's worker in a process of its own, at the lowest priority, so that it is out of
 * the way of a gateway that serves or of tests that run. Ends with 0 when the worker is there.
 */
'use strict';

const os = require('node:os');
const worker = require('./mediasoup-worker.cjs');
const { createSteps, main } = require('./steps.cjs');

main(async () => {
  os.setPriority(os.constants.priority.PRIORITY_LOW);
  await worker.build(createSteps());
});
