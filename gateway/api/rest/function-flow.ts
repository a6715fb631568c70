/**
 * Routes that hold a function back, let it go on, put it elsewhere in its stream, hand over again what
 * it failed, and let go of one that is no longer configured. Each is in the audit log.
 */
import { createRoute, z } from '@hono/zod-openapi';
import type { EventSources } from '../../event-sources.ts';
import { SinkError } from '../../forward/sink.ts';
import { HttpError } from '../../http/errors.ts';
import { answers, nameParameter, type RestRouter } from './router.ts';
import { FunctionReplaySchema, FunctionSchema } from './function-schemas.ts';
import { functionOf } from './status.ts';
import { placeOf, rewindBody, steering, type SteeringRoutes } from './steering.ts';

export type FunctionFlow = Pick<
  EventSources,
  'removed' | 'pause' | 'resume' | 'rewind' | 'replay' | 'forget'
>;

const pause = createRoute({
  method: 'post',
  path: '/functions/{name}/pause',
  summary: 'Holds a function back until it is resumed',
  description:
    'No call is begun any more, also after restarts; what is under way is finished. A required one ' +
    'keeps what it has not had yet, within the byte limit of its stream. Again is harmless.',
  request: { params: nameParameter },
  responses: answers(FunctionSchema, 'The function, which waits'),
});

const resume = createRoute({
  method: 'post',
  path: '/functions/{name}/resume',
  summary: 'Lets a paused function go on where it was',
  description:
    'An attempt that waits for its time is made at once. Its paused in the configuration holds it back yet. Again is harmless.',
  request: { params: nameParameter },
  responses: answers(FunctionSchema, 'The function'),
});

const rewind = createRoute({
  method: 'post',
  path: '/functions/{name}/rewind',
  summary: 'Has a function begin anew elsewhere in its stream, back or forwards',
  description:
    'It gets what came at the time or after it, again where it had it before; what is skipped it does ' +
    'not get. Calls that are under way are called off: they may have had their effect. The state of a ' +
    'window that is open is forgotten. What is deleted already does not come back.',
  request: { params: nameParameter, body: rewindBody },
  responses: answers(FunctionSchema, 'The function, where it is now'),
});

const replay = createRoute({
  method: 'post',
  path: '/functions/{name}/replay',
  summary: 'Hands over again the batches of a function that have failed by now',
  description:
    'They are in its deadLetter, and go beside what comes, in the background. Those that fail once ' +
    'more are kept once more. Batches of a window are windows of their own, which end early.',
  request: { params: nameParameter },
  responses: answers(FunctionReplaySchema, 'They are on their way'),
});

const forget = createRoute({
  method: 'post',
  path: '/functions/{name}/forget',
  summary: 'Lets go of a function that is no longer configured: how far it had come',
  request: { params: nameParameter },
  responses: answers(z.object({ name: z.string() }), 'It is forgotten'),
});

/** A folder that can't be read says so in words of the system alone. */
function unreadable(name: string, error: unknown): unknown {
  if (!(error instanceof SinkError)) return error;
  const message = `What ${name} has given up can't be read: ${error.message}.`;
  return new HttpError('unavailable', message, { cause: error });
}

export function functionFlowRoutes(
  router: RestRouter,
  { flow, absentOne, audit, clock }: SteeringRoutes<FunctionFlow>,
): void {
  const told = steering({ audit, absentOne, what: 'function', shown: functionOf });
  const did = steering({ audit, absentOne, what: 'function', shown: (batches: number) => batches });
  router.openapi(pause, async (c) => {
    const { name } = c.req.valid('param');
    return c.json(await told(c, 'PauseFunction', name, () => flow().pause(name)), 200);
  });
  router.openapi(resume, async (c) => {
    const { name } = c.req.valid('param');
    return c.json(await told(c, 'ResumeFunction', name, () => flow().resume(name)), 200);
  });
  router.openapi(rewind, async (c) => {
    const { name } = c.req.valid('param');
    const to = placeOf(c.req.valid('json').to, clock);
    return c.json(await told(c, 'RewindFunction', name, () => flow().rewind(name, to)), 200);
  });
  router.openapi(replay, async (c) => {
    const { name } = c.req.valid('param');
    const batches = await did(c, 'ReplayFunction', name, async () => {
      const asked = await flow()
        .replay(name)
        .catch((error: unknown) => {
          throw unreadable(name, error);
        });
      if (asked !== 'nothing-kept') return asked;
      throw new HttpError('conflict', `${name} has no deadLetter: what it gives up is not kept.`);
    });
    return c.json({ name, batches }, 200);
  });
  router.openapi(forget, async (c) => {
    const { name } = c.req.valid('param');
    await did(c, 'ForgetFunction', name, async () => {
      const outcome = await flow().forget(name);
      if (outcome === 'forgotten') return 0;
      if (outcome === 'unknown') return null;
      throw new HttpError('conflict', `${name} is configured: take it out first, then forget it.`);
    });
    return c.json({ name }, 200);
  });
}
