import type { Passing } from './proxy.ts';

interface Entry {
  readonly PartitionKey: string;
  readonly Data: string;
}

interface Outcome {
  readonly ErrorCode?: string;
  readonly ErrorMessage?: string;
  readonly SequenceNumber?: string;
}

/**
 * Hands a PutRecords on without the records that `refuse` picks, and answers as Kinesis does when
 * a shard is over its limit: those failed, the others taken. Other calls pass as they are.
 */
export async function passSome(
  passing: Passing,
  refuse: (key: string, index: number) => boolean,
): Promise<void> {
  const { request, response } = passing;
  const body = await passing.body();
  const isPut = String(request.headers['x-amz-target']).endsWith('.PutRecords');
  const call = JSON.parse(body.toString()) as { StreamName: string; Records: Entry[] };
  const records = isPut ? call.Records : [];
  const refused = records.map(({ PartitionKey }, index) => refuse(PartitionKey, index));
  const passed = records.filter((_, index) => refused[index] !== true);
  let taken: Outcome[] = [];
  if (!isPut || passed.length > 0) {
    const content = isPut ? Buffer.from(JSON.stringify({ ...call, Records: passed })) : body;
    const answer = await passing.ask(content);
    if (!isPut || answer.status !== 200) {
      response.writeHead(answer.status, answer.headers).end(answer.body);
      return;
    }
    taken = (JSON.parse(answer.body.toString()) as { Records: Outcome[] }).Records;
  }
  const outcomes = refused.map((failed): Outcome =>
    failed
      ? { ErrorCode: 'ProvisionedThroughputExceededException', ErrorMessage: 'Rate exceeded' }
      : taken.shift()!,
  );
  response.writeHead(200, { 'content-type': 'application/x-amz-json-1.1' });
  response.end(
    JSON.stringify({
      FailedRecordCount: refused.filter(Boolean).length,
      Records: outcomes,
    }),
  );
}
