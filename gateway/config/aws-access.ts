/** Keys that the sections about AWS share. */
import { line, secret, url } from './leaves.ts';

export const awsCredentials = {
  accessKeyId: line(256, 'an access key id')
    .nullable()
    .default(null)
    .describe('null: found as every AWS program does (environment, profile, role).'),
  secretAccessKey: secret().nullable().default(null).describe('Goes with accessKeyId.'),
};

export const region = line(64, 'a region, like eu-central-1')
  .nullable()
  .default(null)
  .describe('null: found as every AWS program does.');

export const endpoint = url(['http', 'https'])
  .nullable()
  .default(null)
  .describe('Another service with the same protocol; null: AWS.');
