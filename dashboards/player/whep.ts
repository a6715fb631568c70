/**
 * Plays a camera as it happens, over WebRTC (WHEP). It is a second or two ahead of HLS; where it
 * does not get through, HLS does.
 */

/** After which a picture that did not come is not waited for. */
const firstPictureMs = 6_000;
/** What a browser is given to find its addresses: on one network it has them at once. */
const gatherMs = 1_000;

/**
 * Resolves when the first picture is there, with how to stop; rejects when none comes.
 * @param over called when it was playing and is over
 */
export async function playWhep(
  element: HTMLVideoElement,
  url: string,
  over: () => void,
): Promise<() => void> {
  const peer = new RTCPeerConnection();
  const stream = new MediaStream();
  let location: string | null = null;
  const stop = (): void => {
    peer.close();
    if (element.srcObject === stream) element.srcObject = null;
    if (location !== null) {
      void fetch(location, { method: 'DELETE', keepalive: true }).catch(() => undefined);
    }
  };
  peer.addTransceiver('video', { direction: 'recvonly' });
  peer.addTransceiver('audio', { direction: 'recvonly' });
  peer.addEventListener('track', ({ track }) => {
    stream.addTrack(track);
  });
  try {
    await peer.setLocalDescription();
    await gathered(peer);
    const response = await fetch(url, {
      method: 'POST',
      credentials: 'same-origin',
      headers: { 'Content-Type': 'application/sdp' },
      body: peer.localDescription?.sdp ?? '',
    });
    if (response.status !== 201) throw new Error(`${response.status} ${response.statusText}`);
    location = response.headers.get('location');
    await peer.setRemoteDescription({ type: 'answer', sdp: await response.text() });
    element.srcObject = stream;
    // A browser that refuses to start by itself shows its own play button.
    void element.play().catch(() => undefined);
    await firstPicture(element, peer);
  } catch (error) {
    stop();
    throw error;
  }
  peer.addEventListener('connectionstatechange', () => {
    if (isOver(peer)) over();
  });
  return stop;
}

function isOver({ connectionState }: RTCPeerConnection): boolean {
  return connectionState === 'failed' || connectionState === 'closed';
}

function gathered(peer: RTCPeerConnection): Promise<void> {
  if (peer.iceGatheringState === 'complete') return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, gatherMs);
    peer.addEventListener('icegatheringstatechange', () => {
      if (peer.iceGatheringState !== 'complete') return;
      clearTimeout(timer);
      resolve();
    });
  });
}

function firstPicture(element: HTMLVideoElement, peer: RTCPeerConnection): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('no picture came')), firstPictureMs);
    element.addEventListener(
      'loadeddata',
      () => {
        clearTimeout(timer);
        resolve();
      },
      { once: true },
    );
    peer.addEventListener('connectionstatechange', () => {
      if (!isOver(peer)) return;
      clearTimeout(timer);
      reject(new Error('the connection was lost'));
    });
  });
}
