/** Waits that end: one that is in vain says what it waited for before the whole file is given up. */

/** Longer than a wait takes on a machine that is slow and busy. */
export const LONGEST_WAIT_MS = 240_000;

/**
 * The outcome of a wait.
 * @param describe says what was waited for, and what there was instead, when it takes too long
 */
export async function within<T>(
  waiting: Promise<T>,
  describe: () => string,
  longestMs = LONGEST_WAIT_MS,
): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`${longestMs / 1000} s were not enough: ${describe()}`));
    }, longestMs);
  });
  try {
    return await Promise.race([waiting, late]);
  } finally {
    clearTimeout(timer);
  }
}
