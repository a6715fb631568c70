/** What clients offer, as they wrote it. */
const credentials = [
  'a=ice-ufrag:wd3F',
  'a=ice-pwd:0123456789abcdefghijklmn',
  'a=fingerprint:sha-256 0F:74:31:25:CB:A2:13:EC:28:6F:6D:2C:61:FF:5D:C2:BC:B9:DB:3D:98:14:8D:1A:BB:EA:33:0C:A4:60:A8:8E',
  'a=setup:actpass',
];

export interface OfferOptions {
  readonly direction?: 'sendonly' | 'recvonly' | 'sendrecv';
  /** Lines after those of the video. */
  readonly video?: readonly string[];
  /** Payload types of the video with their lines, instead of H.264 and VP8. */
  readonly codecs?: { readonly types: string; readonly lines: readonly string[] };
  readonly bundle?: string;
  /** Media after audio and video. */
  readonly more?: readonly string[];
}

const codecs = {
  types: '96 97 102 103 108',
  lines: [
    'a=rtpmap:96 VP8/90000',
    'a=rtpmap:97 rtx/90000',
    'a=fmtp:97 apt=96',
    'a=rtpmap:102 H264/90000',
    'a=rtcp-fb:102 goog-remb',
    'a=rtcp-fb:102 transport-cc',
    'a=rtcp-fb:102 ccm fir',
    'a=rtcp-fb:102 nack',
    'a=rtcp-fb:102 nack pli',
    'a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f',
    'a=rtpmap:103 rtx/90000',
    'a=fmtp:103 apt=102',
    'a=rtpmap:108 H264/90000',
    'a=fmtp:108 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=640c1f',
  ],
};

/** As Chromium 130 offers, shortened. */
export function offer(options: OfferOptions = {}): string {
  const { direction = 'sendonly', bundle = '0 1', more = [] } = options;
  const video = options.codecs ?? codecs;
  const lines = [
    'v=0',
    'o=- 4611731400430051336 2 IN IP4 127.0.0.1',
    's=-',
    't=0 0',
    `a=group:BUNDLE ${bundle}`,
    'a=extmap-allow-mixed',
    'a=msid-semantic: WMS 9aZ',
    `m=video 9 UDP/TLS/RTP/SAVPF ${video.types}`,
    'c=IN IP4 0.0.0.0',
    'a=rtcp:9 IN IP4 0.0.0.0',
    ...credentials,
    'a=mid:0',
    'a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time',
    'a=extmap:3 http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time',
    'a=extmap:4 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01',
    'a=extmap:9 urn:ietf:params:rtp-hdrext:sdes:mid',
    `a=${direction}`,
    'a=rtcp-mux',
    'a=rtcp-rsize',
    ...video.lines,
    ...(options.video ?? [
      'a=ssrc-group:FID 1001 1002',
      'a=ssrc:1001 cname:c',
      'a=ssrc:1002 cname:c',
    ]),
    'm=audio 9 UDP/TLS/RTP/SAVPF 111 0 8',
    'c=IN IP4 0.0.0.0',
    ...credentials,
    'a=mid:1',
    `a=${direction}`,
    'a=rtcp-mux',
    'a=rtpmap:111 opus/48000/2',
    'a=rtcp-fb:111 transport-cc',
    'a=fmtp:111 minptime=10;useinbandfec=1',
    'a=rtpmap:0 PCMU/8000',
    'a=rtpmap:8 PCMA/8000',
    'a=ssrc:2001 cname:c',
    ...more,
  ];
  return `${lines.join('\r\n')}\r\n`;
}

export const dataChannel = [
  'm=application 9 UDP/DTLS/SCTP webrtc-datachannel',
  'c=IN IP4 0.0.0.0',
  ...credentials,
  'a=mid:2',
  'a=sctp-port:5000',
];
