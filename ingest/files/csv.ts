/** One row of CSV (RFC 4180), with any delimiter of one character. */

/**
 * The fields of a row; null when its quotes are not those of a row: one that is not closed, or
 * text behind a closing one.
 */
export function parseRow(text: string, delimiter: string): readonly string[] | null {
  const fields: string[] = [];
  let at = 0;
  for (;;) {
    if (text[at] === '"') {
      const quoted = readQuoted(text, at + 1);
      if (quoted === null) return null;
      fields.push(quoted.field);
      at = quoted.next;
    } else {
      const end = text.indexOf(delimiter, at);
      const field = text.slice(at, end === -1 ? text.length : end);
      fields.push(field);
      at += field.length;
    }
    if (at === text.length) return fields;
    if (text[at] !== delimiter) return null;
    at += 1;
  }
}

/** @param begin behind the opening quote */
function readQuoted(text: string, begin: number): { field: string; next: number } | null {
  let field = '';
  let at = begin;
  for (;;) {
    const end = text.indexOf('"', at);
    if (end === -1) return null;
    field += text.slice(at, end);
    if (text[end + 1] !== '"') return { field, next: end + 1 };
    field += '"';
    at = end + 2;
  }
}
