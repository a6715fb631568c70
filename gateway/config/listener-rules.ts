/** Who can connect: what the listeners' keys mean together with those of their users. */
import { fields, list, type Fields } from './fields.ts';
import type { Report } from './report.ts';

/** Whether an address is reachable from this machine only. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

export function checkListeners(config: Fields, report: Report): void {
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

export function checkUsers(config: Fields, report: Report): void {
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
