/**
 * Cameras that are set over the API: checked, written into the configuration file, taken over.
 *
 * Whoever has a token may say where the gateway connects to, so this is what it must not become: a
 * way to reach what only this machine can (its own ports, the cloud's metadata, link-local
 * neighbours), to read a file or a variable of it (`${file:…}`), or to hand options to ffmpeg. An
 * address is therefore rtsp:// or rtsps:// to a host whose every address is in
 * `sources.allowedNetworks`; that is checked here for the error message's sake, and again at each
 * connection (`confined` in the configuration, ingest/rtsp/client/guard.ts).
 */
import { basename } from 'node:path';
import { parseCameraUrl } from '../ingest/rtsp/client/address.ts';
import { allowedAddresses } from '../ingest/rtsp/client/dial.ts';
import { onlyNetworks } from '../ingest/rtsp/client/guard.ts';
import { SourceError } from '../ingest/source.ts';
import type { CameraSource } from './api/rest/camera-schemas.ts';
import { hasCamera, TextNotEditable, withCamera, withoutCamera } from './config/camera-text.ts';
import { ConfigNotWritable, editConfigFile } from './config/edit.ts';
import { ConfigError, showProblem } from './config/problems.ts';
import type { Config } from './config/schema.ts';
import type { Environment } from './config/substitute.ts';
import { HttpError } from './http/errors.ts';
import type { ReloadResult } from './reload.ts';

export interface CameraSettings {
  /**
   * Adds a camera, or gives it another source.
   * @throws HttpError `bad-request` for an address that is not allowed or no address, `conflict`
   *   where the configuration can't be changed
   */
  put(camera: string, wanted: CameraSource): Promise<ReloadResult>;
  /** Takes a camera out; its footage stays. @throws HttpError `not-found`, `conflict` */
  remove(camera: string): Promise<ReloadResult>;
}

export interface CameraSettingsOptions {
  /** The configuration file, absolute; null: there is none. */
  readonly file: string | null;
  readonly env: Environment;
  readonly allowedNetworks: readonly string[];
  readonly reload: () => Promise<ReloadResult>;
}

const resolveMsMax = 10_000;

export function cameraSettings(options: CameraSettingsOptions): CameraSettings {
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = (work: () => Promise<ReloadResult>): Promise<ReloadResult> => {
    const turn = last.then(work);
    last = turn.catch(() => undefined);
    return turn;
  };
  return {
    put: async (camera, wanted) => {
      const { source, substream } = wanted;
      await checkAddress('source.rtsp', source.rtsp, options.allowedNetworks);
      if (substream !== undefined) {
        await checkAddress('substream.rtsp', substream.rtsp, options.allowedNetworks);
      }
      return inTurn(() => putNow(camera, wanted, options));
    },
    remove: (camera) => inTurn(() => removeNow(camera, options)),
  };
}

async function putNow(
  camera: string,
  wanted: CameraSource,
  options: CameraSettingsOptions,
): Promise<ReloadResult> {
  const { rtsp } = wanted.source;
  // What would stand for a variable or a file in the configuration is meant literally here. (A
  // text as the replacement would itself be looked through for $.)
  const literal = (text: string): string => text.replaceAll('${', () => '$${');
  const { substream } = wanted;
  const entry = {
    ...wanted,
    source: { rtsp: literal(rtsp) },
    ...(substream === undefined ? {} : { substream: { rtsp: literal(substream.rtsp) } }),
    confined: true,
  };
  const isTaken = (config: Config): boolean => {
    const found = Object.hasOwn(config.cameras, camera) ? config.cameras[camera] : undefined;
    return found?.confined === true && 'rtsp' in found.source && found.source.rtsp === rtsp;
  };
  await edit(options, (text) => withCamera(text, camera, entry), isTaken);
  return options.reload();
}

async function removeNow(camera: string, options: CameraSettingsOptions): Promise<ReloadResult> {
  const change = (text: string): string => {
    if (hasCamera(text, camera)) return withoutCamera(text, camera);
    throw new HttpError('not-found', `The configuration file has no camera named ${camera}.`);
  };
  await edit(options, change, (config) => !Object.hasOwn(config.cameras, camera));
  return options.reload();
}

/** @param isTaken whether the configuration then says what was wanted */
async function edit(
  { file, env }: CameraSettingsOptions,
  change: (text: string) => string,
  isTaken: (config: Config) => boolean,
): Promise<void> {
  if (file === null) {
    throw new HttpError(
      'conflict',
      'The gateway runs without a configuration file, so there is nothing to write the camera into. Make a headgate.yaml and start it with that.',
    );
  }
  try {
    await editConfigFile({
      name: basename(file),
      path: file,
      env,
      change,
      accept: (config) => {
        if (isTaken(config)) return;
        throw new ConfigNotWritable(
          'a variable of the environment sets this camera, and overrides the file',
        );
      },
    });
  } catch (error) {
    if (error instanceof ConfigError) {
      const details = error.problems.map((problem) => ({
        field: problem.key,
        message: showProblem(problem),
      }));
      const said = details.map(({ message }) => message).join(' ');
      throw new HttpError('conflict', `The configuration would not be valid: ${said}`, { details });
    }
    if (error instanceof ConfigNotWritable || error instanceof TextNotEditable) {
      throw new HttpError('conflict', `Nothing was changed: ${error.message}.`, { cause: error });
    }
    throw error;
  }
}

/** @throws HttpError `bad-request` */
async function checkAddress(
  field: string,
  url: string,
  networks: readonly string[],
): Promise<void> {
  try {
    const { host } = parseCameraUrl(url);
    await allowedAddresses(host, onlyNetworks(networks), AbortSignal.timeout(resolveMsMax));
  } catch (error) {
    const isOurs = error instanceof SourceError;
    const message = isOurs ? error.message : 'its host could not be looked up in time';
    throw new HttpError('bad-request', `${field}: ${message}`, {
      details: [{ field, message }],
      cause: error,
    });
  }
}
