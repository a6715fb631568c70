/**
 * One ONVIF device, asked over SOAP 1.2 and HTTP: with a user name token (WS-Security 1.0, digest)
 * where there is a user, or HTTP Digest where the device asks for that. A password never goes out
 * in the clear, no redirect is followed, and every answer has an end in time and bytes.
 */
import { createHash, randomBytes } from 'node:crypto';
import { request, type IncomingMessage } from 'node:http';
import type { Clock } from '../../storage/ports.ts';
import type { RtspUser } from '../rtsp/authentication.ts';
import { parseChallenges, Signer } from '../rtsp/client/authentication.ts';
import { SourceError } from '../source.ts';
import { escapeXml, find, parseXml, printable, textOf, type XmlElement } from './xml.ts';

export interface SoapDeviceOptions {
  /** An IP address that may be connected to: that was checked. */
  readonly host: string;
  readonly port: number;
  readonly user: RtspUser | null;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

interface HttpAnswer {
  readonly status: number;
  readonly challenges: string;
  readonly body: string;
}

const answerBytesMax = 262_144;

export class SoapDevice {
  readonly #options: SoapDeviceOptions;
  readonly #signer: Signer | null;
  /** How far the device's clock is ahead of ours; tokens carry its time. */
  clockAheadMs = 0;

  constructor(options: SoapDeviceOptions) {
    this.#options = options;
    this.#signer =
      options.user === null
        ? null
        : new Signer(options.user, (bytes) => randomBytes(bytes).toString('hex'));
  }

  nowMs(): number {
    return this.#options.clock.nowMs();
  }

  /**
   * @param path of the service
   * @param body XML, with namespaces of its own
   * @returns the answer's envelope
   * @throws SourceError `unauthorized`, `unreachable`, `not-found`, `unsupported` for a fault,
   *   `malformed`; the signal's reason when it was aborted
   */
  async call(path: string, body: string, isSigned = true): Promise<XmlElement> {
    let answer = await this.#post(path, body, isSigned);
    const challenges = parseChallenges(answer.challenges).filter(
      ({ scheme }) => scheme === 'digest',
    );
    if (answer.status === 401 && isSigned && this.#signer?.challenged(challenges) === true) {
      answer = await this.#post(path, body, true);
    }
    return read(answer);
  }

  async #post(path: string, body: string, isSigned: boolean): Promise<HttpAnswer> {
    const { host, port, signal } = this.#options;
    const signature = isSigned ? (this.#signer?.authorization('POST', path) ?? null) : null;
    const token = isSigned && signature === null ? this.#token() : '';
    const envelope = `<?xml version="1.0" encoding="UTF-8"?><s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Header>${token}</s:Header><s:Body>${body}</s:Body></s:Envelope>`;
    return new Promise((resolve, reject) => {
      const fail = (error: unknown): void => {
        if (signal.aborted) reject(signal.reason as Error);
        else reject(error instanceof SourceError ? error : unreachable(error));
      };
      try {
        const sent = request({
          ...{ host, port, path, method: 'POST', agent: false, signal, maxHeaderSize: 16_384 },
          headers: {
            'content-type': 'application/soap+xml; charset=utf-8',
            'content-length': Buffer.byteLength(envelope),
            ...(signature === null ? {} : { authorization: signature }),
          },
        });
        sent.on('error', fail);
        sent.once('response', (response) => {
          collect(response).then(resolve, (error: unknown) => {
            sent.destroy();
            fail(error);
          });
        });
        sent.end(envelope);
      } catch (error) {
        // A header can't hold every character that a name or a challenge has.
        fail(error);
      }
    });
  }

  /** WS-Security UsernameToken Profile 1.0, 3.1. */
  #token(): string {
    const { user, clock } = this.#options;
    if (user === null) return '';
    const nonce = randomBytes(16);
    const created = new Date(clock.nowMs() + this.clockAheadMs).toISOString();
    const digest = createHash('sha1')
      .update(nonce)
      .update(created + user.password)
      .digest('base64');
    const base = 'http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss';
    return `<w:Security s:mustUnderstand="1" xmlns:w="${base}-wssecurity-secext-1.0.xsd" xmlns:u="${base}-wssecurity-utility-1.0.xsd"><w:UsernameToken><w:Username>${escapeXml(user.username)}</w:Username><w:Password Type="${base}-username-token-profile-1.0#PasswordDigest">${digest}</w:Password><w:Nonce EncodingType="${base}-soap-message-security-1.0#Base64Binary">${nonce.toString('base64')}</w:Nonce><u:Created>${created}</u:Created></w:UsernameToken></w:Security>`;
  }
}

async function collect(response: IncomingMessage): Promise<HttpAnswer> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of response as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes > answerBytesMax) {
      throw new SourceError('malformed', `its answer is longer than ${answerBytesMax} bytes`);
    }
    parts.push(part);
  }
  return {
    status: response.statusCode ?? 0,
    challenges: response.headers['www-authenticate'] ?? '',
    body: Buffer.concat(parts).toString('utf8'),
  };
}

function read({ status, body }: HttpAnswer): XmlElement {
  if (status === 401) throw unauthorized();
  if (status === 404) throw new SourceError('not-found', 'there is no ONVIF service at this path');
  // Faults come as 400 or 500, and say more than that.
  if (status !== 200 && !body.trimStart().startsWith('<')) {
    throw new SourceError('unsupported', `it answers with HTTP ${status}: no ONVIF service`);
  }
  const envelope = parseXml(body);
  const fault = find(envelope, 'Fault');
  if (fault === null && status === 200 && envelope.name === 'Envelope') return envelope;
  if (fault === null) {
    throw new SourceError('unsupported', `it answers with HTTP ${status}: no ONVIF service`);
  }
  if (/NotAuthorized|FailedAuthentication/i.test(codesOf(fault))) throw unauthorized();
  const reason = printable(textOf(fault, 'Text') || textOf(fault, 'faultstring') || 'no reason');
  throw new SourceError('unsupported', `it refuses: ${reason}`);
}

function codesOf(element: XmlElement): string {
  return [element.text, ...element.children.map(codesOf)].join(' ');
}

function unauthorized(): SourceError {
  return new SourceError('unauthorized', 'it wants a user and a password, or others than these');
}

function unreachable(error: unknown): SourceError {
  const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
  return new SourceError('unreachable', `its ONVIF service does not answer (${code})`, {
    cause: error,
  });
}
