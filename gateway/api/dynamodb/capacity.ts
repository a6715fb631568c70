/** `ConsumedCapacity`, as DynamoDB would count it: nothing is paid or limited by it here. */
export type WantedCapacity = 'INDEXES' | 'TOTAL' | 'NONE' | undefined;

const readUnitBytes = 4096;
const writeUnitBytes = 1024;

export function readCapacity(
  TableName: string,
  wanted: WantedCapacity,
  bytes: number,
  isConsistent: boolean | undefined,
): object {
  const units = Math.max(1, Math.ceil(bytes / readUnitBytes));
  return consumed(TableName, wanted, isConsistent === true ? units : units / 2);
}

export function writeCapacity(TableName: string, wanted: WantedCapacity, bytes: number): object {
  return consumed(TableName, wanted, Math.max(1, Math.ceil(bytes / writeUnitBytes)));
}

function consumed(TableName: string, wanted: WantedCapacity, CapacityUnits: number): object {
  if (wanted === undefined || wanted === 'NONE') return {};
  const table = wanted === 'INDEXES' ? { Table: { CapacityUnits } } : {};
  return { ConsumedCapacity: { TableName, CapacityUnits, ...table } };
}
