/** What the routes of our own API share: the kind of router, and how they refuse bad input. */
import { OpenAPIHono, z } from '@hono/zod-openapi';
import type { AppEnv } from '../../http/authentication.ts';
import { HttpError, jsonWanted, type ErrorDetail } from '../../http/errors.ts';
import type { ReloadResult } from '../../reload.ts';
import { ErrorSchema } from './error-schemas.ts';
import type { ReloadAnswer } from './operation-schemas.ts';
import { timeQuery } from './times.ts';

export type RestRouter = OpenAPIHono<AppEnv>;

export function createRouter(): RestRouter {
  return new OpenAPIHono<AppEnv>({
    defaultHook: (result, c) => {
      if (result.success) return;
      if (result.target === 'json' && c.req.header('content-type') === undefined) {
        throw new HttpError('bad-request', `The body is missing: ${jsonWanted}.`);
      }
      const details = result.error.issues.flatMap(detailsOf);
      const whole = result.target === 'json' ? 'the body' : `the ${result.target}`;
      const said = details.map(({ field, message }) => `${field || whole}: ${message}`).join('; ');
      throw new HttpError('bad-request', `The request is not right: ${said}`, { details });
    },
  });
}

/** What `field` is for the body as a whole: nothing. */
function detailsOf(issue: z.core.$ZodIssue): readonly ErrorDetail[] {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({
      ...{ field: [...issue.path, key].join('.'), message: 'is not known' },
    }));
  }
  const message = isMissing(issue) ? 'is missing' : issue.message.replace('Invalid input: ', '');
  return [{ field: issue.path.join('.'), message }];
}

/** zod names what it expected, which says little of what was left out. */
function isMissing(issue: z.core.$ZodIssue): boolean {
  if (issue.code === 'invalid_union') return issue.errors.every((each) => each.some(isMissing));
  return issue.code === 'invalid_type' && issue.message.endsWith('received undefined');
}

/** The responses of a route that answers with `schema`. */
export function answers<T extends z.ZodType>(schema: T, description: string) {
  return {
    200: { description, content: { 'application/json': { schema } } },
    default: {
      description: 'What went wrong',
      content: { 'application/json': { schema: ErrorSchema } },
    },
  } as const;
}

/** `from` and `to` of a query, in milliseconds. */
export const rangeFields = { from: timeQuery, to: timeQuery };

/** A whole number in a query. */
export function wholeQuery(min: number, max: number, fallback: number) {
  return z.coerce.number().int().min(min).max(max).default(fallback);
}

/** @throws HttpError `bad-request` */
export function checkRange(from: number, to: number): void {
  if (from < to) return;
  const message = 'must come after `from`';
  throw new HttpError('bad-request', `to ${message}`, { details: [{ field: 'to', message }] });
}

export function reloadAnswer({ changed, needsRestart, withoutEffect }: ReloadResult): ReloadAnswer {
  return {
    changed: [...changed],
    needsRestart: [...needsRestart],
    withoutEffect: [...withoutEffect],
  };
}

export const nameParameter = z.object({ name: z.string().max(128) });
