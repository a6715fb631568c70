/**
 * What clients that behave say on the ports of a gateway, as bytes to be damaged. The gateway knows the
 * credentials below, and has the cameras `front`, which is pushed, and `gate`, which comes by PutMedia.
 */
import { frame, frameTypes, literalField, preface } from './http2-frames.ts';

export const mqttUser = { username: 'device', password: 'device-password' };
export const camera = { username: 'front', password: 'camera-password' };
/** In the mode permissive it is enough to name it, so that much of what is sent gets far. */
export const accessKey = {
  name: 'plant',
  accessKeyId: 'AKIAPLANT',
  secretAccessKey: 'secret-of-plant',
};

/** A text with its length in front (MQTT 3.1.1, section 1.5.3). */
function field(text: string | Buffer): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([Buffer.of(bytes.length >> 8, bytes.length & 255), bytes]);
}

function packet(header: number, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  const length: number[] = [];
  for (let rest = body.length; ; rest >>= 7) {
    length.push(rest > 127 ? (rest & 127) | 128 : rest);
    if (rest <= 127) break;
  }
  return Buffer.concat([Buffer.of(header, ...length), body]);
}

export function mqttTemplates(): readonly Buffer[] {
  const id = Buffer.of(0, 1);
  const connectPacket = (flags: number, ...more: readonly Buffer[]): Buffer =>
    packet(
      0x10,
      ...[field('MQTT'), Buffer.of(4, 0xc0 | flags, 0, 60), field('fuzz'), ...more],
      ...[field(mqttUser.username), field(mqttUser.password)],
    );
  const login = connectPacket(2);
  const publish = (qos: number): Buffer =>
    packet(0x30 | (qos << 1), field('a/b'), ...(qos > 0 ? [id] : []), Buffer.from('{"n":1}'));
  return [
    Buffer.concat([login, publish(0), publish(1), packet(0xc0)]),
    Buffer.concat([login, publish(2), packet(0x62, id), publish(2), packet(0xe0)]),
    Buffer.concat([login, packet(0x82, id, field('a/#'), Buffer.of(1)), publish(1)]),
    Buffer.concat([connectPacket(0x2e, field('will/topic'), field('gone')), publish(1)]),
    Buffer.concat([login, packet(0x31, field('kept'), Buffer.from('{"kept":1}'))]),
    Buffer.concat([login, packet(0x82, id, field('$share/g/a'), Buffer.of(2)), packet(0xa2, id)]),
  ];
}

export function httpTemplates(token: string): readonly Buffer[] {
  const headers = `Host: 127.0.0.1\r\nAuthorization: Bearer ${token}\r\nAccept-Encoding: gzip\r\n`;
  const get = (path: string): string => `GET ${path} HTTP/1.1\r\n${headers}\r\n`;
  const post = (path: string, body: string): string =>
    `POST ${path} HTTP/1.1\r\n${headers}Content-Type: application/json\r\n` +
    `Content-Length: ${body.length}\r\n\r\n${body}`;
  const texts = [
    get('/api/v1/status') + get('/healthz'),
    get('/api/v1/streams/readings/shards/0/records?position=latest&limit=10'),
    get('/api/v1/streams/readings/shards/1/records?time=2026-01-01T00:00:00Z&limit=1'),
    get('/api/v1/streams/readings/series?field=n&from=0&to=1&points=100'),
    get('/api/v1/cameras/front/timeline?from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z'),
    get('/api/v1/cameras/front/fragments?from=0&to=99999999999999&limit=5'),
    get('/hls/front/live.m3u8') + get('/hls/front/range.m3u8?from=1&to=2'),
    get('/login?token=abcdefghijklmnop') + get('/assets/../../../etc/passwd'),
    post('/login', '{"token":"abc"}') + post('/api/v1/logout', ''),
    `POST /login HTTP/1.1\r\n${headers}Transfer-Encoding: chunked\r\n\r\n5\r\n{"a":\r\n2\r\n1}\r\n0\r\n\r\n`,
    `GET /metrics HTTP/1.1\r\n${headers}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n`,
  ];
  return [...texts.map((text) => Buffer.from(text)), http2Template()];
}

/** Preface, SETTINGS, HEADERS of `GET /` (literal fields, RFC 7541 section 6.2.2), WINDOW_UPDATE. */
function http2Template(): Buffer {
  const authority = Buffer.concat([Buffer.of(0x01, 9), Buffer.from('127.0.0.1')]);
  const fields = Buffer.concat([Buffer.of(0x82, 0x84, 0x86), authority]);
  return Buffer.concat([
    preface,
    frame(frameTypes.settings, 0, 0, Buffer.of(0, 3, 0, 0, 0, 100)),
    frame(frameTypes.headers, 5, 1, fields),
    frame(frameTypes.windowUpdate, 0, 0, Buffer.of(0, 0, 16, 0)),
    frame(frameTypes.headers, 5, 3, fields),
    frame(frameTypes.ping, 0, 0, Buffer.alloc(8)),
  ]);
}

export function kinesisTemplates(): readonly Buffer[] {
  const authorization = `AWS4-HMAC-SHA256 Credential=${accessKey.accessKeyId}/1/2/kinesis/3`;
  const target = (operation: string): string => `Kinesis_20131202.${operation}`;
  const post = (operation: string, body: Buffer, type = 'json'): Buffer =>
    Buffer.concat([
      Buffer.from(
        `POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Amz-Target: ${target(operation)}\r\n` +
          `Content-Type: application/x-amz-${type}-1.1\r\nAuthorization: ${authorization}\r\n` +
          `Content-Length: ${body.length}\r\n\r\n`,
      ),
      body,
    ]);
  const json = (operation: string, body: object): Buffer =>
    post(operation, Buffer.from(JSON.stringify({ StreamName: 'readings', ...body })));
  const record = { PartitionKey: 'a', Data: 'YQ==' };
  // {"StreamName": "readings", "PartitionKey": "a", "Data": h'61'}
  const cbor = Buffer.from(
    'a36a53747265616d4e616d656872656164696e6773' +
      '6c506172746974696f6e4b65796161' +
      '64446174614161',
    'hex',
  );
  const headers = Buffer.concat([
    Buffer.of(0x83, 0x84, 0x86),
    ...Object.entries({
      ':authority': '127.0.0.1',
      'x-amz-target': target('PutRecord'),
      'content-type': 'application/x-amz-cbor-1.1',
      authorization,
    }).map(([name, value]) => literalField(name, value)),
  ]);
  return [
    json('PutRecord', record),
    json('PutRecords', { Records: [record, { ...record, ExplicitHashKey: '7' }] }),
    Buffer.concat([json('DescribeStream', {}), json('ListShards', { MaxResults: 1 })]),
    json('GetShardIterator', { ShardId: '0', ShardIteratorType: 'AT_TIMESTAMP', Timestamp: 1.5 }),
    json('GetRecords', { ShardIterator: Buffer.alloc(63).toString('base64'), Limit: 10 }),
    json('SplitShard', { ShardToSplit: '0', NewStartingHashKey: '77777777777777777777' }),
    json('MergeShards', { ShardToMerge: '0', AdjacentShardToMerge: '1' }),
    json('AddTagsToStream', { Tags: { a: 'b' } }),
    json('PutResourcePolicy', { ResourceARN: 'arn:aws:kinesis:us-east-1:000000000000:stream/x' }),
    json('CreateStream', { StreamName: 'other', ShardCount: 3 }),
    post('PutRecord', cbor, 'cbor'),
    Buffer.concat([
      ...[preface, frame(frameTypes.settings, 0, 0, Buffer.alloc(0))],
      ...[frame(frameTypes.headers, 4, 1, headers), frame(frameTypes.data, 1, 1, cbor)],
      ...[frame(frameTypes.headers, 4, 3, headers), frame(frameTypes.reset, 0, 3, Buffer.alloc(4))],
    ]),
  ];
}

export function rtspTemplates(port: number): readonly Buffer[] {
  const url = `rtsp://127.0.0.1:${port}/front`;
  const { username, password } = camera;
  const basic = Buffer.from(`${username}:${password}`).toString('base64');
  let sequence = 0;
  const ask = (method: string, path: string, lines: readonly string[] = [], body = ''): string => {
    sequence += 1;
    const length = body === '' ? [] : [`Content-Length: ${body.length}`];
    const head = [`${method} ${url}${path} RTSP/1.0`, `CSeq: ${sequence}`];
    return [...head, `Authorization: Basic ${basic}`, ...lines, ...length, '', body].join('\r\n');
  };
  const sdp = [
    ...['v=0', 'o=- 0 0 IN IP4 127.0.0.1', 's=-', 'c=IN IP4 127.0.0.1', 't=0 0'],
    ...['m=video 0 RTP/AVP 96', 'a=rtpmap:96 H264/90000'],
    'a=fmtp:96 packetization-mode=1; sprop-parameter-sets=Z0LAHtkDxWhAAAADAEAAAAwDxYuS,aMuMsg==',
    ...['a=control:streamid=0', ''],
  ].join('\r\n');
  const announce = ask('ANNOUNCE', '', ['Content-Type: application/sdp'], sdp);
  const transport = 'Transport: RTP/AVP/TCP;unicast;interleaved=0-1;mode=record';
  const setup = ask('SETUP', '/streamid=0', [transport]);
  const rtp = Buffer.concat([
    Buffer.of(0x24, 0, 0, 20, 0x80, 0xe0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 9),
    Buffer.of(0x65, 0x88, 0x84, 0, 0x33, 0xff, 0, 1),
  ]);
  const rtcp = Buffer.from('24010008' + '80c8000100000009', 'hex');
  return [
    Buffer.from(ask('OPTIONS', '') + announce + setup + ask('RECORD', '')),
    Buffer.concat([Buffer.from(announce + setup + ask('RECORD', '')), rtp, rtcp, rtp]),
    Buffer.from(ask('DESCRIBE', '', ['Accept: application/sdp'])),
    Buffer.from(ask('DESCRIBE', '') + setup.replace(';mode=record', '') + ask('PLAY', '')),
    Buffer.from(ask('GET_PARAMETER', '', ['Content-Type: text/parameters'], 'position\r\n')),
    Buffer.concat([rtp, rtcp, Buffer.from(ask('TEARDOWN', ''))]),
  ];
}

/** @param media Matroska, as a producer sends it */
export function kinesisVideoTemplates(media: Buffer): readonly Buffer[] {
  const authorization = `AWS4-HMAC-SHA256 Credential=${accessKey.accessKeyId}/1/2/kinesisvideo/3`;
  const head = (method: string, path: string, ...lines: readonly string[]): Buffer => {
    const all = ['Host: 127.0.0.1', `Authorization: ${authorization}`, ...lines, '', ''];
    return Buffer.from([`${method} ${path} HTTP/1.1`, ...all].join('\r\n'));
  };
  const post = (operation: string, body: object): Buffer => {
    const text = JSON.stringify({ StreamName: 'gate', ...body });
    const length = `Content-Length: ${text.length}`;
    const path = `/${operation.charAt(0).toLowerCase()}${operation.slice(1)}`;
    return Buffer.concat([head('POST', path, length), Buffer.from(text)]);
  };
  const range = { StartTimestamp: 1.6e9, EndTimestamp: 4.1e9 };
  const selector = { FragmentSelectorType: 'PRODUCER_TIMESTAMP', TimestampRange: range };
  const number = '91343852333181432392682062607743920146264098451';
  const onDemand = { PlaybackMode: 'ON_DEMAND', Expires: 300 };
  const chunk = (bytes: Buffer): Buffer =>
    Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')]);
  const middle = media.length >> 1;
  const putMedia = head(
    ...(['POST', '/putMedia', 'x-amzn-stream-name: gate'] as const),
    ...['x-amzn-fragment-timecode-type: RELATIVE', 'Transfer-Encoding: chunked'],
    'x-amzn-producer-start-timestamp: 1700000000.123',
  );
  return [
    post('ListFragments', { MaxResults: 10, FragmentSelector: selector }),
    post('ListFragments', { NextToken: Buffer.alloc(48, 7).toString('base64url') }),
    post('GetMediaForFragmentList', { Fragments: [number, number] }),
    post('GetMedia', { StartSelector: { StartSelectorType: 'EARLIEST' } }),
    post('GetMedia', {
      StartSelector: { StartSelectorType: 'CONTINUATION_TOKEN', ContinuationToken: number },
    }),
    post('GetMedia', {
      StartSelector: { StartSelectorType: 'SERVER_TIMESTAMP', StartTimestamp: 1.7e9 },
    }),
    post('GetClip', { ClipFragmentSelector: selector }),
    post('GetHLSStreamingSessionURL', { ...onDemand, HLSFragmentSelector: selector }),
    post('GetHLSStreamingSessionURL', {
      ...{ PlaybackMode: 'LIVE', ContainerFormat: 'MPEG_TS', MaxMediaPlaylistFragmentResults: 3 },
    }),
    post('GetDASHStreamingSessionURL', {
      ...{ ...onDemand, PlaybackMode: 'LIVE_REPLAY', DASHFragmentSelector: selector },
    }),
    post('GetImages', {
      ...{ ImageSelectorType: 'SERVER_TIMESTAMP', Format: 'JPEG', SamplingInterval: 3_000 },
      ...{ StartTimestamp: 1.7e9, EndTimestamp: 1.7e9 + 300, FormatConfig: { JPEGQuality: '9' } },
    }),
    post('CreateStream', { StreamName: 'other', DataRetentionInHours: 1, Tags: { a: 'b' } }),
    post('DescribeStream', {
      StreamARN: 'arn:aws:kinesisvideo:us-east-1:000000000000:stream/gate/1',
    }),
    post('UpdateDataRetention', {
      ...{ CurrentVersion: '1', Operation: 'INCREASE_DATA_RETENTION' },
      DataRetentionChangeInHours: 1,
    }),
    post('TagStream', { Tags: { a: 'b' } }),
    Buffer.concat([
      ...[putMedia, chunk(media.subarray(0, middle)), chunk(media.subarray(middle))],
      Buffer.from('0\r\n\r\n'),
    ]),
    Buffer.concat([putMedia, chunk(media)]),
    head('GET', `/hls/v1/getHLSMediaPlaylist.m3u8?SessionToken=${'AbC9'.repeat(40)}`),
    head('GET', `/dash/v1/getMP4MediaFragment.mp4?FragmentNumber=${number}&Track=video`),
  ];
}

/** Offers of WebRTC, and what players and people ask of cameras. */
export function playbackTemplates(token: string): readonly Buffer[] {
  const ask = (method: string, path: string, type = '', body = ''): Buffer => {
    const lines = [
      `${method} ${path} HTTP/1.1`,
      'Host: 127.0.0.1',
      `Authorization: Bearer ${token}`,
    ];
    if (body !== '') lines.push(`Content-Type: ${type}`, `Content-Length: ${body.length}`);
    return Buffer.from([...lines, '', body].join('\r\n'));
  };
  const offer = (direction: string): string =>
    [
      ...['v=0', 'o=- 4611731400430051336 2 IN IP4 127.0.0.1', 's=-', 't=0 0'],
      ...['a=group:BUNDLE 0', 'm=video 9 UDP/TLS/RTP/SAVPF 96', 'c=IN IP4 0.0.0.0'],
      ...['a=ice-ufrag:EsAw', 'a=ice-pwd:bP+XJMM09aR8AiX1jdukzR6Y', 'a=setup:actpass'],
      `a=fingerprint:sha-256 ${Array<string>(32).fill('DA').join(':')}`,
      ...['a=mid:0', `a=${direction}`, 'a=rtcp-mux', 'a=rtpmap:96 H264/90000'],
      'a=fmtp:96 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f',
      '',
    ].join('\r\n');
  const candidate = [
    ...['a=ice-ufrag:EsAw', 'a=ice-pwd:bP+XJMM09aR8AiX1jdukzR6Y', 'm=video 9 RTP/AVP 0'],
    ...['a=mid:0', 'a=candidate:1 1 udp 2113937151 127.0.0.1 4567 typ host', ''],
  ].join('\r\n');
  const session = `/whip/front/${'0'.repeat(32)}`;
  return [
    ask('POST', '/whip/front', 'application/sdp', offer('sendonly')),
    ask('POST', '/whep/front', 'application/sdp', offer('recvonly')),
    ask('PATCH', session, 'application/trickle-ice-sdpfrag', candidate),
    ask('DELETE', session),
    ask('GET', '/hls/gate/live.m3u8?_HLS_msn=4&_HLS_part=2'),
    ask('GET', '/hls/gate/1-1600000000.m4s'),
    ask('GET', '/dash/gate/live.mpd'),
    ask('GET', '/dash/gate/range.mpd?from=2026-01-01T00:00:00Z&to=2030-01-01T00:00:00Z'),
    ask('GET', '/api/v1/cameras/gate/export.mp4?from=2026-01-01T00:00:00Z&to=2030-01-01T00:00:00Z'),
    ask('GET', '/api/v1/export.zip?from=1&to=99999999999999&camera=gate&camera=front'),
    ask('GET', '/api/v1/cameras/gate/image?at=2026-11-20T08:00:00Z&width=320&format=png'),
    ask('GET', '/api/v1/cameras/gate/thumbnail?at=1700000000000'),
  ];
}
