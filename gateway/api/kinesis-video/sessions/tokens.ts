/**
 * What a streaming session is, and the token that says so in each of its URLs. Whoever has the URL
 * may play, until it expires: the token is sealed, so nobody can make one or learn from it, and the
 * gateway keeps none.
 */
import type { Clock } from '../../../../storage/ports.ts';
import type { Sealer } from '../../aws/sealing.ts';
import { KinesisVideoError } from '../errors.ts';
import type { Origin } from '../selection.ts';

export type PlaybackMode = 'LIVE' | 'LIVE_REPLAY' | 'ON_DEMAND';

export interface Session {
  readonly protocol: 'hls' | 'dash';
  readonly camera: string;
  /** Of the camera, so that the session of one that was deleted plays nothing of its successor. */
  readonly cameraId: number;
  readonly mode: PlaybackMode;
  readonly origin: Origin;
  /** null: LIVE, which has no range. */
  readonly fromMs: number | null;
  /** null: none, or LIVE_REPLAY without an end. */
  readonly toMs: number | null;
  readonly container: 'FRAGMENTED_MP4' | 'MPEG_TS';
  readonly discontinuity: 'ALWAYS' | 'NEVER' | 'ON_DISCONTINUITY';
  readonly showsTimestamps: boolean;
  readonly showsNumbers: boolean;
  /** Fragments in a playlist. */
  readonly listed: number;
  /** Where on the timeline the session's own times begin. */
  readonly zeroUs: number;
  readonly createdMs: number;
  readonly expiresMs: number;
}

const purpose = 'streaming session';

export class SessionTokens {
  readonly #sealer: Sealer;
  readonly #clock: Clock;

  constructor(sealer: Sealer, clock: Clock) {
    this.#sealer = sealer;
    this.#clock = clock;
  }

  /** Fit for a URL. */
  make(session: Session): string {
    const sealed = this.#sealer.seal(purpose, Buffer.from(JSON.stringify(session)));
    return Buffer.from(sealed, 'base64').toString('base64url');
  }

  /** @throws KinesisVideoError `NotAuthorizedException` */
  open(token: string, protocol: Session['protocol']): Session {
    const sealed = Buffer.from(token, 'base64url').toString('base64');
    const unsealed = this.#sealer.open(purpose, sealed);
    const session =
      unsealed === null ? null : (JSON.parse(unsealed.content.toString('utf8')) as Session);
    if (session?.protocol !== protocol) throw refused('The session token is not valid.');
    if (this.#clock.nowMs() >= session.expiresMs) throw refused('The session has expired.');
    return session;
  }
}

function refused(message: string): KinesisVideoError {
  return new KinesisVideoError('NotAuthorizedException', message);
}
