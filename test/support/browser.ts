import { chromium, type Browser } from 'playwright-core';
import type { Scope } from './scope.ts';
import { findProgram } from './tools.ts';

export interface Skipping extends Scope {
  /** Says why something is left out. */
  readonly skip: (reason: string) => void;
}

/** Debian's Chromium without a window, closed when the test ends; null, and a skip, without one. */
export async function launchBrowser(context: Skipping): Promise<Browser | null> {
  const executablePath = findProgram('chromium');
  if (executablePath === null) {
    context.skip('needs chromium, not on this machine');
    return null;
  }
  return openBrowser(context, executablePath);
}

/**
 * A Chromium without a window, for as long as the scope lasts. It is killed then: asked to close, it
 * may take for ever.
 */
export async function openBrowser(scope: Scope, executablePath: string): Promise<Browser> {
  const server = await chromium.launchServer({
    host: '127.0.0.1',
    executablePath,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--autoplay-policy=no-user-gesture-required',
    ],
  });
  scope.after(() => server.kill());
  return chromium.connect(server.wsEndpoint());
}
