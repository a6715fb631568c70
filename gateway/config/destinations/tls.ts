/** Keys of destinations that are called over TLS. */
import { path } from '../leaves.ts';

export const caFile = path('a file')
  .nullable()
  .default(null)
  .describe('Certificates of authorities in PEM, trusted beside the usual ones; null: only those.');

export const certFile = path('a file')
  .nullable()
  .default(null)
  .describe('Certificate (PEM) to show there; null: none.');

export const keyFile = path('a file').nullable().default(null).describe('Its key (PEM).');
