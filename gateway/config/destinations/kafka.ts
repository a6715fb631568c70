/** `deliveries.*.to.kafka` */
import { z } from 'zod';
import { choice, flag, keyNotes, secret, size, username } from '../leaves.ts';
import { caFile, certFile, keyFile } from './tls.ts';

export const kafkaDestination = z
  .strictObject({
    brokers: z
      .array(
        z
          .string()
          .max(300)
          .regex(/^([a-zA-Z0-9._-]{1,253}|\[[0-9a-fA-F:.]{2,45}\]):\d{1,5}$/)
          .register(keyNotes, { allowed: 'a host and a port, like kafka.example.net:9092' }),
      )
      .min(1)
      .max(100)
      .register(keyNotes, {
        allowed: 'a list of hosts with ports',
        example: ['kafka-1.example.net:9092', 'kafka-2.example.net:9092'],
      })
      .describe('Brokers to begin with; they know the others.'),
    topic: z
      .string()
      .regex(/^(?!\.{1,2}$)[a-zA-Z0-9._-]{1,249}$/)
      .register(keyNotes, { allowed: '1 to 249 letters, digits, _ . -' })
      .describe('The topic; it has to be there. The partition key is the key of its records.'),
    compression: choice(['none', 'gzip', 'snappy', 'lz4'])
      .default('none')
      .describe('Of what is sent, and of what the topic keeps.'),
    maxRequestBytes: size(1024)
      .refine((bytes) => bytes <= 64 * 2 ** 20)
      .register(keyNotes, { allowed: 'a size from 1 KiB to 64 MiB', size: true })
      .default(900_000)
      .describe(
        'The most that goes to a partition at once, before compression: less than max.message.bytes of the topic, which is 1 MiB unless somebody has set it.',
      ),
    sasl: choice(['none', 'plain', 'scram-sha-256', 'scram-sha-512'])
      .default('none')
      .describe('How username and password are shown.'),
    username: username().nullable().default(null).describe('Goes with sasl.'),
    password: secret().nullable().default(null).describe('Goes with username.'),
    tls: flag().default(false).describe('Whether the brokers are spoken to over TLS.'),
    caFile,
    certFile,
    keyFile,
  })
  .describe(
    'A topic of Kafka. Records carry their ids, and come once for as long as the gateway runs.',
  );
