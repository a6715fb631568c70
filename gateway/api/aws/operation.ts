/** What an operation of an AWS API is: what it takes, what it needs permission for, what it answers. */
import { parseInput, type Shape } from './shapes.ts';

/**
 * @typeParam Context what all operations of a service work with
 * @typeParam Resources what the caller needs permission for
 * @typeParam Running what is known besides when one is carried out
 */
export interface OperationOf<I, Context, Resources, Running = Context> {
  /** As in the service model. */
  readonly name: string;
  readonly input: Shape<I>;
  /** Rejects what names nothing that could be permitted. */
  resources(input: NoInfer<I>, context: Context): Resources;
  /** The answer: blobs are Buffers, instants Dates, what is `undefined` is left out. */
  run(input: NoInfer<I>, context: Running): Promise<object>;
}

/** An operation whatever its input is. */
export interface AnyOperationOf<Context, Resources, Running = Context> {
  readonly name: string;
  /** @throws RequestError, and what the service's own shapes throw, for types and constraints */
  prepare(body: unknown): PreparedCallOf<Context, Resources, Running>;
}

/** A call whose input was found to be right. */
export interface PreparedCallOf<Context, Resources, Running = Context> {
  resources(context: Context): Resources;
  run(context: Running): Promise<object>;
}

/**
 * @example
 * export const deleteStream = defineOperation({ name: 'DeleteStream', input: structure({ … }), … });
 */
export function operationOf<I, Context, Resources, Running>(
  operation: OperationOf<I, Context, Resources, Running>,
): AnyOperationOf<Context, Resources, Running> {
  return {
    name: operation.name,
    prepare(body) {
      const input = parseInput(operation.input, body);
      return {
        resources: (context) => operation.resources(input, context),
        run: (context) => operation.run(input, context),
      };
    },
  };
}
