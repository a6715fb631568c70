/**
 * Hides secrets in what people get to see: log lines, printed configurations, error messages.
 * Which keys of a configuration are secret is said by its schema; this is for free text and for
 * fields whose shape nobody knows.
 */

export const masked = '***';

// Greedy up to the last @ of the word: a password may hold a slash, a colon or an @ of its own.
const userInfo = /([a-z][a-z0-9+.-]{1,30}:\/\/)([^\s:/@]{0,128}):\S{0,2048}@/gi;
// Some cameras take a password in the path: /user=admin_password=…_channel=1
const secretQuery =
  /([?&;/_][^=&\s]{0,64}(?:passw|pwd|token|secret|signature|credential|api_?key)[^=&\s]{0,64}=)[^&\s#"']+/gi;
const secretName = /passw|secret|token|authorization|cookie|credential|api_?key|^pass$|^pwd$/i;

/** Masks the passwords of URLs within a text, in the user part and in the query. */
export function maskUrls(text: string): string {
  if (!text.includes('://') && !text.includes('=')) return text;
  return text.replace(userInfo, `$1$2:${masked}@`).replace(secretQuery, `$1${masked}`);
}

/** Whether a field of this name holds a secret. */
export function isSecretName(name: string): boolean {
  return secretName.test(name);
}
