/** `auth`: who may use the AWS APIs. */
import { z } from 'zod';
import { accessKeyId, choice, keyNotes, policyDocument, secret, userName } from './leaves.ts';

const readerPolicy =
  '{"Statement": {"Effect": "Allow", "Action": "kinesis:Get*", "Resource": "*"}}';

export const auth = z.strictObject({
  mode: choice(['sigv4', 'permissive'])
    .default('sigv4')
    .describe(
      'sigv4 checks the signature of every request to an AWS API. permissive takes requests of programs on this machine that name a known key, whatever they signed with; every listener has to be on loopback.',
    ),
  keys: z
    .array(
      z.strictObject({
        name: userName().describe('The user that the key speaks for, in ARNs and the audit log.'),
        accessKeyId: accessKeyId().describe('The id of the key.'),
        secretAccessKey: secret().describe('What requests are signed with.'),
        policies: z
          .array(policyDocument())
          .max(10)
          .register(keyNotes, {
            allowed: 'a list of policy documents',
            example: [readerPolicy],
          })
          .default([])
          .describe('What it may do, as policy documents of IAM; none: everything.'),
      }),
    )
    .max(1000)
    .register(keyNotes, {
      allowed: 'a list of {name, accessKeyId, secretAccessKey, policies}',
      example: [
        {
          name: 'dashboards',
          accessKeyId: 'AKIAEXAMPLE',
          secretAccessKey: '${DASHBOARDS_SECRET:-change-me}',
          policies: [readerPolicy],
        },
      ],
    })
    .default([])
    .describe('Access keys of AWS clients, besides those that "headgate access-key" makes.'),
});
