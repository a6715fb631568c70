/** `deliveries.*.to.nats` */
import { z } from 'zod';
import { isSubjectTemplate } from '../../forward/sinks/nats/subject.ts';
import { keyNotes, line, path, secret, url, username } from '../leaves.ts';
import { caFile, certFile, keyFile } from './tls.ts';

export const natsDestination = z
  .strictObject({
    servers: z
      .array(url(['nats', 'tls']))
      .min(1)
      .max(100)
      .register(keyNotes, {
        allowed: 'a list of URLs that begin with nats:// or tls://',
        example: ['nats://nats.example.net:4222'],
      })
      .describe('The first that is there is connected to; with tls:// it has to speak TLS.'),
    subject: z
      .string()
      .refine(isSubjectTemplate)
      .register(keyNotes, {
        allowed: 'names with dots between them, {partitionKey} among them, without wildcards',
      })
      .describe(
        'What records are published to, such as plant.{partitionKey}; what of a key may not be in a name becomes _. A stream has to take it.',
      ),
    stream: line(255, 'the name of a stream')
      .nullable()
      .default(null)
      .describe('The stream that has to take it; null: whichever does.'),
    username: username().nullable().default(null).describe('Who we are there; null: nobody.'),
    password: secret().nullable().default(null).describe('Goes with username.'),
    token: secret().nullable().default(null).describe('What lets us in, in place of a user.'),
    nkeySeed: secret()
      .nullable()
      .default(null)
      .describe('The seed of an NKey (SU…), in place of a user.'),
    credentialsFile: path('a file')
      .nullable()
      .default(null)
      .describe('A file of credentials, JWT and NKey, as nsc writes it, in place of a user.'),
    caFile,
    certFile,
    keyFile,
  })
  .describe(
    "A stream of NATS JetStream. Records carry their ids, and come once within the stream's duplicate window.",
  );
