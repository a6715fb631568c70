/*
 * Builds mediasoup's worker in a process of its own, at a low priority, so that it is out of the
 * way of a gateway that serves or of tests that run. The argument is that priority, a niceness;
 * the lowest unless given. Ends with 0 when the worker is there.
 */
'use strict';

const os = require('node:os');
const worker = require('./mediasoup-worker.cjs');
const { createSteps, main } = require('./steps.cjs');

main(async () => {
  os.setPriority(Number(process.argv[2] ?? os.constants.priority.PRIORITY_LOW));
  await worker.build(createSteps());
});
