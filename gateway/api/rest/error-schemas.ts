/** What an error of our own API is. */
import { z } from '@hono/zod-openapi';

/** Every error, of every route outside the AWS APIs, has this shape. */
export const ErrorSchema = z
  .object({
    error: z.object({
      code: z.string().describe('One of a closed list; what a program may act on'),
      message: z.string().describe('A sentence for people'),
      details: z
        .array(z.object({ field: z.string(), message: z.string() }))
        .describe('What is wrong with which part of the request; often empty'),
    }),
  })
  .openapi('Error');

export type ApiError = z.infer<typeof ErrorSchema>;
