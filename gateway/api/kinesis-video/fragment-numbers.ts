/** Numbers of fragments as clients see them: 47 digits, as many as the service's own have. */

const digits = 47;

export function fragmentNumber(number: number): string {
  return String(number).padStart(digits, '0');
}

/** null: it is the number of no fragment that could be here. */
export function parseFragmentNumber(text: string): number | null {
  const number = Number(text);
  return /^\d{1,128}$/.test(text) && Number.isSafeInteger(number) ? number : null;
}
