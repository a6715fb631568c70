/** A simulated ONVIF camera on loopback: WS-Discovery by real multicast, its services by HTTP. */
import { createHash } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import { discoveryGroup, discoveryPort } from '../../ingest/onvif/discovery.ts';

export interface OnvifDeviceOptions {
  /** Only this user is told anything. */
  readonly user?: { readonly username: string; readonly password: string };
  /** How it wants to be told who asks: in the message, or by HTTP. */
  readonly authentication?: 'token' | 'http';
  /** Its clock; left out: it does not tell. */
  readonly nowMs?: number;
  /** Has the newer service, with an H.265 profile. */
  readonly hasMedia2?: boolean;
  /** Says this in place of an answer to what is named: a body, or no answer at all. */
  readonly instead?: Readonly<Record<string, string | null>>;
  /** Datagrams that go out before the true answer, from the message that is asked about. */
  readonly lies?: (messageId: string) => readonly string[];
}

export interface OnvifDevice {
  readonly id: string;
  readonly port: number;
  /** What it was asked, in order. */
  readonly calls: readonly string[];
  /** All that came in over HTTP. */
  readonly received: () => string;
  /** Resolves when it has been asked this so often. */
  asked(name: string, times: number): Promise<void>;
}

let count = 0;

export async function startOnvifDevice(
  t: TestContext,
  options: OnvifDeviceOptions = {},
): Promise<OnvifDevice> {
  count += 1;
  const id = `urn:uuid:00000000-0000-4000-8000-${String(process.pid)}-${String(count)}`;
  const calls: string[] = [];
  const waiting: { name: string; times: number; done: () => void }[] = [];
  let received = '';
  const http = createServer((request, response) => {
    read(request)
      .then((body) => {
        received += `${JSON.stringify(request.headers)}\n${body}\n`;
        const name = /<s:Body><(\w+)/.exec(body)?.[1] ?? '';
        calls.push(name);
        answer(name, body, request, response);
        for (const one of waiting) {
          if (calls.filter((call) => call === one.name).length >= one.times) one.done();
        }
      })
      .catch(() => response.destroy());
  });
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  const { port } = http.address() as AddressInfo;

  const answer = (
    name: string,
    body: string,
    request: IncomingMessage,
    response: ServerResponse,
  ): void => {
    const instead = options.instead?.[name];
    if (instead === null) return;
    if (instead !== undefined) {
      response.end(instead);
    } else if (name !== 'GetSystemDateAndTime' && !isKnown(body, request, options)) {
      if (options.authentication === 'http') {
        const challenge = 'Digest realm="cam", nonce="n1", qop="auth"';
        response.writeHead(401, { 'www-authenticate': ['Basic realm="cam"', challenge] }).end();
      } else {
        response.writeHead(400).end(fault('ter:NotAuthorized', 'who are you'));
      }
    } else {
      const said = saidTo(name, body, port, options);
      if (said === null) response.writeHead(500).end(fault('ter:ActionNotSupported', 'what?'));
      else response.end(envelope(said));
    }
  };

  const udp = createSocket({ type: 'udp4', reuseAddr: true });
  udp.on('message', (message, from) => {
    const messageId = /MessageID>([^<]+)</.exec(message.toString())?.[1] ?? '';
    const texts = [...(options.lies?.(messageId) ?? []), match({ id, messageId, port })];
    for (const text of texts) udp.send(text, from.port, from.address);
  });
  udp.bind(discoveryPort);
  await once(udp, 'listening');
  udp.addMembership(discoveryGroup, '127.0.0.1');
  t.after(() => {
    udp.close();
    http.closeAllConnections();
    http.close();
  });
  return {
    ...{ id, port, calls },
    received: () => received,
    asked: (name, times) =>
      new Promise((done) => {
        if (calls.filter((call) => call === name).length >= times) done();
        else waiting.push({ name, times, done });
      }),
  };
}

/** A probe match, as cameras send it. */
export function match(said: {
  readonly id: string;
  readonly messageId: string;
  readonly port: number;
  readonly host?: string;
}): string {
  const { id, messageId, port, host = '127.0.0.1' } = said;
  return `<?xml version="1.0"?><SOAP-ENV:Envelope xmlns:SOAP-ENV="http://www.w3.org/2003/05/soap-envelope" xmlns:wsa="a" xmlns:d="d"><SOAP-ENV:Header><wsa:RelatesTo>${messageId}</wsa:RelatesTo></SOAP-ENV:Header><SOAP-ENV:Body><d:ProbeMatches><d:ProbeMatch><wsa:EndpointReference><wsa:Address>${id}</wsa:Address></wsa:EndpointReference><d:Types>dn:NetworkVideoTransmitter</d:Types><d:Scopes>onvif://www.onvif.org/type/video onvif://www.onvif.org/name/Front%20gate%1b onvif://www.onvif.org/hardware/X-1</d:Scopes><d:XAddrs>http://169.254.3.3/onvif/device_service http://${host}:${port}/onvif/device_service</d:XAddrs></d:ProbeMatch></d:ProbeMatches></SOAP-ENV:Body></SOAP-ENV:Envelope>`;
}

function saidTo(
  name: string,
  body: string,
  port: number,
  { nowMs, hasMedia2 = false }: OnvifDeviceOptions,
): string | null {
  // Cameras behind a forwarded port do not know where they are.
  const at = (path: string): string => `http://192.168.1.64:${port + 1}/onvif/${path}`;
  const isMedia2 = body.includes('ver20/media');
  switch (name) {
    case 'GetSystemDateAndTime': {
      if (nowMs === undefined) return null;
      const time = new Date(nowMs);
      return `<t:UTCDateTime><t:Time><t:Hour>${time.getUTCHours()}</t:Hour><t:Minute>${time.getUTCMinutes()}</t:Minute><t:Second>${time.getUTCSeconds()}</t:Second></t:Time><t:Date><t:Year>${time.getUTCFullYear()}</t:Year><t:Month>${time.getUTCMonth() + 1}</t:Month><t:Day>${time.getUTCDate()}</t:Day></t:Date></t:UTCDateTime>`;
    }
    case 'GetDeviceInformation':
      return '<Manufacturer>Acme &amp; Sons</Manufacturer><Model><![CDATA[X<1>]]></Model><FirmwareVersion>1.2</FirmwareVersion>';
    case 'GetServices':
      return hasMedia2
        ? `<Service><Namespace>http://www.onvif.org/ver10/media/wsdl</Namespace><XAddr>${at('media')}</XAddr></Service><Service><Namespace>http://www.onvif.org/ver20/media/wsdl</Namespace><XAddr>${at('media2')}</XAddr></Service>`
        : null;
    case 'GetCapabilities':
      return `<t:Media><t:XAddr>${at('media')}</t:XAddr></t:Media>`;
    case 'GetProfiles':
      return isMedia2
        ? profile('p"2', 'VideoEncoder', 'H265', 2560, 1440)
        : profile('sub', 'VideoEncoderConfiguration', 'H264', 640, 360) +
            profile('main', 'VideoEncoderConfiguration', 'H264', 1920, 1080);
    case 'GetStreamUri': {
      const token = /ProfileToken>([^<]+)</.exec(body)?.[1] ?? '';
      const path = token === 'p&quot;2' ? 'media2' : token;
      return `<t:Uri>rtsp://admin:secret@127.0.0.1:554/${path}?a=1&amp;b=2</t:Uri>`;
    }
  }
  return null;
}

function profile(token: string, encoder: string, codec: string, w: number, h: number): string {
  const source = encoder.replace('Encoder', 'Source');
  return `<t:Profiles token='${token}' fixed="true"><t:Name>${codec}</t:Name><t:${source} token="s"><t:SourceToken>v0</t:SourceToken></t:${source}><t:${encoder} token="e"><t:Encoding>${codec}</t:Encoding><t:Resolution><t:Width>${w}</t:Width><t:Height>${h}</t:Height></t:Resolution><t:RateControl><t:FrameRateLimit>25</t:FrameRateLimit></t:RateControl></t:${encoder}></t:Profiles>`;
}

/** Whether a request shows that whoever sent it knows the password. */
function isKnown(
  body: string,
  { headers }: IncomingMessage,
  { user, authentication = 'token', nowMs }: OnvifDeviceOptions,
): boolean {
  if (user === undefined) return true;
  if (authentication === 'http') {
    const header = headers.authorization ?? '';
    const field = (name: string): string =>
      new RegExp(`[ ,]${name}="?([^",]+)`).exec(header)?.[1] ?? '';
    const md5 = (text: string): string => createHash('md5').update(text).digest('hex');
    const secret = md5(`${user.username}:cam:${user.password}`);
    const action = md5(`POST:${field('uri')}`);
    const middle = `${field('nc')}:${field('cnonce')}:auth`;
    return field('response') === md5(`${secret}:n1:${middle}:${action}`);
  }
  const text = (name: string): string =>
    new RegExp(`<\\w:${name}(?: [^>]*)?>([^<]*)<`).exec(body)?.[1] ?? '';
  const created = text('Created');
  const digest = createHash('sha1')
    .update(Buffer.from(text('Nonce'), 'base64'))
    .update(created + user.password)
    .digest('base64');
  const isInTime = nowMs === undefined || Math.abs(Date.parse(created) - nowMs) < 5_000;
  return text('Username') === user.username && text('Password') === digest && isInTime;
}

function envelope(body: string): string {
  return `<?xml version="1.0"?><!-- x > y --><E:Envelope xmlns:E="e" xmlns:t="t"><E:Body><t:Answer>${body}</t:Answer></E:Body></E:Envelope>`;
}

function fault(code: string, reason: string): string {
  return envelope(
    `<E:Fault><E:Code><E:Value>E:Sender</E:Value><E:Subcode><E:Value>${code}</E:Value></E:Subcode></E:Code><E:Reason><E:Text>${reason}</E:Text></E:Reason></E:Fault>`,
  );
}

async function read(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const part of request as AsyncIterable<Buffer>) text += part.toString();
  return text;
}
