/*
 * `npm run bench`: the set-up, then the benchmarks under test/bench. What follows `--` names those
 * that are wanted. mediasoup's worker is not built meanwhile: nothing may run beside them.
 */
'use strict';

const { runScript } = require('./script.cjs');

runScript('test/bench/run.ts');
