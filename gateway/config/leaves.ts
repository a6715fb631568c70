/**
 * The kinds of values that a configuration key can hold: names, folders, addresses, sizes,
 * secrets. Each carries what the loader, the printer and the reference file need to know about it.
 * Which keys there are is said in schema.ts, what they mean together in rules.ts.
 */
import { z } from 'zod';
import { isNetwork } from '../../ingest/rtsp/client/guard.ts';
import { policyProblem } from '../security/policy-document.ts';
import { compilePattern } from '../../ingest/files/convert.ts';
import { compileFileKey } from '../../ingest/files/partition-key.ts';
import { compileKeyTemplate } from '../../ingest/mqtt/partition-key.ts';

/** What is known about a key beside its shape. */
export interface KeyNotes {
  /** What may be written there, in words, for messages: "a whole number from 0 to 65535". */
  readonly allowed?: string;
  /** Never shown. */
  readonly secret?: boolean;
  /** A file or folder: a relative one is taken from the folder of the configuration file. */
  readonly path?: boolean;
  /** A file that is a program: without a slash it is looked for in PATH. */
  readonly program?: boolean;
  /** A URL, perhaps with a password in it. */
  readonly url?: boolean;
  /** Written as `10 GB` where it is shown. */
  readonly size?: boolean;
  /** Exactly one of the object's keys is given. */
  readonly oneOf?: boolean;
  /** A value for the reference file, where there is no default (lists and maps: their entries). */
  readonly example?: unknown;
}

/** Notes by schema; read through `describeKey` in tree.ts. */
export const keyNotes = z.registry<KeyNotes>();

const sizeUnits: Readonly<Record<string, number>> = {
  '': 1,
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KIB: 2 ** 10,
  MIB: 2 ** 20,
  GIB: 2 ** 30,
  TIB: 2 ** 40,
};

/**
 * Bytes of a size such as `500`, `'10 GB'` (10⁹) or `'1.5 GiB'` (2³⁰); null when it is not one.
 */
export function parseSize(text: string): number | null {
  const match = /^(\d{1,16}(?:\.\d{1,6})?)\s*([a-z]{0,3})$/i.exec(text.trim());
  const unit = sizeUnits[(match?.[2] ?? '').toUpperCase()];
  if (match === null || unit === undefined) return null;
  const bytes = Math.round(Number(match[1]) * unit);
  return Number.isSafeInteger(bytes) ? bytes : null;
}

/** The shortest exact spelling of a number of bytes: `10 GB`, `64 MiB`, `12345`. */
export function formatSize(bytes: number): string {
  for (const unit of ['TB', 'TiB', 'GB', 'GiB', 'MB', 'MiB', 'KB', 'KiB']) {
    const size = sizeUnits[unit.toUpperCase()] ?? 1;
    if (bytes >= size && Number.isInteger(bytes / size)) return `${bytes / size} ${unit}`;
  }
  return String(bytes);
}

/** A number of bytes from `min` to `max`, or a text with a unit. The value is bytes. */
export function size(min: number, max = Number.MAX_SAFE_INTEGER) {
  const bounds =
    max === Number.MAX_SAFE_INTEGER
      ? `at least ${formatSize(min)}`
      : `from ${formatSize(min)} to ${formatSize(max)}`;
  const allowed = `bytes, or a size like '500 MB' or '10 GiB', ${bounds}`;
  return z
    .union([z.number(), z.string()])
    .transform((value, context) => {
      const bytes = typeof value === 'number' ? value : parseSize(value);
      if (bytes !== null && Number.isSafeInteger(bytes) && bytes >= min && bytes <= max) {
        return bytes;
      }
      const isSmall = bytes !== null && bytes < min;
      const isLarge = bytes !== null && bytes > max;
      context.addIssue({
        code: 'custom',
        message: isSmall ? 'is too small' : isLarge ? 'is too large' : 'is not a size',
      });
      return z.NEVER;
    })
    .register(keyNotes, { allowed, size: true });
}

export function whole(min: number, max: number) {
  return z
    .int()
    .min(min)
    .max(max)
    .register(keyNotes, { allowed: `a whole number from ${min} to ${max}` });
}

export function decimal(min: number, max: number) {
  return z
    .number()
    .min(min)
    .max(max)
    .register(keyNotes, { allowed: `a number from ${min} to ${max}` });
}

export function flag() {
  return z.boolean().register(keyNotes, { allowed: 'true or false' });
}

function matching(pattern: RegExp, allowed: string, notes: KeyNotes = {}) {
  return z
    .string()
    .regex(pattern)
    .register(keyNotes, { ...notes, allowed });
}

/** The name of a stream, camera or delivery; it appears in paths, keys and URLs. */
export function name() {
  return matching(
    /^(?!\.{1,2}$|__proto__$)[a-zA-Z0-9_.-]{1,128}$/,
    '1 to 128 letters, digits, _ . -',
  );
}

/** What an event of a camera is called. */
export function eventKind() {
  return matching(/^[a-zA-Z0-9_.:-]{1,64}$/, '1 to 64 letters, digits, _ . : -');
}

export function port() {
  return z
    .int()
    .min(0)
    .max(65535)
    .register(keyNotes, { allowed: 'a port from 1 to 65535, or 0 for any free one' });
}

/** An address to listen on. */
export function host() {
  return matching(/^[a-zA-Z0-9.:_-]{1,253}$/, 'an IP address or a host name');
}

/** A network, like `192.168.0.0/16`; an address by itself is one too. */
export function network() {
  return z
    .string()
    .max(64)
    .refine(isNetwork)
    .register(keyNotes, { allowed: 'a network, like 192.168.0.0/16 or fd00::/8' });
}

/** A file or a folder. */
export function path(allowed: string) {
  return matching(/^[^\0]{1,4096}$/, allowed, { path: true });
}

/** The name of a user: nothing that digest or basic authentication could not carry. */
export function username() {
  return matching(
    /^[^\s:"\\\p{Cc}]{1,128}$/u,
    '1 to 128 characters, no space, colon, quote or backslash',
  );
}

export function secret() {
  return matching(/^[^\0\r\n]{1,1024}$/, '1 to 1024 characters on one line', { secret: true });
}

/** An AWS account, as it stands in ARNs. */
export function accountId() {
  return matching(/^\d{12}$/, 'twelve digits, in quotes');
}

/** An AWS region, as it stands in ARNs. */
export function regionName() {
  return matching(/^[a-z0-9-]{1,32}$/, 'a region, like eu-central-1');
}

/** The name of an access key's user, as IAM has them. */
export function userName() {
  return matching(/^[\w+=,.@-]{1,64}$/, '1 to 64 letters, digits and + = , . @ _ -');
}

/** The id of an access key. Clients send it in the clear. */
export function accessKeyId() {
  return matching(/^\w{1,128}$/, '1 to 128 letters, digits and _');
}

/** A policy document of an access key, as JSON text. */
export function policyDocument() {
  return z
    .string()
    .superRefine((text, context) => {
      const problem = policyProblem(text, 'identity');
      if (problem !== null) {
        context.addIssue({ code: 'custom', message: `is no policy: ${problem}` });
      }
    })
    .register(keyNotes, { allowed: 'a policy document, as JSON text or ${file:policy.json}' });
}

export function line(maxLength: number, allowed: string) {
  return z
    .string()
    .min(1)
    .max(maxLength)
    .regex(/^\P{Cc}*$/u)
    .register(keyNotes, { allowed });
}

/** An MQTT topic filter: + is a whole level, # is the last one (MQTT 3.1.1, 4.7.1). */
export function topicFilter() {
  return z
    .string()
    .max(1024)
    .regex(/^([^+#\0/]*|\+)(\/([^+#\0/]*|\+))*(\/#)?$|^#$/)
    .min(1)
    .register(keyNotes, {
      allowed: 'a topic filter; + stands for a whole level, # for the last ones',
    });
}

/** A template of a partition key, as the routes compile it. */
export function partitionKey() {
  return z
    .string()
    .max(256)
    .superRefine((template, context) => {
      try {
        compileKeyTemplate(template);
      } catch {
        context.addIssue({ code: 'custom', message: 'is not a template' });
      }
    })
    .register(keyNotes, {
      allowed: 'text with {topic}, {topic[1]}, {clientId} or {payload.field}; {{ and }} for braces',
    });
}

/** A template of a partition key for what is read from files. */
export function filePartitionKey() {
  return z
    .string()
    .max(256)
    .superRefine((template, context) => {
      if (!throws(() => compileFileKey(template, () => 0))) return;
      context.addIssue({ code: 'custom', message: 'is not a template' });
    })
    .register(keyNotes, {
      allowed: 'text with {path}, {file}, {random} or {record.field}; {{ and }} for braces',
    });
}

export function regularExpression() {
  return z
    .string()
    .min(1)
    .max(4096)
    .refine((source) => !throws(() => compilePattern(source)))
    .register(keyNotes, { allowed: 'a regular expression, as JavaScript has them' });
}

function throws(work: () => unknown): boolean {
  try {
    work();
    return false;
  } catch {
    return true;
  }
}

/** A URL with one of these schemes. A password in it is masked wherever it is shown. */
export function url(schemes: readonly string[]) {
  const allowed = `a URL that begins with ${orList(schemes.map((scheme) => `${scheme}://`))}`;
  return z
    .string()
    .max(2048)
    .refine((text) => {
      if (!URL.canParse(text)) return false;
      const { protocol, hostname } = new URL(text);
      return schemes.includes(protocol.slice(0, -1)) && hostname !== '';
    })
    .register(keyNotes, { allowed, url: true });
}

export function choice<const Values extends readonly [string, ...string[]]>(values: Values) {
  return z.enum(values).register(keyNotes, { allowed: orList(values) });
}

/** `a, b or c`. */
function orList(words: readonly string[]): string {
  const last = words.at(-1) ?? '';
  return words.length < 2 ? last : `${words.slice(0, -1).join(', ')} or ${last}`;
}

type OneOf<Shape extends z.ZodRawShape> = {
  [Key in keyof Shape]: Record<Key, z.output<Shape[Key]>>;
}[keyof Shape];

/** An object with exactly one of these keys: `{ folder: … } | { s3: … }`. */
export function oneOf<Shape extends z.ZodRawShape>(shape: Shape): z.ZodType<OneOf<Shape>> {
  const keys = Object.keys(shape);
  const allowed = `exactly one of ${orList(keys)}`;
  const schema = z
    .strictObject(shape)
    .partial()
    .superRefine(
      (value, context) => {
        const given = keys.filter((key) => key in (value as object));
        if (given.length === 1) return;
        const found = given.length === 0 ? 'none' : given.join(' and ');
        context.addIssue({ code: 'custom', message: `needs one of its keys, and has ${found}` });
      },
      // Also when a key inside is wrong or unknown: every problem is to be seen at once.
      { when: ({ value }) => typeof value === 'object' && value !== null && !Array.isArray(value) },
    )
    .register(keyNotes, { oneOf: true, allowed });
  // The check above is what makes the narrower type true.
  return schema as unknown as z.ZodType<OneOf<Shape>>;
}
