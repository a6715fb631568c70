/** Who logs in with a name and a password: clients of MQTT, and cameras that push. */
import { z } from 'zod';
import { secret, username } from './leaves.ts';

export const user = z.strictObject({
  username: username().describe('The name it logs in with.'),
  password: secret().describe('Its password.'),
});
