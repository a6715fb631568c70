/** Waits for a listener, and says what to do when its address is taken. */
export async function listening<T>(
  what: string,
  at: string,
  key: string,
  start: Promise<T>,
): Promise<T> {
  try {
    return await start;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    const message = `${what} can't listen on ${at} (${reason}): free it, or set ${key} to another port`;
    throw new Error(message, { cause });
  }
}
