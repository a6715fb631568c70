/**
 * Things that clients carry for us, and can neither read nor make: shard iterators and the tokens
 * of paged lists. AES-256-GCM under a key that is kept with the data, so they outlive a restart.
 *
 * A seal says what it is for (its purpose is authenticated), so no token passes for an iterator.
 * Age is told by the wall clock, because it must be told after a restart too.
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import type { Clock } from '../../../storage/ports.ts';

/** Before the sealed bytes, as the service has it. */
const prefix = Buffer.from([0, 0, 0, 0, 0, 0, 0, 1]);
const nonceBytes = 12;
const tagBytes = 16;
const timeBytes = 6;

export interface Unsealed {
  readonly content: Buffer;
  readonly createdMs: number;
}

export class Sealer {
  readonly #key: Buffer;
  readonly #clock: Clock;

  /** @param secret of this gateway, at least 16 bytes; what is sealed under another is not opened */
  constructor(secret: string | Buffer, clock: Clock) {
    this.#key = Buffer.from(hkdfSync('sha256', secret, '', 'headgate kinesis tokens', 32));
    this.#clock = clock;
  }

  /** Base64. */
  seal(purpose: string, content: Buffer): string {
    const nonce = randomBytes(nonceBytes);
    const cipher = createCipheriv('aes-256-gcm', this.#key, nonce);
    cipher.setAAD(Buffer.from(purpose));
    const created = Buffer.allocUnsafe(timeBytes);
    created.writeUIntBE(this.#clock.nowMs(), 0, timeBytes);
    const sealed = [cipher.update(created), cipher.update(content), cipher.final()];
    return Buffer.concat([prefix, nonce, ...sealed, cipher.getAuthTag()]).toString('base64');
  }

  /** null: it was not sealed here, for this purpose. */
  open(purpose: string, text: string): Unsealed | null {
    const bytes = Buffer.from(text, 'base64');
    const head = prefix.length + nonceBytes;
    const isWhole =
      bytes.length >= head + timeBytes + tagBytes && bytes.toString('base64') === text;
    if (!isWhole || !bytes.subarray(0, prefix.length).equals(prefix)) return null;
    const nonce = bytes.subarray(prefix.length, head);
    const decipher = createDecipheriv('aes-256-gcm', this.#key, nonce, { authTagLength: tagBytes });
    decipher.setAAD(Buffer.from(purpose));
    decipher.setAuthTag(bytes.subarray(-tagBytes));
    try {
      const plain = Buffer.concat([
        decipher.update(bytes.subarray(head, -tagBytes)),
        decipher.final(),
      ]);
      return {
        createdMs: plain.readUIntBE(0, timeBytes),
        content: plain.subarray(timeBytes),
      };
    } catch {
      return null;
    }
  }
}
