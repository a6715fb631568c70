/** The records that servers of the Kinesis API are measured with, and how many go in a call. */
export const recordBytes = 200;
export const recordsPerPut = 500;
export const recordsPerGet = 10_000;
const devices = 1000;

/** JSON of so many bytes, under one of a thousand keys. */
export function recordOf(
  index: number,
  bytes = recordBytes,
): { PartitionKey: string; Data: Buffer } {
  const text = JSON.stringify({ id: index, value: Math.sin(index), padding: '' });
  const padding = 'x'.repeat(bytes - text.length);
  const Data = Buffer.from(text.replace('""', `"${padding}"`));
  return { PartitionKey: `device-${index % devices}`, Data };
}
