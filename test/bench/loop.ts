/**
 * The event loop, and memory, under everything at once: the load of `test/soak/everything.ts`, with
 * all that misbehaves in it. There is no ceiling to compare with: a loop that nothing holds up has
 * no delay at all.
 */
import { everythingAtOnce } from '../soak/everything.ts';
import type { Benchmark } from './bench.ts';

const seconds = 60;

export const benchmark: Benchmark = {
  name: 'loop',
  title: `Everything at once for ${seconds} s: 105 devices, 11 cameras, slow, dead and stuck peers`,
  run: async (context) => {
    const figures = await everythingAtOnce(context, { seconds, seed: 1, note: context.note });
    return [
      {
        name: 'event-loop delay, p99 of the worst 10 s',
        value: figures.loopDelayP99Ms,
        unit: 'ms',
        target: { atMost: 20 },
      },
      { name: 'PUBACK after the commit, p50', value: figures.acknowledgeP50Ms, unit: 'ms' },
      { name: 'PUBACK after the commit, p99', value: figures.acknowledgeP99Ms, unit: 'ms' },
      { name: "status page's answer, p99", value: figures.pageP99Ms, unit: 'ms' },
      { name: 'CPU of the gateway process', value: figures.cpuShare, unit: 'cores' },
      {
        name: 'memory of the gateway process, most',
        value: figures.memoryMaxBytes / 2 ** 20,
        unit: 'MiB',
      },
    ];
  },
};
