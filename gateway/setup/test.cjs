/* `npm test`: the set-up, then the tests. ECMAScript 5 only: see node-version.cjs. */
'use strict';

require('./node-version.cjs').requireSupportedNode();
require('./command-test.cjs');
