/**
 * Records a piece of footage over and over into a store until it is killed, printing the number of
 * each fragment once it is acknowledged:
 * `recording-child.ts <folder> <footage> <start µs> <encryption>`.
 */
import { readFile } from 'node:fs/promises';
import { systemClock } from '../../../storage/clock.ts';
import { openStore } from '../../../storage/store.ts';
import { MemoryLogger } from '../../support/memory-logger.ts';
import { MemoryMetrics } from '../../support/memory-metrics.ts';
import {
  beginRun,
  cameraOptions,
  durationUsOf,
  groupsOf,
  openFragment,
  parseFootage,
  underKey,
} from './footage.ts';

const [folder = '', footagePath = '', startUs = '', encryption = ''] = process.argv.slice(2);
const footage = parseFootage(await readFile(footagePath));
const store = await openStore({
  folder,
  clock: systemClock,
  logger: new MemoryLogger(),
  metrics: new MemoryMetrics(),
  video: { minFreeBytes: 0, mediaFileMs: 5_000 },
  masterKeys: underKey(),
});
await store.video.ensureCamera(
  cameraOptions('gate', { encryption: encryption === 'none' ? 'none' : 'aes-256-gcm' }),
);
const { lastEndUs } = await store.video.camera('gate');
let atUs = lastEndUs ?? Number(startUs);
const recording = await beginRun(store, 'gate', footage, atUs);
for (;;) {
  for (const group of groupsOf(footage.chunks)) {
    await openFragment(recording, footage, group, atUs);
    const durationUs = durationUsOf(footage, group);
    const { number } = await recording.closeFragment({ durationUs, damaged: false });
    atUs += durationUs;
    console.log(`acknowledged ${number}`);
  }
}
