/**
 * The types of columns, in the words of Hive and Glue, which Firehose takes its schemas from:
 * `bigint`, `decimal(10,2)`, `array<string>`, `struct<a:int,b:map<string,double>>`. `json` is a text
 * of JSON, for what has no fixed shape.
 */
const scalars = [
  'boolean',
  'tinyint',
  'smallint',
  'int',
  'bigint',
  'float',
  'double',
  'string',
  'date',
  'timestamp',
  'json',
] as const;

export type ScalarKind = (typeof scalars)[number];

export interface StructField {
  readonly name: string;
  readonly type: ColumnType;
}

export type ColumnType =
  | { readonly kind: ScalarKind }
  | { readonly kind: 'decimal'; readonly precision: number; readonly scale: number }
  | { readonly kind: 'array'; readonly element: ColumnType }
  | { readonly kind: 'map'; readonly value: ColumnType }
  | { readonly kind: 'struct'; readonly fields: readonly StructField[] };

const depthMax = 8;
const fieldsMax = 1_000;

/** @throws Error with a sentence about what is wrong */
export function parseColumnType(text: string): ColumnType {
  const reader = new TypeReader(text);
  const type = reader.type(1);
  reader.end();
  return type;
}

class TypeReader {
  readonly #tokens: readonly string[];
  readonly #text: string;
  #at = 0;
  #fields = 0;

  constructor(text: string) {
    this.#text = text;
    this.#tokens = text.match(/[<>(),:]|[^<>(),:\s]+/g) ?? [];
  }

  type(depth: number): ColumnType {
    if (depth > depthMax) throw new Error(`is nested deeper than ${depthMax}`);
    const word = this.#next().toLowerCase();
    switch (word) {
      case 'array':
        return { kind: 'array', element: this.#within(() => this.type(depth + 1)) };
      case 'map':
        return { kind: 'map', value: this.#within(() => this.#mapValue(depth)) };
      case 'struct':
        return { kind: 'struct', fields: this.#within(() => this.#structFields(depth)) };
      case 'decimal':
      case 'numeric':
        return this.#decimal();
      case 'integer':
        return { kind: 'int' };
      case 'char':
      case 'varchar':
        this.#numbers();
        return { kind: 'string' };
      default: {
        const kind = scalars.find((name) => name === word);
        if (kind === undefined) throw new Error(`"${word}" is not a type`);
        return { kind };
      }
    }
  }

  end(): void {
    if (this.#at < this.#tokens.length) throw new Error(`"${this.#text}" goes on after its type`);
  }

  #mapValue(depth: number): ColumnType {
    const key = this.type(depth + 1);
    if (key.kind !== 'string') throw new Error('the keys of a map are strings');
    this.#expect(',');
    return this.type(depth + 1);
  }

  #structFields(depth: number): StructField[] {
    const fields: StructField[] = [];
    for (;;) {
      const name = this.#next();
      this.#expect(':');
      fields.push({ name, type: this.type(depth + 1) });
      this.#fields += 1;
      if (this.#fields > fieldsMax) throw new Error(`has more than ${fieldsMax} fields`);
      if (fields.findIndex((field) => field.name === name) !== fields.length - 1) {
        throw new Error(`has "${name}" twice`);
      }
      if (this.#tokens[this.#at] !== ',') return fields;
      this.#at += 1;
    }
  }

  #decimal(): ColumnType {
    const [precision = 10, scale = 0] = this.#tokens[this.#at] === '(' ? this.#numbers() : [];
    if (precision < 1 || precision > 38 || scale > precision) {
      throw new Error('a decimal has 1 to 38 digits, and no more behind the point');
    }
    return { kind: 'decimal', precision, scale };
  }

  /** `(10,2)` */
  #numbers(): number[] {
    this.#expect('(');
    const numbers: number[] = [];
    do {
      const word = this.#next();
      if (!/^\d{1,5}$/.test(word)) throw new Error(`"${word}" is not a number of digits`);
      numbers.push(Number(word));
    } while (this.#next() === ',');
    if (this.#tokens[this.#at - 1] !== ')') throw new Error(`"${this.#text}" lacks a )`);
    return numbers;
  }

  #within<T>(read: () => T): T {
    this.#expect('<');
    const result = read();
    this.#expect('>');
    return result;
  }

  #next(): string {
    const token = this.#tokens[this.#at];
    if (token === undefined) throw new Error(`"${this.#text}" ends too early`);
    this.#at += 1;
    return token;
  }

  #expect(token: string): void {
    if (this.#next() !== token) throw new Error(`"${this.#text}" lacks a ${token}`);
  }
}
