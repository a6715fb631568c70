/** What the routes of the running of the gateway (`operations.ts`) answer: clock, backup, reload. */
import { z } from '@hono/zod-openapi';
import { bytes, count, time } from './leaves.ts';

export const ClockSchema = z
  .object({
    time: time.describe("The gateway's clock, now"),
    suspended: z
      .object({
        sinceTime: time.describe('What the clock said when it began'),
        stepMs: z.number().int().describe('How far the clock went, against what was expected'),
        expectedTime: time.describe('What the clock before the step would say'),
        healsInMs: count.describe('When it ends by itself'),
      })
      .nullable()
      .describe('Nothing stored before the step is deleted by age; null: age is believed'),
    steps: z
      .array(z.object({ time, stepMs: z.number().int(), whileStopped: z.boolean() }))
      .describe('The newest last'),
    expiring: z
      .array(
        z.object({
          kind: z.enum(['stream', 'camera']),
          name: z.string(),
          count: count.describe('Records, or media files'),
        }),
      )
      .describe('What is older than its retention by this clock'),
  })
  .openapi('Clock');

export const BackupSchema = z
  .object({
    state: z.enum(['none', 'running', 'done', 'failed']).describe('Of the newest since the start'),
    folder: z.string().nullable(),
    logOnly: z.boolean(),
    files: count.describe('Copied so far'),
    bytes,
    goneFiles: count.describe('Media files that retention deleted before they were copied'),
    error: z.string().nullable(),
  })
  .openapi('Backup');

export const ReloadSchema = z
  .object({
    changed: z.array(z.string()).describe('What was taken over, such as cameras.front'),
    needsRestart: z.array(z.string()).describe('What a restart only takes over, such as http.port'),
    withoutEffect: z
      .array(z.string())
      .describe('What is written and nothing comes of, such as another number of shards'),
  })
  .openapi('Reload');

export type ClockAnswer = z.infer<typeof ClockSchema>;
export type ReloadAnswer = z.infer<typeof ReloadSchema>;
export type BackupAnswer = z.infer<typeof BackupSchema>;
