/* `npm run soak`: the set-up, then the soaks. ECMAScript 5 only: see node-version.cjs. */
'use strict';

require('./node-version.cjs').requireSupportedNode();
require('./command-soak.cjs');
