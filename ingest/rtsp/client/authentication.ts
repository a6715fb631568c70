/**
 * Answers a camera's 401: Digest with MD5 or SHA-256 (RFC 2617, RFC 7616) where it is offered,
 * Basic (RFC 7617) where nothing else is. The other side of this is `../authentication.ts`.
 */
import { createHash } from 'node:crypto';
import type { RtspUser } from '../authentication.ts';

export interface Challenge {
  /** `digest` or `basic`, or something that is not known here. */
  readonly scheme: string;
  /** By name in lower case. */
  readonly parameters: ReadonlyMap<string, string>;
}

const challengesMax = 8;
const algorithms: ReadonlyMap<string, 'md5' | 'sha256'> = new Map([
  ['MD5', 'md5'],
  ['SHA-256', 'sha256'],
]);

/** Takes a WWW-Authenticate header apart; several of them may have been joined by commas. */
export function parseChallenges(header: string): readonly Challenge[] {
  const found: { scheme: string; parameters: Map<string, string> }[] = [];
  const token = /[\s,]*([A-Za-z0-9_-]+)(?:\s*=\s*(?:"([^"]*)"|([^\s,"]*)))?/y;
  for (;;) {
    const match = token.exec(header);
    if (match === null) return found;
    const [, name = '', quoted, plain] = match;
    const value = quoted ?? plain;
    if (value !== undefined) found.at(-1)?.parameters.set(name.toLowerCase(), value);
    else if (found.length >= challengesMax) return found;
    else found.push({ scheme: name.toLowerCase(), parameters: new Map() });
  }
}

/** Signs the requests of one connection. */
export class Signer {
  readonly #user: RtspUser;
  readonly #randomHex: (bytes: number) => string;
  #challenge: Challenge | null = null;
  #count = 0;

  constructor(user: RtspUser, randomHex: (bytes: number) => string) {
    this.#user = user;
    this.#randomHex = randomHex;
  }

  /** Whether a challenge was taken: a 401 after that is the camera's last word, unless stale. */
  get isChallenged(): boolean {
    return this.#challenge !== null;
  }

  /** Takes the best of a camera's challenges. Answers false when there is none it can meet. */
  challenged(challenges: readonly Challenge[]): boolean {
    const best = [...challenges].sort((a, b) => rank(b) - rank(a))[0];
    if (best === undefined || rank(best) === 0) return false;
    this.#challenge = best;
    this.#count = 0;
    return true;
  }

  /** The Authorization header of a request; null before there was a challenge. */
  authorization(method: string, url: string): string | null {
    const challenge = this.#challenge;
    if (challenge === null) return null;
    const { username, password } = this.#user;
    if (challenge.scheme === 'basic') {
      return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
    }
    return this.#digest(challenge.parameters, method, url);
  }

  #digest(parameters: ReadonlyMap<string, string>, method: string, url: string): string {
    const { username, password } = this.#user;
    const given = (name: string): string => parameters.get(name) ?? '';
    const hash = (text: string): string =>
      createHash(algorithmOf(parameters) ?? 'md5')
        .update(text)
        .digest('hex');
    const secret = hash(`${username}:${given('realm')}:${password}`);
    const action = hash(`${method}:${url}`);
    const fields: string[] = [
      `username="${username.replace(/["\\]/g, '\\$&')}"`,
      `realm="${given('realm')}"`,
      `nonce="${given('nonce')}"`,
      `uri="${url}"`,
    ];
    let middle = '';
    if (/(^|[\s,])auth($|[\s,])/.test(given('qop'))) {
      this.#count += 1;
      const count = this.#count.toString(16).padStart(8, '0');
      const clientNonce = this.#randomHex(8);
      middle = `:${count}:${clientNonce}:auth`;
      fields.push('qop=auth', `nc=${count}`, `cnonce="${clientNonce}"`);
    }
    fields.push(`response="${hash(`${secret}:${given('nonce')}${middle}:${action}`)}"`);
    if (parameters.has('algorithm')) fields.push(`algorithm=${given('algorithm')}`);
    if (parameters.has('opaque')) fields.push(`opaque="${given('opaque')}"`);
    return `Digest ${fields.join(', ')}`;
  }
}

function algorithmOf(parameters: ReadonlyMap<string, string>): 'md5' | 'sha256' | undefined {
  return algorithms.get((parameters.get('algorithm') ?? 'MD5').toUpperCase());
}

/** 0: can't be met. */
function rank({ scheme, parameters }: Challenge): number {
  if (scheme === 'basic') return 1;
  if (scheme !== 'digest') return 0;
  const algorithm = algorithmOf(parameters);
  if (algorithm === undefined) return 0;
  return algorithm === 'md5' ? 2 : 3;
}
