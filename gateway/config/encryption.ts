/** `encryption`: the master key, where it is and where it was. */
import { z } from 'zod';
import { awsCredentials, endpoint, region } from './aws-access.ts';
import { decimal, keyNotes, line, path, secret } from './leaves.ts';

/** One of them, or none. */
const masterKeyPlaces = {
  masterKeyFile: path('a file')
    .register(keyNotes, { allowed: 'a file', path: true, example: '/etc/headgate/master.key' })
    .nullable()
    .default(null)
    .describe(
      'Holds the master key: 32 bytes, in Base64 or hexadecimal. Without it nothing that is encrypted can be read. null: made in the data folder, where it protects what is copied from the disk without the folder "access", and no more.',
    ),
  masterKey: secret()
    .nullable()
    .default(null)
    .describe('The master key itself, for one that comes from the environment; null: a file.'),
  kms: z
    .strictObject({
      keyId: line(2048, 'the ARN, id or alias of a key')
        .nullable()
        .default(null)
        .describe('A key of AWS KMS as the master key; null: a file.'),
      region: region.describe("null: that of the key's ARN."),
      endpoint,
      ...awsCredentials,
    })
    .prefault({})
    .describe(
      'A master key that does not leave AWS KMS. What is encrypted can then be read after a start only once KMS has answered.',
    ),
};

export const encryption = z.strictObject({
  ...masterKeyPlaces,
  previous: z
    .strictObject({
      ...masterKeyPlaces,
      masterKeyFile: masterKeyPlaces.masterKeyFile.describe(
        'Where the master key was until now; access/master.key in the data folder, if nothing was said.',
      ),
    })
    .prefault({})
    .describe(
      'The master key of before, for a change of it: at the next start what it protects is put under the new one. Take it out of here after that.',
    ),
  dataKeyDays: decimal(1, 3650)
    .default(90)
    .describe(
      'A data key older than this gives way to a new one, and what it encrypted is encrypted anew.',
    ),
});
