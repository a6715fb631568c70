/**
 * What the keys of a delivery mean together, its backups included: what it is from and to, what its
 * objects are made of. What a single destination asks for is in `destinations/`.
 */
import { checkPair } from './access-rules.ts';
import { backupProblems, deliveryPlaces } from './backup-rules.ts';
import { loadingProblem } from './destinations/redshift.ts';
import { destinationProblems } from './destinations/rules.ts';
import { fields, list, type Fields } from './fields.ts';
import { shapeProblems, takingRecords } from './layout-rules.ts';
import type { Path, Refer, Report } from './report.ts';

/** The others take records. */
const takingFootage: readonly string[] = ['folder', 's3', 'kinesisVideo'];

export function checkDeliverySources(config: Fields, refer: Refer, report: Report): void {
  for (const [name, delivery] of Object.entries(fields(config['deliveries']))) {
    const from = fields(fields(delivery)['from']);
    refer(['deliveries', name, 'from', 'stream'], from['stream'], 'stream');
    refer(['deliveries', name, 'from', 'camera'], from['camera'], 'camera');
    const [to] = Object.keys(fields(fields(delivery)['to']));
    if ('camera' in from && to !== undefined && !takingFootage.includes(to)) {
      report(['deliveries', name, 'to', to], 'takes records, and footage is files', {
        allowed: `folder, s3 or kinesisVideo; or send the camera's events stream to ${to}`,
      });
    }
    const { as, events, catchUp } = fields(delivery);
    if ('stream' in from && as === 'fragments') {
      report(['deliveries', name, 'as'], 'is of footage, and a stream has records', {
        allowed: 'fragments with from.camera',
      });
    }
    refer(['deliveries', name, 'events'], events, 'stream');
    if (typeof events === 'string' && as !== 'fragments') {
      report(['deliveries', name, 'events'], 'tells of fragments, and needs as: fragments');
    }
    if (!('kinesisVideo' in fields(fields(delivery)['to']))) continue;
    if ('stream' in from) {
      report(
        ['deliveries', name, 'to', 'kinesisVideo'],
        'takes footage, and a stream has records',
        {
          allowed: 'folder, s3 or kinesis',
        },
      );
    }
    if (catchUp === 'live-first') {
      report(['deliveries', name, 'catchUp'], 'is not for kinesisVideo, which takes all in order', {
        allowed: 'in-order',
      });
    }
    if (as === 'fragments') {
      report(
        ['deliveries', name, 'as'],
        'is of objects, and kinesisVideo gets each fragment anyway',
      );
    }
  }
}

export function checkBackups(config: Fields, report: Report): void {
  for (const { path, message, allowed } of backupProblems(config)) {
    report(path, message, allowed === undefined ? {} : { allowed });
  }
}

export function checkCredentials(config: Fields, report: Report): void {
  for (const { path: place, delivery } of deliveryPlaces(config)) {
    for (const [kind, sink] of Object.entries(fields(delivery['to']))) {
      const path = [...place, 'to', kind];
      checkPair(fields(sink), path, report);
      for (const { key, message, ...params } of destinationProblems(kind, fields(sink))) {
        report([...path, ...key.split('.')], message, params);
      }
    }
  }
}

export function checkFormats(config: Fields, report: Report): void {
  for (const { path: place, delivery, role } of deliveryPlaces(config)) {
    const { from, to, record, format } = delivery;
    const path: Path = [...place, 'format'];
    const { type, delimiter, compression } = fields(format);
    // That of a backup is chosen for it, and where there can be none that is told already.
    const isChosen = role === 'own' && typeof type === 'string' && type !== 'ndjson';
    if (isChosen && 'camera' in fields(from)) {
      report([...path, 'type'], 'is of records, and footage is files');
    } else if (isChosen && takingRecords.some((kind) => kind in fields(to))) {
      report([...path, 'type'], 'is of objects, and records are sent there as they are', {
        allowed: 'ndjson, or a delivery to folder, s3 or redshift',
      });
    }
    const columns = list(fields(format)['columns']);
    if (type === 'raw' && record === 'envelope') {
      report([...place, 'record'], 'does not go with format.type: raw', {
        allowed: 'data',
      });
    }
    if (typeof delimiter === 'string' && type !== 'raw' && type !== 'csv') {
      report([...path, 'delimiter'], 'is of raw and csv');
    }
    if (type === 'csv' && typeof delimiter === 'string' && !/^[^"\r\n]$/u.test(delimiter)) {
      report([...path, 'delimiter'], 'does not go between columns', {
        allowed: 'one character, neither a quote nor the end of a line',
      });
    }
    if (type === 'parquet' && (compression === 'zip' || compression === 'hadoop-snappy')) {
      report([...path, 'compression'], 'is not for parquet', {
        allowed: 'none, gzip, snappy or zstd',
      });
    }
    if (columns.length > 0 && type !== 'csv' && type !== 'parquet') {
      report([...path, 'columns'], 'are of csv and parquet');
    }
    checkColumns(fields(format), columns.map(fields), [...path, 'columns'], report);
  }
}

function checkColumns(
  format: Fields,
  columns: readonly Fields[],
  path: Path,
  report: Report,
): void {
  const same = (text: unknown): string =>
    format['ignoreCase'] === false ? String(text) : String(text).toLowerCase();
  const names = new Set<string>();
  const keys = new Set<string>();
  columns.forEach(({ name, from }, index) => {
    if (typeof name !== 'string') return;
    if (names.has(same(name))) report([...path, index, 'name'], 'is there twice');
    const key = same(from ?? name);
    if (!names.has(same(name)) && keys.has(key)) {
      report([...path, index, 'from'], 'is the key of another column too');
    }
    names.add(same(name));
    keys.add(key);
  });
}

export function checkLoads(config: Fields, report: Report): void {
  for (const [name, delivery] of Object.entries(fields(config['deliveries']))) {
    const problem = loadingProblem(delivery);
    if (problem === null) continue;
    const { key, message, ...params } = problem;
    report(['deliveries', name, ...key.split('.')], message, params);
  }
}

export function checkTransforms(config: Fields, report: Report): void {
  for (const [name, delivery] of Object.entries(fields(config['deliveries']))) {
    const { from, transform } = fields(delivery);
    if (transform === null || transform === undefined) continue;
    const path = ['deliveries', name, 'transform'];
    if ('camera' in fields(from)) report(path, 'is of records, and footage has none');
  }
}

export function checkShapes(config: Fields, report: Report): void {
  for (const { path, delivery, role } of deliveryPlaces(config)) {
    for (const { path: key, message, ...rest } of shapeProblems(delivery, role)) {
      report([...path, ...key], message, rest);
    }
  }
}
