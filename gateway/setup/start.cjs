/* `npm start`: the set-up, then the gateway. ECMAScript 5 only: see node-version.cjs. */
'use strict';

require('./node-version.cjs').requireSupportedNode();
require('./command-start.cjs');
