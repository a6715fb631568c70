/** `http` and `tls`: who reaches the page, the REST API and the AWS APIs, and by which certificate. */
import { z } from 'zod';
import { flag, host, keyNotes, path, port } from './leaves.ts';

export const tls = z.strictObject({
  certFile: path('a file')
    .register(keyNotes, { allowed: 'a file', path: true, example: '/etc/headgate/fullchain.pem' })
    .nullable()
    .default(null)
    .describe('The certificate, then those that vouch for it (PEM).'),
  keyFile: path('a file')
    .register(keyNotes, { allowed: 'a file', path: true, example: '/etc/headgate/privkey.pem' })
    .nullable()
    .default(null)
    .describe('Its private key (PEM), without a password.'),
});

export const http = z.strictObject({
  host: host()
    .default('127.0.0.1')
    .describe('Address to listen on. "listen: lan" listens on every one.'),
  port: port().default(8080).describe('Port of the page, the REST API, HLS and the metrics.'),
  allowPlaintext: flag()
    .default(false)
    .describe(
      'Speaks plaintext to other machines too. The login token crosses the network in the clear then: set it for a network you trust, or behind a proxy that speaks TLS.',
    ),
  hostnames: z
    .array(host())
    .max(100)
    .register(keyNotes, { allowed: 'a list of host names', example: ['gateway.example.net'] })
    .default([])
    .describe(
      'Names, beside its addresses, by which browsers may call this gateway. A request under any other name is refused, which stops DNS rebinding.',
    ),
});
