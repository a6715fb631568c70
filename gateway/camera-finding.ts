/**
 * Finding cameras over the API. The gateway asks into its own networks and connects only to what
 * `sources.allowedNetworks` has (ingest/rtsp/client/guard.ts), so nobody learns of ports that only
 * this machine reaches. One search at a time, which ends with what was found after a minute.
 */
import { networksOfThisMachine } from '../ingest/onvif/discovery.ts';
import { findCameras, type FindOptions, type FoundCamera } from '../ingest/onvif/find-cameras.ts';
import { onlyNetworks } from '../ingest/rtsp/client/guard.ts';
import { SourceError } from '../ingest/source.ts';
import type { Clock } from '../storage/ports.ts';
import { untilFirstAbort } from '../ingest/first-abort.ts';
import { HttpError } from './http/errors.ts';

const searchMsMax = 60_000;

/** @throws HttpError `busy` during another search, `bad-request`, `unavailable` */
export type CameraFinding = (
  wanted: Pick<FindOptions, 'hosts' | 'waitMs' | 'user'>,
) => Promise<readonly FoundCamera[]>;

export interface CameraFindingOptions {
  readonly allowedNetworks: readonly string[];
  /** Aborted when the gateway closes. */
  readonly closing: AbortSignal;
  readonly clock: Clock;
}

export function cameraFinding({
  allowedNetworks,
  closing,
  clock,
}: CameraFindingOptions): CameraFinding {
  let isSearching = false;
  return async (wanted) => {
    if (isSearching) throw new HttpError('busy', 'Another search for cameras is going on.');
    isSearching = true;
    const late = new AbortController();
    const cancel = clock.setTimer(searchMsMax, () => {
      late.abort();
    });
    try {
      return await untilFirstAbort([closing, late.signal], (signal) =>
        findCameras({
          ...wanted,
          interfaces: networksOfThisMachine(),
          guard: onlyNetworks(allowedNetworks),
          signal,
          clock,
        }),
      );
    } catch (error) {
      if (!(error instanceof SourceError)) throw error;
      const code = error.code === 'unsupported' ? 'bad-request' : 'unavailable';
      throw new HttpError(code, `No search is possible: ${error.message}.`, { cause: error });
    } finally {
      cancel();
      isSearching = false;
    }
  };
}
