/** When a delivery sends, and before which others: keys of `deliveries.*`. */
import { z } from 'zod';
import { isTimeZone, parseHours } from '../forward/flow/schedule.ts';
import { onlyWhileDefaults } from '../forward/flow/only-while.ts';
import { defaultPriority } from '../forward/options.ts';
import { choice, decimal, keyNotes, line, path, whole } from './leaves.ts';

const hours = z
  .string()
  .refine((text) => parseHours(text) !== null)
  .register(keyNotes, { allowed: "times of day such as '22:00-06:00', of 24 hours" })
  .describe(
    'From the first minute on until before the last, as a clock there shows it; past midnight where the second is earlier.',
  );

const window = z.strictObject({
  hours,
  days: z
    .array(choice(['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun']))
    .min(1)
    .register(keyNotes, { allowed: 'a list of days, from mon to sun', example: ['sat', 'sun'] })
    .default(['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'])
    .describe('The days on which it begins.'),
});

export const flow = {
  priority: whole(1, 10)
    .default(defaultPriority)
    .describe(
      'Where uplink.maxBytesPerSecond, or the number of uploads at once, is too little for all, the delivery with the higher number goes first. A lower one still gets a little every five seconds.',
    ),
  schedule: z
    .strictObject({
      windows: z
        .array(window)
        .min(1)
        .max(100)
        .register(keyNotes, { allowed: 'a list of windows', example: [{ hours: '22:00-06:00' }] })
        .describe('It sends while one of them is open.'),
      timeZone: z
        .string()
        .refine(isTimeZone)
        .register(keyNotes, { allowed: 'the name of a time zone, like Europe/Berlin' })
        .nullable()
        .default(null)
        .describe(
          'Whose clock counts. An hour that it goes through twice is in a window twice, one that it leaves out is not there. null: that of the machine.',
        ),
    })
    .nullable()
    .default(null)
    .describe(
      'When it sends. Outside of it nothing is begun, what is under way is finished, and a required delivery keeps what it has not sent. null: at any time.',
    ),
  onlyWhile: z
    .strictObject({
      program: path('a program')
        .register(keyNotes, { allowed: 'a program', path: true, program: true })
        .describe(
          'The program; no shell sees it, and it runs at low priority. Exit code 0 says that the delivery may send; anything else, also that it does not start, that it may not.',
        ),
      arguments: z
        .array(line(4096, 'a line of text'))
        .max(100)
        .register(keyNotes, { allowed: 'a list of lines', example: ['--wifi'] })
        .default([])
        .describe('What it is started with.'),
      everySeconds: decimal(1, 86_400)
        .default(onlyWhileDefaults.everySeconds)
        .describe('How long its answer counts: it is started again so long after it ended.'),
      timeoutSeconds: decimal(0.1, 300)
        .default(onlyWhileDefaults.timeoutSeconds)
        .describe('How long it may take; then it is ended, and the delivery may not send.'),
    })
    .nullable()
    .default(null)
    .describe(
      'A program that says whether it may send now, such as only on Wi-Fi. It finds the name of the delivery in HEADGATE_DELIVERY. null: nobody is asked.',
    ),
} as const;
