/** Plays a camera as it happens, by HLS, with nothing around it: for one picture among many. */

/**
 * Resolves when it has begun, with how to stop; rejects when this browser plays no HLS.
 * @param over called when it does not come, or not any more
 */
export async function playHls(
  element: HTMLVideoElement,
  url: string,
  over: () => void,
): Promise<() => void> {
  const { default: Hls } = await import('hls.js/light');
  if (!Hls.isSupported()) {
    element.addEventListener('error', over, { once: true });
    element.src = url;
    await element.play();
    return () => {
      element.removeEventListener('error', over);
      element.removeAttribute('src');
    };
  }
  const player = new Hls({ maxBufferLength: 10, backBufferLength: 0 });
  player.on(Hls.Events.ERROR, (_event, { fatal }) => {
    if (fatal) over();
  });
  player.loadSource(url);
  player.attachMedia(element);
  // A browser that refuses to start by itself shows its own play button.
  void element.play().catch(() => undefined);
  return () => {
    player.destroy();
  };
}
