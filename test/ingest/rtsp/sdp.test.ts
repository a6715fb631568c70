import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { RtspError } from '../../../ingest/rtsp/errors.ts';
import { describeToReaders, findTrack, parseAnnounced } from '../../../ingest/rtsp/sdp.ts';

const announced = [
  'v=0',
  'o=- 0 0 IN IP4 127.0.0.1',
  's=Gate',
  'a=control:*',
  't=0 0',
  'm=video 5004 RTP/AVP 96',
  'a=rtpmap:96 H264/90000',
  'a=fmtp:96 packetization-mode=1; sprop-parameter-sets=Z0LAHtkA,aMuMsg==',
  'a=control:rtsp://10.0.0.4:554/gate/streamid=0',
  'a=sendonly',
  'm=audio 0 RTP/AVP 8',
  'a=control:streamid=1',
  '',
].join('\r\n');

function parse(text: string) {
  return parseAnnounced(Buffer.from(text));
}

function status(text: string): number {
  try {
    parse(text);
    return 200;
  } catch (error) {
    assert.ok(error instanceof RtspError, String(error));
    return error.status;
  }
}

describe('session descriptions', () => {
  it('reads kinds, codecs and controls', () => {
    const { media } = parse(announced);
    assert.deepEqual(
      media.map(({ kind, codec, control }) => [kind, codec, control]),
      [
        ['video', 'H264', 'rtsp://10.0.0.4:554/gate/streamid=0'],
        ['audio', 'PCMA', 'streamid=1'],
      ],
    );
  });

  it('passes the description on with our controls and without ports and directions', () => {
    const session = parse(announced);
    assert.equal(
      describeToReaders(session, () => true),
      [
        'v=0',
        'o=- 0 0 IN IP4 127.0.0.1',
        's=Gate',
        't=0 0',
        'm=video 0 RTP/AVP 96',
        'a=rtpmap:96 H264/90000',
        'a=fmtp:96 packetization-mode=1; sprop-parameter-sets=Z0LAHtkA,aMuMsg==',
        'a=control:trackID=0',
        'm=audio 0 RTP/AVP 8',
        'a=control:trackID=1',
        '',
      ].join('\r\n'),
    );
    assert.doesNotMatch(
      describeToReaders(session, (index) => index === 0),
      /audio/,
    );
  });

  it('finds the track that a SETUP means, in the ways that cameras write it', () => {
    const { media } = parse(announced);
    assert.equal(findTrack(media, 'rtsp://10.0.0.4:554/gate/streamid=0', 'streamid=0'), 0);
    assert.equal(findTrack(media, 'rtsp://box:8554/gate/streamid=1', 'streamid=1'), 1);
    assert.equal(findTrack(media, 'rtsp://box:8554/gate/streamid=2', 'streamid=2'), null);
    assert.equal(findTrack(media, 'rtsp://box:8554/gate', ''), null, 'which of the two?');
    assert.equal(findTrack(media.slice(0, 1), 'rtsp://box:8554/gate', ''), 0);
  });

  it('refuses with 400 what is not SDP', () => {
    for (const text of [
      '',
      'rubbish',
      '{"v":0}',
      'v=1\r\nm=video 0 RTP/AVP 96',
      'v=0\r\n',
      'v=0\r\nnonsense\r\nm=video 0 RTP/AVP 96',
      'v=0\r\nm=\r\n',
      'v=0\r\nm=video 0\r\n',
      'v=0\r\nm=video abc RTP/AVP 96',
      announced.replace('Gate', 'Ga\0te'),
      `v=0\r\n${'m=video 0 RTP/AVP 96\r\n'.repeat(9)}`,
    ]) {
      assert.equal(status(text), 400, JSON.stringify(text));
    }
  });

  it('refuses with 415 what can not be recorded', () => {
    assert.equal(status('v=0\r\nm=audio 0 RTP/AVP 0\r\n'), 415);
    assert.equal(status('v=0\r\nm=video 0 RTP/AVP 26\r\n'), 415);
    assert.equal(status('v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n'), 415);
    assert.equal(status(announced.replace('RTP/AVP 96', 'RTP/SAVP 96')), 415);
    assert.equal(status(announced.replaceAll('H264', 'h265')), 200);
  });

  it('survives being cut and changed at every byte', () => {
    for (let at = 0; at < announced.length; at += 1) {
      status(announced.slice(0, at));
      for (const value of ['\0', '\n', '=', ' ', '9', 'm', '\xff']) {
        status(announced.slice(0, at) + value + announced.slice(at + 1));
      }
    }
  });
});
