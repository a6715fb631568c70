/** Numbers of JSON, and numbers in strings, digit by digit. */
import { ExactNumber } from './parse.ts';

const pattern = /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,4}))?$/;
/** More digits than any column takes. */
const digitsMax = 400;

/** A number, without its point: `digits` × 10^-scale. */
interface Digits {
  readonly digits: bigint;
  readonly scale: number;
}

function digitsOf(value: unknown): Digits | null {
  const match = pattern.exec(textOfNumber(value));
  if (match === null) return null;
  const [, sign, whole = '', fraction = '', exponent = '0'] = match;
  const all = `${whole}${fraction}`;
  if (all === '' || all.length > digitsMax) return null;
  return {
    digits: sign === '-' ? -BigInt(all) : BigInt(all),
    scale: fraction.length - Number(exponent),
  };
}

function textOfNumber(value: unknown): string {
  if (typeof value === 'number') return String(value);
  if (value instanceof ExactNumber) return value.text;
  return typeof value === 'string' ? value.trim() : 'none';
}

/** null: it is none, however it is written. */
export function integerOf(value: unknown): bigint | null {
  const number = digitsOf(value);
  if (number === null) return null;
  const { digits, scale } = number;
  if (scale > 0) {
    const factor = 10n ** BigInt(Math.min(scale, digitsMax));
    return digits % factor === 0n ? digits / factor : null;
  }
  if (digits !== 0n && -scale > digitsMax) return null;
  return digits === 0n ? 0n : digits * 10n ** BigInt(-scale);
}

/** Without its point; digits too many behind it are rounded, half of them up. null: does not fit. */
export function decimalOf(
  value: unknown,
  { precision, scale }: { readonly precision: number; readonly scale: number },
): bigint | null {
  const number = digitsOf(value);
  if (number === null) return null;
  const shift = scale - number.scale;
  if (shift > digitsMax && number.digits !== 0n) return null;
  const unscaled =
    shift >= 0
      ? number.digits * 10n ** BigInt(Math.min(shift, digitsMax))
      : rounded(number.digits, 10n ** BigInt(Math.min(-shift, 2 * digitsMax)));
  const limit = 10n ** BigInt(precision);
  return unscaled < limit && unscaled > -limit ? unscaled : null;
}

function rounded(digits: bigint, divisor: bigint): bigint {
  const half = divisor / 2n;
  return (digits < 0n ? digits - half : digits + half) / divisor;
}
