/** Log lines for people: time, level, message, then the fields; an error's stack below. */

const colors: Readonly<Record<string, string>> = {
  debug: '\u001b[90m',
  info: '\u001b[32m',
  warn: '\u001b[33m',
  error: '\u001b[31m',
};
const dim = '\u001b[90m';
const plain = '\u001b[0m';

/** Turns a line of pino's JSON into one for people. */
export function printLine(json: string, color: boolean): string {
  const { level, time, msg, ...fields } = JSON.parse(json) as Readonly<Record<string, unknown>>;
  const paint = (text: string, code: string): string => (color ? `${code}${text}${plain}` : text);
  const stacks: string[] = [];
  const shown = Object.entries(fields).map(
    ([name, value]) => `${name}=${showField(value, stacks)}`,
  );
  const clock = typeof time === 'string' ? localTime(new Date(time)) : '';
  const label = typeof level === 'string' ? level : '';
  const head = [
    paint(clock, dim),
    paint(label.toUpperCase().padEnd(5), colors[label] ?? ''),
    typeof msg === 'string' ? printable(msg) : '',
  ];
  const tail = shown.length === 0 ? '' : `  ${paint(shown.join(' '), dim)}`;
  return `${head.join(' ')}${tail}\n${stacks.map((stack) => `${stack}\n`).join('')}`;
}

function showField(value: unknown, stacks: string[]): string {
  if (typeof value === 'string')
    return /^[^\s"=\p{C}]+$/u.test(value) ? value : JSON.stringify(value);
  if (typeof value !== 'object' || value === null) return String(value);
  if ('type' in value && 'message' in value && 'stack' in value) {
    const { type, message, stack, ...rest } = value as Readonly<Record<string, unknown>>;
    // The first line of a stack says again what the message says.
    const frames = String(stack)
      .split('\n')
      .filter((line) => /^\s+at /.test(line));
    if (frames.length > 0) stacks.push(frames.map(printable).join('\n'));
    const more = Object.keys(rest).length === 0 ? '' : ` ${printable(JSON.stringify(rest))}`;
    return JSON.stringify(`${String(type)}: ${String(message)}`) + more;
  }
  return printable(JSON.stringify(value));
}

/** What others wrote may hold the control sequences of a terminal. */
function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}]/gu, (character) => {
    return character === '\t' ? ' ' : `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}

function localTime(time: Date): string {
  const two = (value: number): string => String(value).padStart(2, '0');
  const millis = String(time.getMilliseconds()).padStart(3, '0');
  return `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}.${millis}`;
}
