/**
 * Numbers as DynamoDB has them: decimal, exact, of at most 38 digits, with a magnitude from 1e-130
 * to below 1e126. They come and go as texts, and are never made into floating point.
 */
import { invalid } from './errors.ts';

const digitsMax = 38;
const exponentMin = -130;
const exponentMax = 125;

/** d.ddd × 10^exponent */
interface Decimal {
  readonly negative: boolean;
  /** Without zeros at either end; empty: zero. */
  readonly digits: string;
  readonly exponent: number;
}

const zero: Decimal = { negative: false, digits: '', exponent: 0 };

/** The one text of a number: plain, without an exponent. @throws DynamoDbError */
export function canonicalNumber(text: string): string {
  return textOf(checked(read(text)));
}

/** Negative, zero or positive. Both canonical. */
export function compareNumbers(one: string, other: string): number {
  const [a, b] = [read(one), read(other)];
  const [signA, signB] = [signOf(a), signOf(b)];
  if (signA !== signB || signA === 0) return signA - signB;
  if (a.exponent !== b.exponent) return (a.exponent - b.exponent) * signA;
  return a.digits === b.digits ? 0 : (a.digits < b.digits ? -1 : 1) * signA;
}

/** Both canonical, and so is the sum. @throws DynamoDbError past the limits */
export function addNumbers(one: string, other: string): string {
  const [a, b] = [read(one), read(other)];
  const scale = Math.min(unitOf(a), unitOf(b));
  const sum = unitsOf(a, scale) + unitsOf(b, scale);
  return textOf(checked(decimalOf(sum < 0n, String(sum < 0n ? -sum : sum), scale)));
}

export function negated(number: string): string {
  if (number === '0') return number;
  return number.startsWith('-') ? number.slice(1) : `-${number}`;
}

/** Bytes that sort as the numbers do. */
export function sortableNumber(number: string): Buffer {
  const { negative, digits, exponent } = read(number);
  if (digits === '') return Buffer.from([0x80]);
  const bytes = Buffer.from([0xc0, exponent - exponentMin, ...Buffer.from(digits, 'latin1')]);
  // A longer negative number is smaller: what is behind its end has to be the greatest.
  return negative ? Buffer.from([...bytes.map((byte) => 0xff - byte), 0xff]) : bytes;
}

/** What it counts in the size of an item. */
export function numberBytes(number: string): number {
  const { digits, negative } = read(number);
  return Math.ceil(digits.length / 2) + 1 + (negative ? 1 : 0);
}

function read(text: string): Decimal {
  const match = /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,9}))?$/.exec(text);
  if (match === null || ((match[2] ?? '') === '' && (match[3] ?? '') === '')) {
    const shown = text === '' ? '' : `: ${text.slice(0, 256)}`;
    throw invalid(`The parameter cannot be converted to a numeric value${shown}`);
  }
  const [, sign, whole = '', fraction = '', power = '0'] = match;
  return decimalOf(sign === '-', whole + fraction, Number(power) - fraction.length);
}

/** @param scale the power of ten of the last digit */
function decimalOf(negative: boolean, allDigits: string, scale: number): Decimal {
  const withoutLead = allDigits.replace(/^0+/, '');
  if (withoutLead === '') return zero;
  return {
    negative,
    digits: withoutTrailingZeros(withoutLead),
    exponent: scale + withoutLead.length - 1,
  };
}

/** A pattern would look at every run of zeros again and again. */
function withoutTrailingZeros(digits: string): string {
  let end = digits.length;
  while (digits.charAt(end - 1) === '0') end -= 1;
  return digits.slice(0, end);
}

function checked(decimal: Decimal): Decimal {
  if (decimal.digits.length > digitsMax) {
    throw invalid('Attempting to store more than 38 significant digits in a Number');
  }
  if (decimal.exponent > exponentMax) {
    throw invalid(
      'Number overflow. Attempting to store a number with magnitude larger than supported range',
    );
  }
  if (decimal.exponent < exponentMin) {
    throw invalid(
      'Number underflow. Attempting to store a number with magnitude smaller than supported range',
    );
  }
  return decimal;
}

function textOf({ negative, digits, exponent }: Decimal): string {
  if (digits === '') return '0';
  const sign = negative ? '-' : '';
  if (exponent < 0) return `${sign}0.${'0'.repeat(-exponent - 1)}${digits}`;
  const whole = digits.slice(0, exponent + 1).padEnd(exponent + 1, '0');
  const fraction = digits.slice(exponent + 1);
  return `${sign}${whole}${fraction === '' ? '' : `.${fraction}`}`;
}

function signOf({ negative, digits }: Decimal): number {
  if (digits === '') return 0;
  return negative ? -1 : 1;
}

/** The power of ten of the last digit. */
function unitOf({ digits, exponent }: Decimal): number {
  return digits === '' ? 0 : exponent - digits.length + 1;
}

function unitsOf(decimal: Decimal, scale: number): bigint {
  if (decimal.digits === '') return 0n;
  const units = BigInt(decimal.digits) * 10n ** BigInt(unitOf(decimal) - scale);
  return decimal.negative ? -units : units;
}
