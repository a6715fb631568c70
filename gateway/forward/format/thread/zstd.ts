/** Zstandard, as WebAssembly: Node's own begins with version 22. */
import { compress, init } from '@bokuweb/zstd-wasm';

const level = 3;

export async function loadZstd(): Promise<void> {
  await init();
}

/** One frame. `loadZstd` has to be over. */
export function zstdFrame(bytes: Uint8Array): Uint8Array {
  return compress(bytes, level);
}
