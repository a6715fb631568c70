/** An HTTP Event Collector of Splunk, with indexers that take their time. */
import assert from 'node:assert/strict';
import { z } from 'zod';
import type { Scope } from '../../../support/scope.ts';
import { startStub, type StubAnswer, type StubRequest, type StubServer } from './stub-server.ts';

export interface IndexedEvent {
  readonly time?: number;
  readonly index?: string;
  readonly source?: string;
  readonly sourcetype?: string;
  readonly host?: string;
  readonly event: unknown;
  readonly fields?: Readonly<Record<string, string>>;
}

export interface SplunkStub extends StubServer {
  /** In the order in which they were read. */
  readonly events: IndexedEvent[];
  /** What came to the raw endpoint, with its query. */
  readonly raw: { readonly text: string; readonly query: string }[];
  /** How often a request has to be asked about before it is indexed. */
  asksBeforeAck: number;
  /** Of a request; more is answered with 413. */
  maxBytes: number;
  /** Whether the token is set to acknowledge. */
  acknowledges: boolean;
  /** The collector's number for an event that it does not like. */
  refuse: (event: IndexedEvent) => number | null;
}

export const token = 'b0221cd8-c4b4-465a-9a3c-273e3a75aa29';

const guid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const eventShape = z.strictObject({
  time: z.number().optional(),
  index: z.string().optional(),
  source: z.string().optional(),
  sourcetype: z.string().optional(),
  host: z.string().optional(),
  fields: z.record(z.string(), z.string()).optional(),
  event: z.union([z.string().min(1), z.record(z.string(), z.unknown()), z.array(z.unknown())]),
});

function refusal(status: number, code: number, text: string, event?: number): StubAnswer {
  return { status, body: JSON.stringify({ text, code, 'invalid-event-number': event }) };
}

export async function startSplunk(context: Scope): Promise<SplunkStub> {
  /** By channel: how often each request was asked about. */
  const channels = new Map<string, Map<number, number>>();
  const events: IndexedEvent[] = [];
  const raw: { text: string; query: string }[] = [];

  const taken = (channel: string): StubAnswer => {
    const requests = channels.get(channel) ?? new Map<number, number>();
    channels.set(channel, requests);
    const ackId = requests.size;
    requests.set(ackId, 0);
    const answer = { text: 'Success', code: 0, ...(stub.acknowledges && { ackId }) };
    return {
      status: 200,
      headers: { 'set-cookie': `indexer=${channel}; Path=/; HttpOnly` },
      body: JSON.stringify(answer),
    };
  };

  const ack = (request: StubRequest, channel: string): StubAnswer => {
    if (!stub.acknowledges) return refusal(400, 14, 'ACK is disabled');
    const { acks } = z
      .strictObject({ acks: z.array(z.int().min(0)).min(1) })
      .parse(JSON.parse(request.body.toString()));
    const requests = channels.get(channel) ?? new Map<number, number>();
    const said = acks.map((id) => {
      const asked = requests.get(id);
      if (asked === undefined) return [String(id), false] as const;
      // As one load balancer among several would have it.
      assert.equal(request.headers.cookie, `indexer=${channel}`);
      requests.set(id, asked + 1);
      return [String(id), asked >= stub.asksBeforeAck] as const;
    });
    return { status: 200, body: JSON.stringify({ acks: Object.fromEntries(said) as unknown }) };
  };

  const serve = (request: StubRequest): StubAnswer => {
    const { method, url, headers } = request;
    assert.equal(method, 'POST');
    if (headers.authorization === undefined) return refusal(401, 2, 'Token is required');
    if (headers.authorization !== `Splunk ${token}`) return refusal(403, 4, 'Invalid token');
    const channel = url.searchParams.get('channel') ?? '';
    if (!guid.test(channel)) return refusal(400, 10, 'Data channel is missing');
    assert.equal(headers['x-splunk-request-channel'], channel);
    if (url.pathname === '/services/collector/ack') return ack(request, channel);
    if (request.body.length > stub.maxBytes) return { status: 413, body: 'too large' };
    if (url.pathname === '/services/collector/raw') {
      const text = request.body.toString('latin1');
      if (text.trim() === '') return refusal(400, 5, 'No data');
      raw.push({ text, query: url.search });
      return taken(channel);
    }
    assert.equal(url.pathname, '/services/collector/event');
    const read: IndexedEvent[] = [];
    for (const [number, json] of objectsIn(request.body.toString()).entries()) {
      const { data } = eventShape.safeParse(json);
      const code = data === undefined ? 6 : stub.refuse(data);
      if (data === undefined || code !== null) {
        // What was read before it is indexed, or not: Splunk makes no promise.
        events.push(...read);
        return refusal(400, code ?? 6, 'refused', number);
      }
      read.push(data);
    }
    if (read.length === 0) return refusal(400, 5, 'No data', 0);
    events.push(...read);
    return taken(channel);
  };

  const stub: SplunkStub = {
    ...(await startStub(context, serve)),
    ...{ events, raw, asksBeforeAck: 0, maxBytes: Infinity, acknowledges: true },
    refuse: () => null,
  };
  return stub;
}

/** One JSON object after the other. */
function objectsIn(text: string): readonly unknown[] {
  const objects: unknown[] = [];
  let pending = '';
  for (const line of text.split('\n')) {
    pending += `${line}\n`;
    try {
      objects.push(JSON.parse(pending));
      pending = '';
    } catch {
      // It goes on in the next line.
    }
  }
  assert.equal(pending.trim(), '', 'nothing is left over');
  return objects;
}
