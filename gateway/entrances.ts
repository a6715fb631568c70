/**
 * How other machines get in (`listen: lan`): what `headgate run` prints, and `headgate credentials`
 * later. Kept for that in running.json, without secrets: passwords are made anew of the box's own.
 */
import { z } from 'zod';
import type { Config } from './config/schema.ts';
import { demoSecrets, demoSensorUser } from './demonstration/configuration.ts';
import { isMade, madeLogin, type Login, type Opening } from './opening.ts';

/** Whose names and passwords are asked for. */
const usersSchema = z.enum(['made', 'demonstration', 'configured']);

export const entrancesSchema = z.object({
  /** By which other machines reach this one; the best one first. */
  addresses: z.array(z.string()),
  httpPort: z.int(),
  mqtt: z.object({ tlsPort: z.int(), users: usersSchema }).nullable(),
  rtsp: z
    .object({ port: z.int(), tlsPort: z.int(), readers: z.enum(['made', 'configured']) })
    .nullable(),
  certificate: z
    .object({
      fingerprint: z.string(),
      caFile: z.string().nullable(),
      caFingerprint: z.string().nullable(),
    })
    .nullable(),
});

export type Entrances = z.infer<typeof entrancesSchema>;

/** Null while only this machine gets in. @param config without made users */
export function entrancesOf(
  config: Config,
  opening: Opening,
  demonstration: boolean,
): Entrances | null {
  if (config.listen !== 'lan') return null;
  const { http, mqtt, rtsp } = config;
  const { certificate, lanAddresses } = opening;
  const made = isMade(config);
  const configured = demonstration ? 'demonstration' : 'configured';
  return {
    addresses: [...lanAddresses],
    httpPort: http.port,
    mqtt:
      mqtt.enabled && mqtt.external.url === null
        ? { tlsPort: mqtt.tlsPort, users: made.mqtt ? 'made' : configured }
        : null,
    rtsp: rtsp.enabled
      ? { port: rtsp.port, tlsPort: rtsp.tlsPort, readers: made.rtsp ? 'made' : 'configured' }
      : null,
    certificate:
      certificate === null
        ? null
        : {
            fingerprint: certificate.fingerprint,
            caFile: certificate.caFile,
            caFingerprint: certificate.caFingerprint,
          },
  };
}

/** Names and passwords that need not be looked up in the configuration. */
export interface Logins {
  readonly mqtt: Login | null;
  readonly rtsp: Login | null;
}

export function loginsOf({ mqtt, rtsp }: Entrances, boxSecret: Buffer): Logins {
  const ofDevices: Readonly<Record<z.infer<typeof usersSchema>, () => Login | null>> = {
    made: () => madeLogin('mqtt', boxSecret),
    demonstration: () => ({
      username: demoSensorUser,
      password: demoSecrets(boxSecret).sensorPassword,
    }),
    configured: () => null,
  };
  return {
    mqtt: mqtt === null ? null : ofDevices[mqtt.users](),
    rtsp: rtsp?.readers === 'made' ? madeLogin('rtsp', boxSecret) : null,
  };
}
