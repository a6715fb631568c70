/** `headgate init`: a small configuration to begin with, whose passwords nobody else has. */
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { messageOf } from '../config/substitute.ts';
import { defaultFile, type ConfigOption } from './configuration.ts';
import { exitCodes, type CliContext, type ExitCode } from './context.ts';

/** Writes the file, unless there is one: nothing is ever replaced. */
export async function init(context: CliContext, options: ConfigOption): Promise<ExitCode> {
  const file = options.config ?? context.env['HEADGATE_CONFIG'] ?? defaultFile;
  const path = resolve(context.folder, file);
  const password = (): string => randomBytes(12).toString('base64url');
  try {
    await writeFile(path, firstConfiguration(password), { flag: 'wx', mode: 0o600 });
  } catch (error) {
    const exists = error instanceof Error && 'code' in error && error.code === 'EEXIST';
    const reason = exists ? 'it is there already, and stays as it is' : messageOf(error);
    context.stderr.write(`${path} is not written: ${reason}.\n`);
    return exitCodes.failed;
  }
  context.stdout.write(
    `${path} is written: a camera that pushes, a route for sensors, a delivery to a folder.\n` +
      'Look at it, then start the gateway again. Every key stands in headgate.reference.yaml.\n',
  );
  return exitCodes.done;
}

/** @param password makes another one at each call */
export function firstConfiguration(password: () => string): string {
  return `# What else there is, with its defaults: headgate.reference.yaml, or "headgate config --reference".
# Not in the file but in the environment: '\${YARD_PASSWORD}'. A change is taken over while it runs.
streams:
  readings: { shards: 2, retentionHours: 72 }
  camera-events: {}
mqtt:
  users:
    - { username: sensors, password: '${password()}' }
  routes:
    - { topic: 'sensors/+/reading', stream: readings, partitionKey: '{topic[1]}' }
cameras:
  yard: # pushes to rtsp://yard:…@<this machine>:8554/yard
    source: { push: { username: yard, password: '${password()}' } }
    retentionHours: 168
    maxBytes: 20 GB
    events: camera-events # every fragment announces itself as a record there
  # gate: # is fetched from; "headgate camera add <url> --name gate" writes it, and looks first
  #   source: { rtsp: 'rtsp://viewer:PASSWORD@192.0.2.10/stream1' }
deliveries:
  readings: { from: { stream: readings }, to: { folder: { path: ./sent } } }
# listen: lan # other machines get in, with TLS; loopback alone until then
`;
}
