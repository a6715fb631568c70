/** What expressions say, once they are read. The older parameters say it in the same words. */
import type { SetValue, Value } from '../values.ts';

/** Names of attributes and places in lists, from the item down. */
export type Path = readonly (string | number)[];

export type Operand =
  | { readonly kind: 'path'; readonly path: Path }
  | { readonly kind: 'value'; readonly value: Value }
  | { readonly kind: 'size'; readonly path: Path };

export type Comparator = '=' | '<>' | '<' | '<=' | '>' | '>=';

export type Condition =
  | {
      readonly kind: 'compare';
      readonly comparator: Comparator;
      readonly left: Operand;
      readonly right: Operand;
    }
  | {
      readonly kind: 'between';
      readonly operand: Operand;
      readonly low: Operand;
      readonly high: Operand;
    }
  | { readonly kind: 'in'; readonly operand: Operand; readonly list: readonly Operand[] }
  | { readonly kind: 'exists' | 'not-exists'; readonly path: Path }
  | { readonly kind: 'type'; readonly path: Path; readonly type: string }
  | { readonly kind: 'begins-with'; readonly operand: Operand; readonly prefix: Operand }
  | { readonly kind: 'contains'; readonly operand: Operand; readonly wanted: Operand }
  | { readonly kind: 'and' | 'or'; readonly left: Condition; readonly right: Condition }
  | { readonly kind: 'not'; readonly condition: Condition };

/** What SET sets an attribute to. */
export type Assigned =
  | Exclude<Operand, { readonly kind: 'size' }>
  | { readonly kind: '+' | '-'; readonly left: Assigned; readonly right: Assigned }
  | { readonly kind: 'if-not-exists'; readonly path: Path; readonly otherwise: Assigned }
  | { readonly kind: 'list-append'; readonly left: Assigned; readonly right: Assigned };

export type Action =
  | { readonly kind: 'set'; readonly path: Path; readonly to: Assigned }
  | { readonly kind: 'remove'; readonly path: Path }
  /** A number to a number, elements to a set; elements to a list in the older parameter only. */
  | { readonly kind: 'add'; readonly path: Path; readonly value: Value }
  | { readonly kind: 'delete'; readonly path: Path; readonly value: SetValue };
