import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  CameraEventSchema,
  CameraEventsSchema,
} from '../../../../gateway/api/rest/camera-schemas.ts';
import { cameraOptions } from '../../../storage/video/footage.ts';
import { startGateway, type TestGateway } from '../../http/gateway.ts';

async function ask(
  gateway: TestGateway,
  method: string,
  path: string,
  body?: unknown,
): Promise<Response> {
  return gateway.app.request(`http://localhost${path}`, {
    method,
    headers: { authorization: `Bearer ${gateway.token}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
}

const day = 'from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z';

test('events are added, found, held, released and deleted', async (t) => {
  const gateway = await startGateway(t);
  for (const camera of ['gate', 'yard']) await gateway.video.ensureCamera(cameraOptions(camera));
  const events = '/api/v1/cameras/gate/events';
  const added = await ask(gateway, 'POST', events, {
    kind: 'person',
    startTime: '2026-01-01T10:00:00.500Z',
    endTime: '2026-01-01T10:00:02Z',
    data: { score: 0.9, box: [1, 2, 3, 4] },
  });
  const event = CameraEventSchema.parse(await added.json());
  assert.deepEqual(event, {
    id: event.id,
    kind: 'person',
    startTime: '2026-01-01T10:00:00.500Z',
    endTime: '2026-01-01T10:00:02.000Z',
    data: { score: 0.9, box: [1, 2, 3, 4] },
    hold: false,
    createdTime: '2026-01-01T00:00:00.000Z',
  });
  const at = { kind: 'door', startTime: '2026-01-01T11:00:00Z' };
  const second = CameraEventSchema.parse(await (await ask(gateway, 'POST', events, at)).json());
  assert.equal(second.endTime, second.startTime);

  const find = async (query: string): Promise<readonly number[]> => {
    const found = CameraEventsSchema.parse(await gateway.json(`${events}?${day}${query}`));
    return found.events.map(({ id }) => id);
  };
  assert.deepEqual(await find(''), [event.id, second.id]);
  assert.deepEqual(await find('&kind=door'), [second.id]);
  assert.deepEqual(await find('&hold=true'), []);
  const one = CameraEventsSchema.parse(await gateway.json(`${events}?${day}&limit=1`));
  assert.deepEqual([one.events.length, one.complete], [1, false]);

  const held = await ask(gateway, 'PATCH', `${events}/${event.id}`, { hold: true });
  assert.equal(CameraEventSchema.parse(await held.json()).hold, true);
  assert.deepEqual(await find('&hold=true'), [event.id]);
  const released = await ask(gateway, 'PATCH', `${events}/${event.id}`, { hold: false });
  assert.deepEqual(CameraEventSchema.parse(await released.json()), event);
  assert.equal((await ask(gateway, 'DELETE', `${events}/${event.id}`)).status, 200);
  assert.deepEqual(await find(''), [second.id]);
});

test('what is wrong with an event is said', async (t) => {
  const gateway = await startGateway(t);
  for (const camera of ['gate', 'yard']) await gateway.video.ensureCamera(cameraOptions(camera));
  const events = '/api/v1/cameras/gate/events';
  const right = { kind: 'door', startTime: '2026-01-01T11:00:00Z' };
  const { id } = CameraEventSchema.parse(await (await ask(gateway, 'POST', events, right)).json());
  const statusOf = async (...asked: readonly [string, string, unknown?]): Promise<number> =>
    (await ask(gateway, ...asked)).status;
  const wrong: readonly object[] = [
    { ...right, kind: 'two words' },
    { ...right, endTime: '2026-01-01T10:59:59Z' },
    { ...right, data: 'x'.repeat(20_000) },
    { ...right, hold: 'yes' },
    { ...right, more: 1 },
    { kind: 'door' },
  ];
  for (const body of wrong) assert.equal(await statusOf('POST', events, body), 400);
  assert.equal(await statusOf('POST', '/api/v1/cameras/none/events', right), 404);
  for (const path of [`${events}/99`, `/api/v1/cameras/yard/events/${id}`]) {
    assert.equal(await statusOf('PATCH', path, { hold: true }), 404, path);
    assert.equal(await statusOf('DELETE', path), 404, path);
  }
  assert.equal(await statusOf('PATCH', `${events}/${id}`, {}), 400);
  assert.equal(await statusOf('DELETE', `${events}/x`), 400);
  assert.equal((await gateway.get(`${events}?from=2026-01-02T00:00:00Z&to=1`)).status, 400);
});
