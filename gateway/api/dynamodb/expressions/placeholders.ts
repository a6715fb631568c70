/** What stands behind `#name` and `:value` in the expressions of a request: all have to be used. */
import { DynamoDbError, invalid } from '../errors.ts';
import { readValue, type Value } from '../values.ts';

export class Placeholders {
  readonly #names: ReadonlyMap<string, string>;
  readonly #values: ReadonlyMap<string, Value>;
  readonly #unused: { readonly names: Set<string>; readonly values: Set<string> };

  /** @param names `ExpressionAttributeNames` @param values `ExpressionAttributeValues` */
  constructor(
    names: ReadonlyMap<string, string> | undefined,
    values: ReadonlyMap<string, unknown> | undefined,
  ) {
    checkKeys('ExpressionAttributeNames', '#', names);
    checkKeys('ExpressionAttributeValues', ':', values);
    this.#names = names ?? new Map();
    this.#values = new Map([...(values ?? [])].map(([key, value]) => [key, valueOf(key, value)]));
    this.#unused = {
      names: new Set(this.#names.keys()),
      values: new Set(this.#values.keys()),
    };
  }

  /** @throws DynamoDbError */
  name(reference: string): string {
    const name = this.#names.get(reference);
    if (name === undefined) {
      throw invalid(
        `An expression attribute name used in the document path is not defined; attribute name: ${reference}`,
      );
    }
    this.#unused.names.delete(reference);
    return name;
  }

  /** @throws DynamoDbError */
  value(reference: string): Value {
    const value = this.#values.get(reference);
    if (value === undefined) {
      throw invalid(
        `An expression attribute value used in expression is not defined; attribute value: ${reference}`,
      );
    }
    this.#unused.values.delete(reference);
    return value;
  }

  /** To be called when all expressions are read. @throws DynamoDbError */
  checkUsed(): void {
    for (const [what, unused] of [
      ['Names', this.#unused.names],
      ['Values', this.#unused.values],
    ] as const) {
      if (unused.size === 0) continue;
      throw invalid(
        `Value provided in ExpressionAttribute${what} unused in expressions: keys: {${[...unused].join(', ')}}`,
      );
    }
  }
}

function checkKeys(
  parameter: string,
  mark: string,
  entries: ReadonlyMap<string, unknown> | undefined,
): void {
  if (entries?.size === 0) throw invalid(`${parameter} must not be empty`);
  for (const key of entries?.keys() ?? []) {
    if (key.startsWith(mark) && /^.[0-9a-zA-Z_]+$/.test(key)) continue;
    throw invalid(`${parameter} contains invalid key: Syntax error; key: "${key}"`);
  }
}

function valueOf(key: string, value: unknown): Value {
  try {
    return readValue(value);
  } catch (error) {
    if (!(error instanceof DynamoDbError)) throw error;
    throw invalid(
      `ExpressionAttributeValues contains invalid value: ${error.message} for key ${key}`,
    );
  }
}
