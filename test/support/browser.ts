import type { TestContext } from 'node:test';
import { chromium, type Browser } from 'playwright-core';
import { findProgram } from './tools.ts';

/** Debian's Chromium without a window, closed when the test ends; null, and a skip, without one. */
export async function launchBrowser(context: TestContext): Promise<Browser | null> {
  const executablePath = findProgram('chromium');
  if (executablePath === null) {
    context.skip('needs chromium, not on this machine');
    return null;
  }
  const browser = await chromium.launch({
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
  context.after(() => browser.close());
  return browser;
}
