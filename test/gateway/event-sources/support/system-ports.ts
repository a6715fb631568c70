/** What a store and its readers are given where time is real. */
import { systemClock } from '../../../../storage/clock.ts';
import { MemoryLogger } from '../../../support/memory-logger.ts';
import { MemoryMetrics } from '../../../support/memory-metrics.ts';

export interface SystemPorts {
  readonly clock: typeof systemClock;
  readonly logger: MemoryLogger;
  readonly metrics: MemoryMetrics;
}

export function systemPorts(): SystemPorts {
  return { clock: systemClock, logger: new MemoryLogger(), metrics: new MemoryMetrics() };
}
