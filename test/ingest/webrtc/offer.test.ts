import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DtlsParameters, IceCandidate, IceParameters } from 'mediasoup/types';
import { candidatesFor, writeAnswer } from '../../../ingest/webrtc/answer.ts';
import {
  publishedParameters,
  takeToPlay,
  takeToPublish,
  type TakenMedia,
} from '../../../ingest/webrtc/codecs.ts';
import { WebRtcError, type WebRtcErrorCode } from '../../../ingest/webrtc/errors.ts';
import { parseFragment, parseOffer, type Offer } from '../../../ingest/webrtc/offer.ts';
import { seededRandom } from '../../storage/support/open.ts';
import { mutate } from '../../support/load/mutate.ts';
import { dataChannel, offer } from './offers.ts';

const ice: IceParameters = { usernameFragment: 'ours', password: 'o'.repeat(32), iceLite: true };
const candidate: IceCandidate = {
  ...{ foundation: 'udpcandidate', priority: 1_076_302_079, protocol: 'udp', type: 'host' },
  ...{ ip: '127.0.0.1', address: '127.0.0.1', port: 44_400 },
};
const dtls: DtlsParameters = { fingerprints: [{ algorithm: 'sha-256', value: 'AB:CD' }] };

function answerTo(read: Offer, taken: TakenMedia, isViewer = false): readonly string[] {
  const sent = { ssrc: 7, cname: 'gate' };
  return writeAnswer({
    ...{ offer: read, taken, sessionId: '1', ice, candidates: [candidate], dtls },
    sends: isViewer ? { video: sent, audio: taken.audio === null ? null : sent } : null,
  }).split('\r\n');
}

function refuses(work: () => unknown, code: WebRtcErrorCode, message: RegExp): void {
  assert.throws(work, (error) => {
    assert.ok(error instanceof WebRtcError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, message);
    return true;
  });
}

test('of what a browser offers to send, H.264 and Opus are taken', () => {
  const read = parseOffer(offer());
  const taken = takeToPublish(read);
  assert.equal(taken.video.codec.payloadType, 102);
  assert.equal(taken.audio?.codec.payloadType, 111);
  const lines = answerTo(read, taken);
  assert.equal(
    lines.find((line) => line.startsWith('m=video')),
    'm=video 44400 UDP/TLS/RTP/SAVPF 102 103',
  );
  for (const line of [
    'a=ice-lite',
    'a=group:BUNDLE 0 1',
    'a=setup:passive',
    'a=recvonly',
    'a=rtcp-mux',
    'a=rtpmap:103 rtx/90000',
    'a=fmtp:103 apt=102',
    'a=rtcp-fb:102 nack pli',
    'a=candidate:udpcandidate 1 udp 1076302079 127.0.0.1 44400 typ host',
  ]) {
    assert.ok(lines.includes(line), line);
  }
  assert.ok(!lines.some((line) => line.includes('abs-capture-time')));
  const parameters = publishedParameters(taken.video);
  assert.deepEqual(parameters.encodings, [{ ssrc: 1001, rtx: { ssrc: 1002 } }]);
  assert.equal(parameters.mid, '0');
});

test('a viewer is given the profile that the camera has, and sees who sends', () => {
  const read = parseOffer(offer({ direction: 'recvonly' }));
  assert.equal(takeToPlay(read, '640c1f', null).video.codec.payloadType, 108);
  assert.equal(takeToPlay(read, '4d401f', null).video.codec.payloadType, 102);
  const taken = takeToPlay(read, null, 'pcma');
  assert.equal(taken.audio?.codec.payloadType, 8);
  const lines = answerTo(read, taken, true);
  assert.ok(lines.includes('a=ssrc:7 cname:gate'));
  assert.ok(lines.includes('a=sendonly'));
  assert.ok(lines.includes('a=rtcp-fb:102 nack'));
  assert.ok(!lines.some((line) => /transport-cc|goog-remb|extmap|rtx/.test(line)));
});

test('what is not taken is refused in its place: data channels, audio that does not fit', () => {
  const read = parseOffer(offer({ bundle: '0 1 2', more: dataChannel, direction: 'recvonly' }));
  const lines = answerTo(read, takeToPlay(read, null, null), true);
  assert.ok(lines.includes('a=group:BUNDLE 0'));
  assert.ok(lines.includes('m=application 0 UDP/DTLS/SCTP webrtc-datachannel'));
  assert.ok(lines.includes('m=audio 0 UDP/TLS/RTP/SAVPF 111 0 8'));
});

test('of several layers the client sends one, since none is agreed upon', () => {
  const simulcast = ['a=rid:h send', 'a=rid:l send', 'a=simulcast:send h;l'];
  const read = parseOffer(offer({ video: simulcast }));
  const taken = takeToPublish(read);
  assert.ok(!answerTo(read, taken).some((line) => /simulcast|rid/.test(line)));
  assert.deepEqual(publishedParameters(taken.video).encodings, [{}]);
});

test('an offer without H.264 is refused by what it has', () => {
  const vp8 = { types: '96', lines: ['a=rtpmap:96 VP8/90000'] };
  const read = parseOffer(offer({ codecs: vp8 }));
  refuses(() => takeToPublish(read), 'not-acceptable', /H\.264 .* the offer has vp8\./);
  const mode0 = { types: '96', lines: ['a=rtpmap:96 H264/90000'] };
  refuses(
    () => takeToPublish(parseOffer(offer({ codecs: mode0 }))),
    'not-acceptable',
    /packetization-mode 1/,
  );
  refuses(
    () => takeToPublish(parseOffer(offer({ direction: 'recvonly' }))),
    'not-acceptable',
    /H\.264/,
  );
});

test('what can not go over one transport is refused', () => {
  const without = (line: string): string => offer().replaceAll(`${line}\r\n`, '');
  refuses(() => parseOffer(without('a=rtcp-mux')), 'not-acceptable', /rtcp-mux/);
  refuses(() => parseOffer(offer({ bundle: '' })), 'not-acceptable', /BUNDLE/);
  const plain = offer().replaceAll('UDP/TLS/RTP/SAVPF', 'RTP/AVP');
  refuses(() => parseOffer(plain), 'not-acceptable', /SAVPF/);
});

test('an offer that is none says what is missing', () => {
  refuses(() => parseOffer(''), 'malformed', /v=0/);
  refuses(() => parseOffer('v=0\r\n'), 'malformed', /no media/);
  refuses(() => parseOffer(offer().replaceAll(/a=ice-pwd.*\r\n/g, '')), 'malformed', /ICE/);
  refuses(() => parseOffer(offer().replaceAll(/a=fingerprint.*\r\n/g, '')), 'malformed', /finger/);
  refuses(() => parseOffer(offer().replace('a=mid:1', 'a=mid:0')), 'malformed', /twice/);
  refuses(() => parseOffer(`${offer()}${'a=x\r\n'.repeat(5_000)}`), 'malformed', /lines/);
  refuses(() => parseOffer(`${offer()}a=${'x'.repeat(70_000)}\r\n`), 'malformed', /long/);
  const media = Array.from({ length: 40 }, (_, mid) => `m=video 9 RTP/AVP 96\r\na=mid:${mid}\r\n`);
  refuses(() => parseOffer(`v=0\r\n${media.join('')}`), 'malformed', /32 media/);
});

test('a fragment has candidates, or credentials of another ICE session', () => {
  assert.equal(parseFragment('a=mid:0\r\na=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n'), null);
  assert.deepEqual(parseFragment('a=ice-ufrag:abcd\r\na=ice-pwd:0123456789abcdef012345\r\n'), {
    usernameFragment: 'abcd',
    password: '0123456789abcdef012345',
  });
  refuses(() => parseFragment('a=ice-ufrag:abcd\r\n'), 'malformed', /credentials/);
  refuses(() => parseFragment('nonsense'), 'malformed', /SDP/);
});

test('where every address is listened on, those of this machine are told, each family its own', () => {
  const any = [
    { ...candidate, ip: '0.0.0.0', address: '0.0.0.0' },
    { ...candidate, ip: '::', address: '::' },
  ];
  const told = candidatesFor(any, ['203.0.113.7', '192.0.2.1', '2001:db8::1', 'box.example']);
  assert.deepEqual(
    told.map(({ address }) => address),
    ['203.0.113.7', '192.0.2.1', 'box.example', '2001:db8::1'],
  );
  assert.equal(new Set(told.map(({ priority, ip }) => `${ip}${priority}`)).size, told.length);
});

test('no offer that was damaged does anything but be refused or answered', () => {
  const seeds = [offer(), offer({ direction: 'recvonly', bundle: '0 1 2', more: dataChannel })].map(
    (text) => Buffer.from(text),
  );
  let [answered, refused] = [0, 0];
  for (let seed = 1; seed <= 800; seed += 1) {
    const text = mutate(seededRandom(seed), seeds[seed % 2]!, seeds).toString('utf8');
    try {
      const read = parseOffer(text);
      const isViewer = seed % 2 === 1;
      const taken = isViewer ? takeToPlay(read, '42001f', 'opus') : takeToPublish(read);
      const lines = answerTo(read, taken, isViewer);
      publishedParameters(taken.video);
      assert.equal(lines.filter((line) => line.startsWith('m=')).length, read.media.length);
      for (const line of lines.slice(0, -1)) assert.match(line, /^[a-z]=[\x20-\x7e]*$/);
      answered += 1;
    } catch (error) {
      assert.ok(error instanceof WebRtcError, `seed ${seed}: ${String(error)}`);
      refused += 1;
    }
  }
  assert.ok(answered > 50 && refused > 50, `${answered} answered, ${refused} refused`);
});
