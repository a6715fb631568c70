import { killEventSource, type KillsMode } from '../gateway/event-sources/support/kills-run.ts';
import type { Soak } from './soak.ts';

const modes: readonly KillsMode[] = ['windows', 'bisecting', 'lanes'];
const killsEach = 3;

export const soak: Soak = {
  name: 'functions',
  title: `a function on a stream fails at random, and its gateway is killed ${killsEach} times`,
  seeds: 99,
  run: async ({ seed, after }) => {
    const mode = modes[seed % modes.length] ?? 'windows';
    return {
      kills: killsEach,
      ...(await killEventSource({ after }, { seed, mode, kills: killsEach })),
    };
  },
};
