/** What the answers of our own API are made of; schemas.ts has the conventions. */
import { z } from '@hono/zod-openapi';

export const time = z.iso
  .datetime({ offset: false })
  .openapi({ example: '2026-01-31T09:30:00.250Z' });
export const count = z.number().int().min(0);
export const bytes = count.describe('Bytes');
