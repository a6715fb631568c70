import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { MqttError } from './errors.ts';
import type { PermittedTopics } from './permissions.ts';

export interface MqttUser extends PermittedTopics {
  readonly username: string;
  /** Plain, as the configuration has it (usually from a `${VARIABLE}`). */
  readonly password: string;
}

export type LoginResult = 'ok' | 'missing' | 'wrong';

/**
 * The users of the broker. Passwords are kept only as HMAC-SHA-256 under a key made at start, and
 * compared in constant time; an unknown name costs as much as a wrong password. The hash is fast on
 * purpose: device passwords are secrets from the configuration, and after a power cut a whole fleet
 * logs in at once.
 */
export class Credentials {
  readonly #key = randomBytes(32);
  readonly #digests = new Map<string, Buffer>();
  readonly #nobody = randomBytes(32);
  readonly #allowAnonymous: boolean;

  /** @throws MqttError `invalid-options` */
  constructor(users: readonly MqttUser[], allowAnonymous: boolean) {
    this.#allowAnonymous = allowAnonymous;
    for (const user of users) {
      if (user.username === '' || user.password === '') {
        throw new MqttError('invalid-options', 'an MQTT user needs a name and a password');
      }
      if (this.#digests.has(user.username)) {
        throw new MqttError('invalid-options', `the MQTT user ${user.username} is there twice`);
      }
      this.#digests.set(user.username, this.#digest(Buffer.from(user.password)));
    }
  }

  /** A name that is given is checked, even where anonymous clients are let in. */
  check(username: string | undefined, password: Buffer | undefined): LoginResult {
    if (username === undefined) return this.#allowAnonymous ? 'ok' : 'missing';
    const expected = this.#digests.get(username) ?? this.#nobody;
    return timingSafeEqual(expected, this.#digest(password ?? Buffer.alloc(0))) ? 'ok' : 'wrong';
  }

  #digest(password: Buffer): Buffer {
    return createHmac('sha256', this.#key).update(password).digest();
  }
}

/** The users of whom anything is different, new ones and those left out included. */
export function namesOfChanged(
  before: readonly MqttUser[],
  after: readonly MqttUser[],
): Set<string> {
  const known = new Map(before.map((user) => [user.username, user]));
  const changed = new Set(known.keys());
  for (const user of after) {
    if (isDeepStrictEqual(known.get(user.username), user)) changed.delete(user.username);
    else changed.add(user.username);
  }
  return changed;
}
