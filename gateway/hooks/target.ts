/** Who is asked by a hook: what they get, and how much they may answer. */
/** What a hook hands over. */
export interface HookInput {
  /** Its name. */
  readonly hook: string;
  readonly camera: string;
  /** The number of the fragment. */
  readonly fragment: number;
  /** Of the picture, or of the first one, on the camera's timeline. */
  readonly atUs: number;
  readonly contentType: 'image/jpeg' | 'video/mp4';
  readonly bytes: Buffer;
}

/**
 * Hands it over and waits for the answer.
 * @throws HookError, or anything once the signal aborts, which ends it at once
 */
export type Ask = (input: HookInput, signal: AbortSignal) => Promise<Buffer>;

export const answerBytesMax = 256 * 1024;
