/** Access: pairs of AWS keys, the keys of AWS clients, the master key. */
import { parseMasterKey } from '../../storage/keys.ts';
import { fields, list, type Fields } from './fields.ts';
import { isLoopback } from './listener-rules.ts';
import type { Path, Report } from './report.ts';

export function checkPair(
  { accessKeyId, secretAccessKey }: Fields,
  path: Path,
  report: Report,
): void {
  if (typeof accessKeyId === 'string' && secretAccessKey === null) {
    report([...path, 'accessKeyId'], 'needs secretAccessKey beside it');
  }
  if (typeof secretAccessKey === 'string' && accessKeyId === null) {
    report([...path, 'secretAccessKey'], 'needs accessKeyId beside it');
  }
}

export function checkFirehose(config: Fields, report: Report): void {
  for (const section of ['s3', 'opensearch', 'lambda']) {
    checkPair(fields(fields(config['firehose'])[section]), ['firehose', section], report);
  }
}

export function checkAuth(config: Fields, report: Report): void {
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

export function checkEncryption(config: Fields, report: Report): void {
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
