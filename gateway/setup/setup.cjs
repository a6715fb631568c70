/* `npm run setup`: the whole set-up and nothing else, for images and for trying again. ECMAScript 5 only: see node-version.cjs. */
'use strict';

require('./node-version.cjs').requireSupportedNode();
require('./command-setup.cjs');
