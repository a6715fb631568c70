/** Finding cameras over the API: nothing outside of the allowed networks is connected to. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { startOnvifDevice } from '../../../support/onvif-device.ts';
import { startGateway } from '../../http/gateway.ts';

it('asks no device on this machine, and refuses what is no host', async (t) => {
  const device = await startOnvifDevice(t);
  const gateway = await startGateway(t);
  const ask = async (body: unknown, token = gateway.token): Promise<Response> =>
    gateway.app.request('http://localhost/api/v1/camera-discovery', {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
  const answer = await ask({ hosts: [`127.0.0.1:${device.port}`] });
  assert.equal(answer.status, 200);
  const { cameras } = (await answer.json()) as {
    cameras: { facts: unknown; problem: { code: string } }[];
  };
  assert.deepEqual([cameras[0]?.facts, cameras[0]?.problem.code], [null, 'forbidden']);
  assert.deepEqual(device.calls, []);
  assert.equal((await ask({ hosts: ['http://10.0.0.1/'] })).status, 400);
  assert.equal((await ask({ hosts: [], waitSeconds: 1e9 })).status, 400);
  assert.equal((await ask({ hosts: ['10.0.0.1'] }, 'hg_wrong')).status, 401);
});
