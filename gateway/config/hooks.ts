/** `hooks`: programs that look at cameras. */
import { z } from 'zod';
import { httpTarget, lambdaTarget } from './functions.ts';
import { choice, decimal, keyNotes, line, name, oneOf, path, size, whole } from './leaves.ts';

const MiB = 2 ** 20;

const hook = z.strictObject({
  camera: name().describe('A camera of this file.'),
  send: choice(['image', 'fragment'])
    .default('image')
    .describe(
      'What is handed over: the first picture of a fragment, as JPEG, or the whole fragment, as MP4.',
    ),
  perMinute: decimal(0.01, 600)
    .nullable()
    .default(6)
    .describe(
      'How many a minute at most, evenly spread, and no more than one of each fragment (about 2 s); null: one of each.',
    ),
  imageWidth: whole(16, 7680)
    .nullable()
    .default(640)
    .describe('Pixels, for images; no image is made larger than recorded. null: as recorded.'),
  to: oneOf({
    http: httpTarget.describe('An HTTP endpoint: gets the bytes as a POST, and answers in JSON.'),
    lambda: lambdaTarget.describe(
      'A function of AWS Lambda, or of a server that speaks its Invoke: gets JSON with the bytes in Base64 as "body", at most 6 MB of it.',
    ),
    command: z
      .strictObject({
        program: path('a program')
          .register(keyNotes, { allowed: 'a program', path: true, program: true })
          .describe('The program; no shell sees it.'),
        arguments: z
          .array(line(4096, 'a line of text'))
          .max(100)
          .register(keyNotes, { allowed: 'a list of lines', example: ['--model', 'people'] })
          .default([])
          .describe('What it is started with.'),
      })
      .describe('A program on this machine, started for each: gets the bytes on stdin.'),
  }).describe('Who gets it: http, lambda or command.'),
  stream: name()
    .nullable()
    .default(null)
    .describe('The stream that gets each answer as a record; null: answers become tags only.'),
  timeoutSeconds: decimal(0.1, 300)
    .default(10)
    .describe('How long one may take in all, the making of the image included.'),
  maxBytes: size(1024)
    .default(4 * MiB)
    .describe('What is larger is not sent.'),
  concurrency: whole(1, 16)
    .default(1)
    .describe('How many are under way at once. 16 more wait; then the oldest gives way.'),
});

export const hooks = z.record(name(), hook).register(keyNotes, {
  allowed: 'a map of hooks by name',
  example: {
    people: {
      camera: 'front',
      to: {
        http: {
          url: 'http://127.0.0.1:9000/detect',
          authorization: '${HOOK_TOKEN:-Bearer x}',
        },
      },
      stream: 'camera-events',
    },
    plates: {
      camera: 'yard',
      send: 'fragment',
      perMinute: null,
      to: { lambda: { function: 'plates', region: 'eu-central-1' } },
    },
    smoke: {
      camera: 'yard',
      perMinute: 1,
      to: { command: { program: '/usr/local/bin/detect', arguments: ['--model', 'smoke'] } },
    },
  },
});
