/*
 * `npm run soak`: the set-up, then what is in test/soak, for as long as it takes. What follows `--`
 * names those that are wanted, and seeds.
 */
'use strict';

const { runScript } = require('./script.cjs');

runScript('test/soak/run.ts');
