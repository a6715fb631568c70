/** A program that encodes one record, says so, and ends by itself. */
import { formatOf } from '../../../../../gateway/forward/format/formats.ts';
import { shaped } from './encode.ts';

const format = formatOf({ type: 'csv', compression: 'zstd' }, { shardIndex: 0 });
const encoder = format.encoder();
await encoder.add([shaped(0, '{"a":1}')]);
console.log((await encoder.end()).object?.records);
