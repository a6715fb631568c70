/* `npm run bench`: the set-up, then the benchmarks. ECMAScript 5 only: see node-version.cjs. */
'use strict';

require('./node-version.cjs').requireSupportedNode();
require('./command-bench.cjs');
