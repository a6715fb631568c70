/**
 * What an operation takes, described once: the TypeScript type, the check of the types and that of
 * the constraints follow from it.
 *
 * As the service does, types are checked first, and the first wrong one ends the request with a
 * SerializationException; then every constraint is looked at and all that failed are told together
 * (ten at most) in a ValidationException, in the order in which the members are described. What is
 * not described is ignored.
 *
 * The two encodings differ in blobs and times only: JSON brings base64 and seconds, CBOR byte
 * strings and (cbor.ts) Dates. Both are taken here.
 */
import { RequestError } from './errors.ts';

/** Failed constraints told at once. */
const errorsMax = 10;

export interface Shape<T> {
  /** The value as its type. @throws RequestError `SerializationException` */
  parse(value: unknown): T;
  /** Adds the constraints that the value fails. */
  constrain(value: T, path: string, errors: string[]): void;
}

/** The type that a shape describes. */
export type Described<S> = S extends Shape<infer T> ? T : never;

export interface Member<T, R extends boolean> {
  readonly shape: Shape<T>;
  readonly required: R;
}
export type Members = Readonly<Record<string, Member<unknown, boolean>>>;
type ValueOf<M> = M extends Member<infer T, boolean> ? T : never;
type RequiredNames<M extends Members> = {
  [K in keyof M]: M[K] extends Member<unknown, true> ? K : never;
}[keyof M];

export type StructureOf<M extends Members> = {
  readonly [K in RequiredNames<M>]: ValueOf<M[K]>;
} & { readonly [K in Exclude<keyof M, RequiredNames<M>>]?: ValueOf<M[K]> };

export function required<T>(shape: Shape<T>): Member<T, true> {
  return { shape, required: true };
}

export function optional<T>(shape: Shape<T>): Member<T, false> {
  return { shape, required: false };
}

/**
 * Parses a request's body and checks it.
 * @throws RequestError
 *
 * @example
 * const input = structure({ StreamName: required(text({ max: 128 })) });
 * const { StreamName } = parseInput(input, JSON.parse(body));
 */
export function parseInput<T>(shape: Shape<T>, body: unknown): T {
  const value = shape.parse(body);
  const errors: string[] = [];
  shape.constrain(value, '', errors);
  if (errors.length > 0) throw validationError(errors.slice(0, errorsMax));
  return value;
}

/** The service's words for constraints that were not met. */
export function validationError(errors: readonly string[]): RequestError {
  const count = `${errors.length} validation error${errors.length > 1 ? 's' : ''} detected`;
  return new RequestError('ValidationException', `${count}: ${errors.join('; ')}`);
}

/** @param shown the value in words, without quotes; null: it is missing */
export function failedConstraint(shown: string | null, path: string, constraint: string): string {
  const value = shown === null ? 'null' : `'${shown}'`;
  return `Value ${value} at '${path}' failed to satisfy constraint: ${constraint}`;
}

function serializationError(message: string): RequestError {
  return new RequestError('SerializationException', message);
}

const unexpectedList = 'Start of list found where not expected';
const unexpectedStructure = 'Start of structure or map found where not expected.';
const javaNames = {
  boolean: 'java.lang.Boolean',
  string: 'java.lang.String',
  number: 'com.amazon.coral.value.json.numbers.TruncatingBigNumber',
} as const;

/** The service's words for a value that can't be of the type that is wanted. */
function mismatch(value: unknown, wanted: string): RequestError {
  const type = typeof value;
  if (type === 'boolean' || type === 'string' || type === 'number') {
    return serializationError(`class ${javaNames[type]} can not be converted to ${wanted}`);
  }
  return serializationError(Array.isArray(value) ? unexpectedList : unexpectedStructure);
}

function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return (
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    !(value instanceof Date) &&
    !(value instanceof Uint8Array)
  );
}

interface LengthLimits {
  readonly min?: number;
  readonly max?: number;
}

function constrainLength(
  length: number,
  { min, max }: LengthLimits,
  show: () => string,
  path: string,
  errors: string[],
): void {
  if (min !== undefined && length < min) {
    const constraint = `Member must have length greater than or equal to ${min}`;
    errors.push(failedConstraint(show(), path, constraint));
  }
  if (max !== undefined && length > max) {
    const constraint = `Member must have length less than or equal to ${max}`;
    errors.push(failedConstraint(show(), path, constraint));
  }
}

export interface TextOptions extends LengthLimits {
  /** Of the whole text, as the service model writes it. */
  readonly pattern?: string;
}

/** A string; lengths in UTF-16 units. */
export function text(options: TextOptions = {}): Shape<string> {
  const { pattern } = options;
  const regex = pattern === undefined ? null : new RegExp(`^(?:${pattern})$`, 'u');
  return {
    parse: parseString,
    constrain(value, path, errors) {
      if (regex !== null && !regex.test(value)) {
        const constraint = `Member must satisfy regular expression pattern: ${pattern ?? ''}`;
        errors.push(failedConstraint(value, path, constraint));
      }
      constrainLength(value.length, options, () => value, path, errors);
    },
  };
}

function parseString(value: unknown): string {
  if (typeof value === 'string') return value;
  throw mismatch(value, 'an String');
}

/** One of the words, which are told in the given order. */
export function choice<const W extends string>(words: readonly W[]): Shape<W> {
  return {
    // Told as a failed constraint, not as a wrong type.
    parse: (value) => parseString(value) as W,
    constrain(value, path, errors) {
      if (words.includes(value)) return;
      const constraint = `Member must satisfy enum value set: [${words.join(', ')}]`;
      errors.push(failedConstraint(value, path, constraint));
    },
  };
}

/** A whole number: as the service does it, fractions are cut off and what is too large is capped. */
export function integer({ min, max }: LengthLimits): Shape<number> {
  return {
    parse(value) {
      if (typeof value !== 'number') throw mismatch(value, 'an Integer');
      return Math.max(-2_147_483_648, Math.min(Math.floor(value), 2_147_483_647));
    },
    constrain(value, path, errors) {
      if (min !== undefined && value < min) {
        const constraint = `Member must have value greater than or equal to ${min}`;
        errors.push(failedConstraint(String(value), path, constraint));
      }
      if (max !== undefined && value > max) {
        const constraint = `Member must have value less than or equal to ${max}`;
        errors.push(failedConstraint(String(value), path, constraint));
      }
    },
  };
}

export function flag(): Shape<boolean> {
  return {
    parse(value) {
      if (typeof value === 'boolean') return value;
      if (typeof value === 'string') {
        throw serializationError(`'${value.toUpperCase()}' can not be converted to an Boolean`);
      }
      throw mismatch(value, 'an Boolean');
    },
    constrain: () => undefined,
  };
}

/** An instant, in milliseconds since the Unix epoch. */
export function timestamp(): Shape<number> {
  return {
    parse(value) {
      if (value instanceof Date) return value.getTime();
      if (typeof value === 'number') return Math.round(value * 1000);
      throw mismatch(value, 'milliseconds since epoch');
    },
    constrain: () => undefined,
  };
}

/** Bytes; lengths are those of the bytes. */
export function blob(limits: LengthLimits = {}): Shape<Buffer> {
  return {
    parse(value) {
      if (typeof value === 'string') return parseBase64(value);
      if (Buffer.isBuffer(value)) return value;
      throw mismatch(value, 'a Blob');
    },
    constrain(value, path, errors) {
      const { length } = value;
      const show = (): string => `java.nio.HeapByteBuffer[pos=0 lim=${length} cap=${length}]`;
      constrainLength(length, limits, show, path, errors);
    },
  };
}

const base64Alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

/** Base64 of RFC 4648, section 4, padded. Node's decoder leaves out what it does not know. */
function parseBase64(value: string): Buffer {
  const { length } = value;
  if (length % 4 !== 0) {
    throw blobError(
      value,
      `Base64 encoded length is expected a multiple of 4 bytes but found: ${length}`,
    );
  }
  const bytes = Buffer.from(value, 'base64');
  const padding = value.endsWith('==') ? 2 : value.endsWith('=') ? 1 : 0;
  if (bytes.length !== (length / 4) * 3 - padding || value.includes('-') || value.includes('_')) {
    const wrong = /[^a-zA-Z0-9+/=]|=[^=]/.exec(value)?.[0][0] ?? '=';
    throw blobError(value, `Invalid Base64 character: '${wrong}'`);
  }
  // The bits of the last character that are of no byte have to be zero.
  const spareBits = padding === 2 ? 0b1111 : padding === 1 ? 0b11 : 0;
  if ((base64Alphabet.indexOf(value.charAt(length - padding - 1)) & spareBits) !== 0) {
    throw blobError(value, 'Invalid last non-pad Base64 character dectected');
  }
  return bytes;
}

function blobError(value: string, reason: string): RequestError {
  const shown = value.length > 256 ? `${value.slice(0, 256)}…` : value;
  return serializationError(`'${shown}' can not be converted to a Blob: ${reason}`);
}

export interface ListOptions extends LengthLimits {
  /** How the service shows a member in messages. */
  readonly shownMember?: string;
  /** Lengths of the members, which are strings: told as one constraint of the list. */
  readonly memberLengths?: readonly [min: number, max: number];
}

export function list<T>(member: Shape<T>, options: ListOptions = {}): Shape<readonly T[]> {
  return {
    parse(value) {
      if (Array.isArray(value)) return value.map((entry: unknown) => member.parse(entry));
      if (isMap(value)) throw serializationError(unexpectedStructure);
      throw serializationError('Expected list or null');
    },
    constrain(value, path, errors) {
      const show = (): string =>
        `[${value.map((entry) => options.shownMember ?? String(entry)).join(', ')}]`;
      constrainLength(value.length, options, show, path, errors);
      if (options.memberLengths !== undefined && !fit(value, options.memberLengths)) {
        const constraint = `Member must satisfy constraint: [${lengthRules(options.memberLengths)}]`;
        errors.push(failedConstraint(show(), path, constraint));
      }
      // Where an entry is has to be said of those that fail only, and most lists have none.
      const failed: string[] = [];
      for (const [index, entry] of value.entries()) {
        member.constrain(entry, '', failed);
        if (failed.length === 0) continue;
        failed.length = 0;
        member.constrain(entry, `${path}.${index + 1}.member`, errors);
        if (errors.length >= errorsMax) return;
      }
    },
  };
}

export interface MapOptions extends LengthLimits {
  readonly keyLengths: readonly [min: number, max: number];
  readonly valueLengths: readonly [min: number, max: number];
}

/** Strings by strings. */
export function textMap(options: MapOptions): Shape<ReadonlyMap<string, string>> {
  return {
    parse(value) {
      if (Array.isArray(value)) throw serializationError(unexpectedList);
      if (!isMap(value)) throw serializationError('Expected map or null');
      const entries = new Map<string, string>();
      for (const [key, entry] of Object.entries(value)) {
        if (entry !== null && entry !== undefined) entries.set(key, parseString(entry));
      }
      return entries;
    },
    constrain(value, path, errors) {
      const show = (): string =>
        `{${[...value].map(([key, entry]) => `${key}=${entry}`).join(', ')}}`;
      constrainLength(value.size, options, show, path, errors);
      if (!fit([...value.keys()], options.keyLengths)) {
        const constraint = `Map keys must satisfy constraint: [${lengthRules(options.keyLengths)}]`;
        errors.push(failedConstraint(show(), path, constraint));
      }
      if (!fit([...value.values()], options.valueLengths)) {
        const constraint = `Map value must satisfy constraint: [${lengthRules(options.valueLengths)}]`;
        errors.push(failedConstraint(show(), path, constraint));
      }
    },
  };
}

function fit(entries: readonly unknown[], [min, max]: readonly [number, number]): boolean {
  return entries.every((entry) => {
    const { length } = String(entry);
    return length >= min && length <= max;
  });
}

function lengthRules([min, max]: readonly [number, number]): string {
  return (
    `Member must have length less than or equal to ${max}, ` +
    `Member must have length greater than or equal to ${min}`
  );
}

/** Named members, checked in the order in which they are given here. */
export function structure<M extends Members>(members: M): Shape<StructureOf<M>> {
  const entries = Object.entries(members).map(([name, { shape, required: needed }]) => ({
    ...{ name, shape, needed },
    shownName: name.slice(0, 1).toLowerCase() + name.slice(1),
  }));
  return {
    parse(value) {
      if (Array.isArray(value)) throw serializationError(unexpectedList);
      if (!isMap(value)) throw serializationError('Expected null');
      const parsed: Record<string, unknown> = {};
      for (const { name, shape } of entries) {
        const member = Object.hasOwn(value, name) ? value[name] : undefined;
        if (member !== undefined && member !== null) parsed[name] = shape.parse(member);
      }
      // Members that are required and missing are told by `constrain`, which comes before any use.
      return parsed as StructureOf<M>;
    },
    constrain(value, path, errors) {
      const fields = value as Readonly<Record<string, unknown>>;
      for (const { name, shape, needed, shownName } of entries) {
        if (errors.length >= errorsMax) return;
        const memberPath = path === '' ? shownName : `${path}.${shownName}`;
        const member = fields[name];
        if (member !== undefined) shape.constrain(member, memberPath, errors);
        else if (needed) {
          errors.push(failedConstraint(null, memberPath, 'Member must not be null'));
        }
      }
    },
  };
}
