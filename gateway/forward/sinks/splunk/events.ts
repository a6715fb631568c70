/**
 * Records as Splunk's HTTP Event Collector takes them: as events, one JSON object after the other
 * with what is known about each, or raw, a record on a line.
 *
 * Source: Splunk, "Format events for HTTP Event Collector".
 */
import { SinkError, type BatchItem } from '../../sink.ts';
import { objectIn, utf8Of } from '../json-text.ts';

export interface EventOptions {
  readonly mode: 'event' | 'raw';
  /** null, each of them: as the token has it. */
  readonly index: string | null;
  readonly source: string | null;
  readonly sourcetype: string | null;
  readonly host: string | null;
}

/** The indexed field that tells a record that came twice. */
export const idField = 'headgate_record_id';

const lineFeed = Buffer.from('\n');

/** @returns why it can't be sent, too */
export function eventOf(item: BatchItem, options: EventOptions): Buffer | SinkError {
  return options.mode === 'raw' ? rawOf(item.data) : objectOf(item, options);
}

function rawOf(data: Buffer): Buffer | SinkError {
  if (data.length === 0) return blank();
  return data.at(-1) === lineFeed[0] ? data : Buffer.concat([data, lineFeed]);
}

/** A JSON object stays what it is, any other text becomes a string. */
function objectOf(item: BatchItem, options: EventOptions): Buffer | SinkError {
  const text = utf8Of(item.data);
  if (text === null) {
    return new SinkError('rejected', 'the record is not UTF-8, and events are texts', {
      advice: 'Set to.splunk.mode: raw, which takes any bytes.',
    });
  }
  if (text.trim() === '') return blank();
  const { index, source, sourcetype, host } = options;
  const head = JSON.stringify({
    time: Number((item.arrivalMs / 1000).toFixed(3)),
    ...(index !== null && { index }),
    ...(source !== null && { source }),
    ...(sourcetype !== null && { sourcetype }),
    ...(host !== null && { host }),
    fields: { [idField]: item.id },
  }).slice(0, -1);
  const event = objectIn(text) === null ? JSON.stringify(text) : text;
  return Buffer.from(`${head},"event":${event}}\n`);
}

function blank(): SinkError {
  return new SinkError('rejected', 'the record is blank, and an event may not be');
}

/** What is said of raw records is said in the address. */
export function queryOf(options: EventOptions): string {
  if (options.mode === 'event') return '';
  const { index, source, sourcetype, host } = options;
  const given = Object.entries({ index, source, sourcetype, host }).flatMap(([name, value]) =>
    value === null ? [] : [`&${name}=${encodeURIComponent(value)}`],
  );
  return given.join('');
}
