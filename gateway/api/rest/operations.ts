/** Routes of an operator: the clock and whether it is right, backups, the configuration. */
import { createRoute, z } from '@hono/zod-openapi';
import type { BackupState, Operations } from '../../operations.ts';
import { answers, reloadAnswer, type RestRouter } from './router.ts';
import {
  BackupSchema,
  ClockSchema,
  ReloadSchema,
  type BackupAnswer,
  type ClockAnswer,
} from './operation-schemas.ts';
import { isoFromMs } from './times.ts';

const clock = createRoute({
  method: 'get',
  path: '/clock',
  summary: 'The clock, its steps, and whether age is believed',
  responses: answers(ClockSchema, 'The clock'),
});

const confirmClock = createRoute({
  method: 'post',
  path: '/clock/confirm',
  summary: 'The clock is right: what is expired may be deleted',
  responses: answers(ClockSchema, 'The clock'),
});

const backup = createRoute({
  method: 'get',
  path: '/backup',
  summary: 'How the newest backup is getting on',
  responses: answers(BackupSchema, 'The backup'),
});

const startBackup = createRoute({
  method: 'post',
  path: '/backup',
  summary: "Begins a backup into a folder of the gateway's machine",
  request: {
    body: {
      required: true,
      content: {
        'application/json': {
          schema: z.strictObject({
            folder: z.string().min(1).max(4096).describe('Absolute; empty, or not there yet'),
            logOnly: z.boolean().default(false).describe('Leaves footage out'),
          }),
        },
      },
    },
  },
  responses: answers(BackupSchema, 'The backup, which goes on'),
});

const reload = createRoute({
  method: 'post',
  path: '/reload',
  summary: 'Loads the configuration again, and takes over what can be taken over',
  responses: answers(ReloadSchema, 'What was taken over, and what needs a restart'),
});

export function operationsRoutes(
  router: RestRouter,
  { operations }: { readonly operations: Operations },
): void {
  router.openapi(clock, async (c) => c.json(await clockOf(operations), 200));
  router.openapi(confirmClock, async (c) => {
    await operations.confirmClock();
    return c.json(await clockOf(operations), 200);
  });
  router.openapi(backup, (c) => c.json(backupOf(operations.backup()), 200));
  router.openapi(startBackup, (c) =>
    c.json(backupOf(operations.startBackup(c.req.valid('json'))), 200),
  );
  router.openapi(reload, async (c) => {
    return c.json(reloadAnswer(await operations.reload()), 200);
  });
}

async function clockOf(operations: Operations): Promise<ClockAnswer> {
  const { nowMs, suspension, steps, expiring } = await operations.clock();
  return {
    time: isoFromMs(nowMs),
    suspended:
      suspension === null
        ? null
        : {
            sinceTime: isoFromMs(suspension.sinceMs),
            stepMs: suspension.stepMs,
            expectedTime: isoFromMs(suspension.expectedMs),
            healsInMs: Math.round(suspension.healsInMs),
          },
    steps: steps.map(({ atMs, stepMs, whileStopped }) => ({
      ...{ time: isoFromMs(atMs), stepMs, whileStopped },
    })),
    expiring: [...expiring],
  };
}

function backupOf(backup: BackupState | null): BackupAnswer {
  const none = { state: 'none', folder: null, logOnly: false, files: 0, bytes: 0 } as const;
  return backup === null ? { ...none, goneFiles: 0, error: null } : { ...backup };
}
