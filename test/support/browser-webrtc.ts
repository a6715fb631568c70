/**
 * WebRTC in a browser's page: a picture with a clock in it, published by WHIP, and a player by WHEP
 * that reads the clock. The page has to be the gateway's, logged in; what runs in it is text, since
 * the tests are not compiled for browsers.
 */
import assert from 'node:assert/strict';
import type { Browser, Page } from 'playwright-core';
import type { GatewayProcess } from './gateway.ts';
import type { Scope } from './scope.ts';

/** The clock is a row of squares at the top: 24 bits of the time in ms, and their parity. */
export const clockSquarePx = 24;

/** How long a page waits for pictures before it tells why there are none. */
const picturesWithinMs = 240_000;

const clock = `
  const side = ${clockSquarePx};
  const drawClock = (context, value) => {
    let parity = 0;
    for (let bit = 0; bit < 25; bit += 1) {
      const isSet = bit < 24 ? (value >> bit) & 1 : parity & 1;
      parity += isSet;
      context.fillStyle = isSet ? '#fff' : '#000';
      context.fillRect(bit * side, 0, side, side);
    }
  };
  const readClock = (context, scale) => {
    let value = 0;
    let parity = 0;
    for (let bit = 0; bit < 25; bit += 1) {
      const x = Math.floor((bit + 0.5) * side * scale);
      const [red] = context.getImageData(x, Math.floor((side / 2) * scale), 1, 1).data;
      if (red > 80 && red < 176) return null;
      const isSet = red > 128 ? 1 : 0;
      if (bit === 24) return (parity & 1) === isSet ? value : null;
      parity += isSet;
      value |= isSet << bit;
    }
  };
  const describe = async (peer) => {
    await peer.setLocalDescription();
    if (peer.iceGatheringState !== 'complete') {
      await new Promise((resolve) => {
        peer.addEventListener('icegatheringstatechange', () => {
          if (peer.iceGatheringState === 'complete') resolve();
        });
      });
    }
    return peer.localDescription.sdp;
  };
  const offerTo = async (peer, url) => {
    const body = await describe(peer);
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/sdp' },
      body,
    });
    const sdp = await response.text();
    if (response.status !== 201) throw new Error(response.status + ' ' + sdp);
    await peer.setRemoteDescription({ type: 'answer', sdp });
    return response.headers.get('location');
  };
  const clockStream = () => {
    const canvas = document.createElement('canvas');
    canvas.width = 640;
    canvas.height = 360;
    const context = canvas.getContext('2d');
    let frame = 0;
    setInterval(() => {
      frame += 1;
      context.fillStyle = 'hsl(' + (frame % 360) + ', 60%, 50%)';
      context.fillRect(0, side, 640, 360);
      context.fillStyle = '#fff';
      context.fillRect((frame * 7) % 600, 200, 40, 40);
      drawClock(context, Date.now() % 2 ** 24);
    }, 33);
    return canvas.captureStream(30);
  };
`;

/** A page of the gateway in a browser of its own kind, logged in. */
export async function pageOf(
  scope: Scope,
  browser: Browser,
  gateway: GatewayProcess,
): Promise<Page> {
  const context = await browser.newContext({ bypassCSP: true });
  scope.after(() => context.close());
  const page = await context.newPage();
  await page.goto(`${gateway.url}/healthz`);
  const status = await page.evaluate<number>(`(async () => {
    const response = await fetch('/api/v1/login', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ token: '${gateway.token}' }),
    });
    return response.status;
  })()`);
  assert.equal(status, 204);
  return page;
}

/** Publishes a clock with a tone; resolves with the session's location once it is connected. */
export function publishClock(page: Page, url: string): Promise<string> {
  return page.evaluate<string>(`(async () => {
    ${clock}
    const stream = clockStream();
    const sound = new AudioContext();
    const tone = new OscillatorNode(sound, { frequency: 440 });
    const out = sound.createMediaStreamDestination();
    tone.connect(out);
    tone.start();
    const peer = new RTCPeerConnection();
    peer.addTransceiver(stream.getVideoTracks()[0], { direction: 'sendonly', streams: [stream] });
    peer.addTransceiver(out.stream.getAudioTracks()[0], { direction: 'sendonly', streams: [stream] });
    globalThis.publisher = peer;
    const connected = new Promise((resolve, reject) => {
      peer.addEventListener('connectionstatechange', () => {
        if (peer.connectionState === 'connected') resolve();
        if (peer.connectionState === 'failed') reject(new Error('it failed to connect'));
      });
    });
    const location = await offerTo(peer, '${url}');
    await connected;
    return location;
  })()`);
}

/**
 * Lets `watchClock` of another page see a clock of this one without a gateway between them, at an
 * address that nothing else answers.
 */
export async function answerWithClock(page: Page, viewer: Page, url: string): Promise<void> {
  // Chromium hides addresses behind names of mDNS, which nobody resolves here.
  const local = (sdp: string): string => sdp.replaceAll(/[0-9a-f-]+\.local/g, '127.0.0.1');
  await viewer.route(`**${url}`, async (route) => {
    const offer = JSON.stringify(local(route.request().postData() ?? ''));
    const answer = await page.evaluate<string>(`(async () => {
      ${clock}
      const peer = new RTCPeerConnection();
      globalThis.publisher = peer;
      const stream = clockStream();
      for (const track of stream.getTracks()) peer.addTrack(track, stream);
      await peer.setRemoteDescription({ type: 'offer', sdp: ${offer} });
      return describe(peer);
    })()`);
    await route.fulfill({ status: 201, contentType: 'application/sdp', body: local(answer) });
  });
}

/** `whenShown(describe)(start)`: what `start` resolves with, or `describe` in an error, in time. */
const patience = `
  const whenShown = (describe) => (start) => new Promise((resolve, reject) => {
    setTimeout(async () => reject(new Error(await describe())), ${picturesWithinMs});
    start(resolve);
  });
`;

export interface Seen {
  /** Pictures that were shown. */
  readonly frames: number;
  /** How old each picture was that had a readable clock, in milliseconds. */
  readonly agesMs: readonly number[];
  readonly width: number;
  readonly hasSound: boolean;
}

/** Plays a camera by WHEP until so many pictures were shown. */
export function watchClock(page: Page, url: string, frames: number): Promise<Seen> {
  return page.evaluate<Seen>(`(async () => {
    ${clock}
    ${patience}
    const peer = new RTCPeerConnection();
    peer.addTransceiver('video', { direction: 'recvonly' });
    peer.addTransceiver('audio', { direction: 'recvonly' });
    const stream = new MediaStream();
    const video = document.createElement('video');
    video.muted = true;
    video.srcObject = stream;
    document.body.append(video);
    peer.addEventListener('track', ({ track }) => stream.addTrack(track));
    globalThis.viewer = peer;
    await offerTo(peer, '${url}');
    void video.play();
    const canvas = document.createElement('canvas');
    const context = canvas.getContext('2d', { willReadFrequently: true });
    const agesMs = [];
    let shown = 0;
    const until = whenShown(async () => {
      const reports = [...(await peer.getStats()).values()];
      const arrived = reports.filter(({ type }) => type === 'inbound-rtp');
      return shown + ' pictures, ' + peer.connectionState + ', ' + JSON.stringify(arrived);
    });
    await until((resolve) => {
      const look = () => {
        shown += 1;
        canvas.width = video.videoWidth;
        canvas.height = video.videoHeight;
        context.drawImage(video, 0, 0);
        const value = readClock(context, video.videoWidth / 640);
        if (value !== null) agesMs.push((Date.now() % 2 ** 24) - value);
        if (shown >= ${frames}) resolve();
        else video.requestVideoFrameCallback(look);
      };
      video.requestVideoFrameCallback(look);
    });
    const statistics = [...(await peer.getStats()).values()];
    const sound = statistics.find(({ type, kind }) => type === 'inbound-rtp' && kind === 'audio');
    return {
      frames: ${frames},
      agesMs,
      width: video.videoWidth,
      hasSound: (sound?.packetsReceived ?? 0) > 0,
    };
  })()`);
}

/**
 * How much later than its clock says a picture is in the index; null: the clock can't be read.
 * @param at an instant of what was recorded
 */
export function indexOffsetMs(page: Page, camera: string, at: string): Promise<number | null> {
  return page.evaluate<number | null>(`(async () => {
    ${clock}
    const response = await fetch('/api/v1/cameras/${camera}/image?format=png&at=${at}');
    if (!response.ok) throw new Error(response.status + ' ' + (await response.text()));
    const picture = await createImageBitmap(await response.blob());
    const canvas = new OffscreenCanvas(picture.width, picture.height);
    const context = canvas.getContext('2d');
    context.drawImage(picture, 0, 0);
    const value = readClock(context, picture.width / 640);
    const shownMs = Date.parse(response.headers.get('headgate-image-time'));
    return value === null ? null : (shownMs % 2 ** 24) - value;
  })()`);
}

/** Plays a camera by HLS, with hls.js, until so many pictures were shown. */
export async function watchHls(page: Page, playlist: string, frames: number): Promise<void> {
  await page.evaluate(`(async () => {
    const video = document.createElement('video');
    video.muted = true;
    document.body.append(video);
    ${patience}
    const player = new Hls();
    player.loadSource('${playlist}');
    player.attachMedia(video);
    void video.play();
    let shown = 0;
    const until = whenShown(() => shown + ' pictures, readyState ' + video.readyState);
    await until((resolve) => {
      const look = () => {
        shown += 1;
        if (shown >= ${frames}) resolve();
        else video.requestVideoFrameCallback(look);
      };
      video.requestVideoFrameCallback(look);
    });
    player.destroy();
  })()`);
}
