/** What stands in a configuration that may be wrong in any way, for rules that look at it. */

export type Fields = Readonly<Record<string, unknown>>;

/** Nothing, where it is no map. */
export function fields(value: unknown): Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Fields)
    : {};
}

/** Nothing, where it is no list. */
export function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
