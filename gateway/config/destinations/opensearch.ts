/** `deliveries.*.to.opensearch` */
import { z } from 'zod';
import { awsCredentials, region } from '../aws-access.ts';
import { choice, keyNotes, line, secret, size, url, username } from '../leaves.ts';
import { caFile } from './tls.ts';

const MiB = 2 ** 20;

export const openSearchDestination = z
  .strictObject({
    endpoint: url(['http', 'https']).describe('The cluster, domain or collection.'),
    index: z
      .string()
      .regex(/^(?![-_+.])[^A-Z\\/*?"<>| ,#:\p{Cc}]{1,200}$/u)
      .register(keyNotes, {
        allowed: '1 to 200 characters in lower case, none of \\ / * ? " < > | , # : or a space',
      })
      .describe(
        'The index, or what its name begins with; made when missing, if the cluster does that.',
      ),
    rotation: choice(['none', 'hour', 'day', 'week', 'month'])
      .default('none')
      .describe(
        'How often another index is begun, named by the time of arrival in UTC: -2026-02-25-13, -2026-02-25, -2026-w09 or -2026-02 is put behind the name.',
      ),
    operation: choice(['index', 'create'])
      .default('index')
      .describe(
        'What is done with a document whose id is there already: index replaces it, create leaves it. Data streams take create alone.',
      ),
    documentId: choice(['record', 'query', 'none'])
      .default('record')
      .describe(
        'record: the id of a document is that of its record, so what is sent twice is there once. query: idQuery gives it. none: the cluster makes one, and what is sent twice is there twice.',
      ),
    idQuery: line(4096, 'a query in JMESPath')
      .register(keyNotes, { allowed: 'a query in JMESPath', example: 'device.id' })
      .nullable()
      .default(null)
      .describe(
        'Gives the id of a document, in JMESPath: a text, a number, true or false. Of documents with one id the last one stays, or with "operation: create" the first.',
      ),
    username: username().nullable().default(null).describe('Goes with password; null: no login.'),
    password: secret().nullable().default(null).describe('Goes with username.'),
    service: choice(['es', 'aoss'])
      .nullable()
      .default(null)
      .describe(
        'Signs requests, in place of a login: es for a domain of Amazon OpenSearch Service, aoss for a collection. null: they are not signed.',
      ),
    region: region.describe('Of the signature. null: found as every AWS program does.'),
    ...awsCredentials,
    maxBytes: size(MiB)
      .refine((bytes) => bytes <= 100 * MiB)
      .register(keyNotes, { allowed: 'a size from 1 MiB to 100 MiB', size: true })
      .default(5 * MiB)
      .describe('Of one request, 1 MiB to 100 MiB; the cluster has a limit, too.'),
    caFile,
  })
  .describe('An index of OpenSearch: each record has to be a JSON object, and is a document.');
