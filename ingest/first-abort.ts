/**
 * Work that ends with the first of several signals.
 *
 * Not AbortSignal.any: of Node 20's, a signal that lives as long as the process remembers every one
 * that was made of it.
 */
export async function untilFirstAbort<T>(
  signals: readonly AbortSignal[],
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const end = new AbortController();
  const listened = signals.map((signal) => {
    const listener = (): void => {
      end.abort(signal.reason);
    };
    if (signal.aborted) listener();
    else signal.addEventListener('abort', listener);
    return { signal, listener };
  });
  try {
    return await work(end.signal);
  } finally {
    for (const { signal, listener } of listened) signal.removeEventListener('abort', listener);
  }
}
