/**
 * What a text of headgate.yaml may refer to: `${NAME}` and `${NAME:-default}` (environment),
 * `${file:/run/secrets/name}` (the text of a file, less its last line end). `$${` stands for `${`.
 * What was put in is not looked through again.
 */
import type { Substitute } from './document.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

const reference = /\$\$\{|\$\{([^}]*)\}|\$\{/g;
const variable = /^([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?$/s;

/** The variables that a text refers to, with a default or without, in its order. */
export function variablesIn(text: string): readonly string[] {
  const names = [...text.matchAll(reference)].map(([, inside]) =>
    inside === undefined ? undefined : variable.exec(inside)?.[1],
  );
  return [...new Set(names.filter((name) => name !== undefined))];
}

/** @param readText the text of a file; it throws an error with a message for people. */
export function substituteFrom(env: Environment, readText: (path: string) => string): Substitute {
  return (text, report) => {
    let substituted = false;
    const replaced = text.replaceAll(reference, (whole, inside: string | undefined) => {
      if (whole === '$${') return '${';
      if (inside?.startsWith('file:') === true) {
        substituted = true;
        try {
          return readText(inside.slice('file:'.length));
        } catch (error) {
          report(`refers to a file that can't be read: ${messageOf(error)}`);
          return '';
        }
      }
      const match = inside === undefined ? null : variable.exec(inside);
      if (match === null) {
        report(
          'has a ${…} that is not understood',
          '${NAME}, ${NAME:-default}, ${file:/path}, or $${ for ${',
        );
        return '';
      }
      substituted = true;
      const [, name = '', fallback] = match;
      const value = env[name];
      if (fallback !== undefined) return value === undefined || value === '' ? fallback : value;
      if (value === undefined) {
        report(
          `refers to the environment variable ${name}, which is not set (\${${name}:-text} gives it a default)`,
        );
      }
      return value ?? '';
    });
    return { text: replaced, substituted };
  };
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
