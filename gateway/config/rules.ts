/**
 * What the keys of headgate.yaml mean together: references between sections, listening beyond
 * loopback, who may connect.
 *
 * The rules also run over a configuration that is wrong elsewhere, so that every problem is seen
 * at once. Nothing about the shape of the value may therefore be taken for granted here.
 */
import type { z } from 'zod';
import { parseMasterKey } from '../../storage/keys.ts';
import { regionOfFunction } from '../functions/lambda.ts';
import { backupProblems, deliveryPlaces } from './backup-rules.ts';
import { loadingProblem } from './destinations/redshift.ts';
import { destinationProblems } from './destinations/rules.ts';
import { fields, list, type Fields } from './fields.ts';
import { shapeProblems, takingRecords } from './layout-rules.ts';

/**
 * What a rule's issue carries beside its message, for the loader's report. An issue without them
 * is one of a leaf, whose notes say what is allowed.
 */
export interface RuleParams {
  readonly allowed?: string;
  /** Names that may have been meant. */
  readonly candidates?: readonly string[];
}

/** A line is one record, and grows when it is converted. */
const lineBytesMax = 8 * 2 ** 20;

type Path = readonly (string | number)[];
export type Report = (path: Path, message: string, params?: RuleParams) => void;

export function checkRules(value: unknown, context: z.RefinementCtx): void {
  const report = reportTo(context);
  const config = fields(value);
  checkListeners(config, report);
  checkUsers(config, report);
  checkReferences(config, report);
  checkBackups(config, report);
  checkCredentials(config, report);
  checkFirehose(config, report);
  checkAuth(config, report);
  checkEncryption(config, report);
  checkFiles(config, report);
  checkFormats(config, report);
  checkLoads(config, report);
  checkFunctions(config, report);
  checkTransforms(config, report);
  checkShapes(config, report);
}

export function reportTo(context: z.RefinementCtx): Report {
  return (path, message, params = {}) => {
    context.addIssue({ code: 'custom', path: [...path], message, params: { ...params } });
  };
}

/** Whether an address is reachable from this machine only. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

function checkListeners(config: Fields, report: Report): void {
  const http = fields(config['http']);
  if (
    typeof http['host'] === 'string' &&
    !isLoopback(http['host']) &&
    http['allowPlaintext'] === false &&
    config['listen'] !== 'lan' &&
    typeof fields(config['tls'])['certFile'] !== 'string'
  ) {
    report(
      ['http', 'host'],
      'is beyond loopback, where the login token would cross the network in the clear',
      {
        allowed:
          'a loopback address, or with it "listen: lan", tls.certFile, or http.allowPlaintext',
      },
    );
  }
  const mqtt = fields(config['mqtt']);
  if (mqtt['enabled'] === true && typeof mqtt['host'] === 'string' && !isLoopback(mqtt['host'])) {
    if (list(mqtt['users']).length === 0) {
      report(['mqtt', 'host'], 'is beyond loopback, and nobody has a password', {
        allowed: 'a loopback address, or mqtt.users beside it',
      });
    }
    if (mqtt['allowAnonymous'] === true) {
      report(['mqtt', 'allowAnonymous'], 'is for loopback, and mqtt.host is beyond it', {
        allowed: 'false',
      });
    }
  }
  if (config['listen'] === 'lan' && mqtt['enabled'] === true && mqtt['allowAnonymous'] === true) {
    report(['mqtt', 'allowAnonymous'], 'is for loopback, and "listen: lan" goes beyond it', {
      allowed: 'false',
    });
  }
  const tls = fields(config['tls']);
  for (const [key, other] of [
    ['certFile', 'keyFile'],
    ['keyFile', 'certFile'],
  ] as const) {
    if (typeof tls[key] === 'string' && tls[other] === null) {
      report(['tls', key], `needs tls.${other} beside it`);
    }
  }
  checkPorts(config, report);
}

function checkPorts(config: Fields, report: Report): void {
  const taken = new Map<number, string>();
  const tls = config['listen'] === 'lan' || typeof fields(config['tls'])['certFile'] === 'string';
  for (const [section, key] of [
    ['http', 'port'],
    ['mqtt', 'port'],
    ...(tls ? [['mqtt', 'tlsPort'] as const] : []),
    ['rtsp', 'port'],
    ...(tls ? [['rtsp', 'tlsPort'] as const] : []),
    ['webrtc', 'port'],
  ] as const) {
    const { enabled, [key]: port } = fields(config[section]);
    if (typeof port !== 'number' || port === 0 || enabled === false) continue;
    const other = taken.get(port);
    if (other === undefined) taken.set(port, `${section}.${key}`);
    else report([section, key], `is ${port}, which is taken by ${other}`);
  }
}

function checkUsers(config: Fields, report: Report): void {
  const mqtt = fields(config['mqtt']);
  const hasUsers = list(mqtt['users']).length > 0;
  const external = fields(mqtt['external']);
  if ((external['certFile'] === null) !== (external['keyFile'] === null)) {
    report(['mqtt', 'external', 'certFile'], 'and keyFile go together', {
      allowed: 'both or neither',
    });
  }
  if (
    mqtt['enabled'] === true &&
    external['url'] === null &&
    list(mqtt['routes']).length > 0 &&
    !hasUsers &&
    typeof mqtt['clientCaFile'] !== 'string' &&
    mqtt['allowAnonymous'] === false &&
    config['listen'] !== 'lan'
  ) {
    report(['mqtt', 'routes'], 'will never see a message, because nobody may connect', {
      allowed:
        'routes together with mqtt.users, with "listen: lan", or with mqtt.allowAnonymous: true on loopback',
    });
  }
  for (const [section, key] of [
    ['mqtt', 'users'],
    ['rtsp', 'readers'],
  ] as const) {
    const seen = new Set<unknown>();
    list(fields(config[section])[key]).forEach((user, index) => {
      const { username } = fields(user);
      if (seen.has(username)) report([section, key, index, 'username'], 'is there twice');
      if (typeof username === 'string') seen.add(username);
    });
  }
  const isOff = (section: string): boolean => fields(config[section])['enabled'] === false;
  if (!isOff('rtsp') || !isOff('webrtc')) return;
  for (const [name, camera] of Object.entries(fields(config['cameras']))) {
    if ('push' in fields(fields(camera)['source'])) {
      report(
        ['cameras', name, 'source', 'push'],
        'needs the RTSP server or WebRTC, and rtsp.enabled and webrtc.enabled are false',
      );
    }
  }
}

function checkReferences(config: Fields, report: Report): void {
  const streams = Object.keys(fields(config['streams']));
  const cameras = Object.keys(fields(config['cameras']));
  const refer = (path: Path, name: unknown, kind: 'stream' | 'camera'): void => {
    const declared = kind === 'stream' ? streams : cameras;
    if (typeof name !== 'string' || declared.includes(name)) return;
    report(path, `is not a ${kind} of this configuration`, {
      allowed:
        declared.length === 0
          ? `the name of a ${kind} under ${kind}s, which has none`
          : `one of ${shortList(declared)}`,
      candidates: declared,
    });
  };

  list(fields(config['mqtt'])['routes']).forEach((route, index) => {
    refer(['mqtt', 'routes', index, 'stream'], fields(route)['stream'], 'stream');
  });
  for (const [name, files] of Object.entries(fields(config['files']))) {
    refer(['files', name, 'stream'], fields(files)['stream'], 'stream');
  }
  for (const [name, camera] of Object.entries(fields(config['cameras']))) {
    refer(['cameras', name, 'events'], fields(camera)['events'], 'stream');
  }
  for (const [name, hook] of Object.entries(fields(config['hooks']))) {
    refer(['hooks', name, 'camera'], fields(hook)['camera'], 'camera');
    refer(['hooks', name, 'stream'], fields(hook)['stream'], 'stream');
  }
  const lettersOf = new Map<string, string>();
  for (const [name, source] of Object.entries(fields(config['functions']))) {
    const from = fields(fields(source)['from'])['stream'];
    const letters = fields(fields(source)['deadLetter'])['stream'];
    refer(['functions', name, 'from', 'stream'], from, 'stream');
    refer(['functions', name, 'deadLetter', 'stream'], letters, 'stream');
    if (typeof letters === 'string' && letters === from) {
      report(['functions', name, 'deadLetter', 'stream'], 'is where the records come from', {
        allowed: 'another stream',
      });
    }
    if (typeof letters === 'string') {
      const other = lettersOf.get(letters);
      if (other !== undefined) {
        report(['functions', name, 'deadLetter', 'stream'], `is that of ${other} already`, {
          allowed: 'a stream of its own',
        });
      }
      lettersOf.set(letters, name);
    }
    const { tumblingWindowSeconds, parallelization } = fields(source);
    if (Number(tumblingWindowSeconds) > 0 && Number(parallelization) > 1) {
      report(['functions', name, 'parallelization'], 'does not go with tumblingWindowSeconds', {
        allowed: '1',
      });
    }
  }
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

function checkBackups(config: Fields, report: Report): void {
  for (const { path, message, allowed } of backupProblems(config)) {
    report(path, message, allowed === undefined ? {} : { allowed });
  }
}

function checkLoads(config: Fields, report: Report): void {
  for (const [name, delivery] of Object.entries(fields(config['deliveries']))) {
    const problem = loadingProblem(delivery);
    if (problem === null) continue;
    const { key, message, ...params } = problem;
    report(['deliveries', name, ...key.split('.')], message, params);
  }
}

function checkShapes(config: Fields, report: Report): void {
  for (const { path, delivery, role } of deliveryPlaces(config)) {
    for (const { path: key, message, ...rest } of shapeProblems(delivery, role)) {
      report([...path, ...key], message, rest);
    }
  }
}

function checkFormats(config: Fields, report: Report): void {
  for (const { path: place, delivery, role } of deliveryPlaces(config)) {
    const { from, to, record, format } = delivery;
    const path: Path = [...place, 'format'];
    const { type, delimiter, compression } = fields(format);
    const isChosen = typeof type === 'string' && type !== 'ndjson';
    if (isChosen && 'camera' in fields(from)) {
      report([...path, 'type'], 'is of records, and footage is files');
    } else if (isChosen && role === 'own' && takingRecords.some((kind) => kind in fields(to))) {
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

function checkFunctions(config: Fields, report: Report): void {
  for (const [name, hook] of Object.entries(fields(config['hooks']))) {
    checkFunction(fields(fields(hook)['to']), ['hooks', name, 'to'], report);
  }
  for (const [name, delivery] of Object.entries(fields(config['deliveries']))) {
    const target = fields(fields(fields(delivery)['transform'])['function']);
    checkFunction(target, ['deliveries', name, 'transform', 'function'], report);
  }
  for (const [name, source] of Object.entries(fields(config['functions']))) {
    checkFunction(fields(fields(source)['function']), ['functions', name, 'function'], report);
  }
}

function checkFunction(target: Fields, path: Path, report: Report): void {
  const { url } = fields(target['http']);
  if (typeof url === 'string' && URL.canParse(url) && new URL(url).username !== '') {
    report([...path, 'http', 'url'], 'has a user in it', {
      allowed: 'a URL without one, and authorization beside it',
    });
  }
  const { path: file } = fields(target['module']);
  if (typeof file === 'string' && /\.[cm]?tsx?$/.test(file)) {
    report([...path, 'module', 'path'], 'is TypeScript, and modules run as they are', {
      allowed: 'a module in JavaScript (.mjs, .cjs or .js), such as the compiler makes of it',
    });
  }
  const lambda = fields(target['lambda']);
  const called = lambda['function'];
  if (
    typeof called === 'string' &&
    lambda['region'] === null &&
    regionOfFunction(called) === null
  ) {
    report([...path, 'lambda', 'function'], 'needs region beside it: a name does not say it', {
      allowed: 'region, or the ARN of the function in place of its name',
    });
  }
  checkPair(lambda, [...path, 'lambda'], report);
}

function checkTransforms(config: Fields, report: Report): void {
  for (const [name, delivery] of Object.entries(fields(config['deliveries']))) {
    const { from, transform } = fields(delivery);
    if (transform === null || transform === undefined) continue;
    const path = ['deliveries', name, 'transform'];
    if ('camera' in fields(from)) report(path, 'is of records, and footage has none');
  }
}

/** The others take records. */
const takingFootage: readonly string[] = ['folder', 's3', 'kinesisVideo'];

function checkCredentials(config: Fields, report: Report): void {
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

function checkFirehose(config: Fields, report: Report): void {
  for (const section of ['s3', 'opensearch', 'lambda']) {
    checkPair(fields(fields(config['firehose'])[section]), ['firehose', section], report);
  }
}

function checkPair({ accessKeyId, secretAccessKey }: Fields, path: Path, report: Report): void {
  if (typeof accessKeyId === 'string' && secretAccessKey === null) {
    report([...path, 'accessKeyId'], 'needs secretAccessKey beside it');
  }
  if (typeof secretAccessKey === 'string' && accessKeyId === null) {
    report([...path, 'secretAccessKey'], 'needs accessKeyId beside it');
  }
}

function checkAuth(config: Fields, report: Report): void {
  const auth = fields(config['auth']);
  const seen = new Set<unknown>();
  list(auth['keys']).forEach((key, index) => {
    const { accessKeyId } = fields(key);
    if (seen.has(accessKeyId)) report(['auth', 'keys', index, 'accessKeyId'], 'is there twice');
    if (typeof accessKeyId === 'string') seen.add(accessKeyId);
  });
  if (auth['mode'] !== 'permissive') return;
  const beyond = ['http', 'mqtt', 'rtsp', 'webrtc'].find((section) => {
    const { host, enabled } = fields(config[section]);
    return enabled !== false && typeof host === 'string' && !isLoopback(host);
  });
  if (beyond === undefined && config['listen'] !== 'lan') return;
  const what = config['listen'] === 'lan' ? '"listen: lan" goes' : `${beyond ?? ''}.host is`;
  report(['auth', 'mode'], `is for loopback alone, and ${what} beyond it`, { allowed: 'sigv4' });
}

function checkEncryption(config: Fields, report: Report): void {
  const encryption = fields(config['encryption']);
  checkMasterKey(encryption, ['encryption'], report);
  checkMasterKey(fields(encryption['previous']), ['encryption', 'previous'], report);
}

function checkMasterKey(places: Fields, path: readonly string[], report: Report): void {
  const kms = fields(places['kms']);
  const given = [
    ...['masterKeyFile', 'masterKey'].filter((key) => typeof places[key] === 'string'),
    ...(typeof kms['keyId'] === 'string' ? ['kms.keyId'] : []),
  ];
  const [first = '', second] = given;
  if (second !== undefined) {
    report([...path, ...second.split('.')], `is a second master key, beside ${first}`, {
      allowed: 'one of masterKeyFile, masterKey and kms.keyId',
    });
  }
  if (typeof places['masterKey'] === 'string' && parseMasterKey(places['masterKey']) === null) {
    report([...path, 'masterKey'], 'is no key', {
      allowed: '32 bytes, in Base64 or hexadecimal',
    });
  }
  if (
    typeof kms['keyId'] === 'string' &&
    kms['region'] === null &&
    !kms['keyId'].startsWith('arn:')
  ) {
    report([...path, 'kms', 'keyId'], 'needs region beside it');
  }
  checkPair(kms, [...path, 'kms'], report);
}

function checkFiles(config: Fields, report: Report): void {
  for (const [name, entry] of Object.entries(fields(config['files']))) {
    const { convert, maxLineBytes, regex } = fields(entry);
    if (convert === 'regex' && fields(regex)['pattern'] === null) {
      report(['files', name, 'regex', 'pattern'], 'is needed for "convert: regex"', {
        allowed: 'a regular expression',
      });
    }
    if (typeof maxLineBytes === 'number' && maxLineBytes > lineBytesMax) {
      report(['files', name, 'maxLineBytes'], 'is too large', { allowed: 'at most 8 MiB' });
    }
  }
}

function shortList(names: readonly string[]): string {
  const shown = names.slice(0, 10).join(', ');
  return names.length > 10 ? `${shown} … (${names.length} in all)` : shown;
}
