/* `npm run check`: the static checks. ECMAScript 5 only: see node-version.cjs. */
'use strict';

require('./node-version.cjs').requireSupportedNode();
require('./command-check.cjs');
