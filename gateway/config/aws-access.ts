/** Keys that the sections about AWS share. */
import { z } from 'zod';
import { keyNotes, line, secret, url } from './leaves.ts';

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
  .describe('null: found as every AWS program does (AWS_REGION, or the profile).');

/** Of S3. A server that speaks its protocol may take names that S3 does not. */
export const bucket = z
  .string()
  .regex(/^(?:arn:\P{Cc}{1,251}|[^\p{Cc}/:]{1,255})$/u)
  .register(keyNotes, { allowed: 'the name of a bucket alone, or the ARN of an access point' })
  .describe('The bucket; it has to be there.');

export const endpoint = url(['http', 'https'])
  .nullable()
  .default(null)
  .describe('Another service with the same protocol; null: AWS.');
