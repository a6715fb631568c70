import { connectAsync } from 'mqtt';
import type { Clock } from '../../storage/ports.ts';
import { pause } from '../forward/timing.ts';
import type { Task } from '../supervisor.ts';

export interface DemoSensorsOptions {
  /** `mqtt://…` of the gateway. */
  readonly url: string;
  readonly username: string;
  readonly password: string;
  readonly clock: Clock;
  /** 0 inclusive to 1 exclusive. */
  readonly random: () => number;
}

interface Sensor {
  readonly name: string;
  readonly unit: string;
  /** The reading at a time in seconds, noise left out. */
  readonly valueAt: (seconds: number) => number;
  readonly noise: number;
}

const sensors: readonly Sensor[] = [
  { name: 'boiler', unit: '°C', noise: 0.4, valueAt: (s) => 62 + 6 * Math.sin(s / 60) },
  { name: 'greenhouse', unit: '°C', noise: 0.2, valueAt: (s) => 24 + 3 * Math.sin(s / 140) },
  { name: 'pump', unit: 'mm/s', noise: 1.5, valueAt: (s) => (s % 90 < 45 ? 14 : 4) },
];

const intervalMs = 1000;

/** Three sensors that publish a reading a second each, over real MQTT with QoS 1. */
export function demoSensorsTask(options: DemoSensorsOptions): Task {
  const { clock, random } = options;
  return {
    name: 'demonstration sensors',
    async run(context) {
      const { signal } = context;
      const client = await connectAsync(options.url, {
        username: options.username,
        password: options.password,
        clientId: 'headgate-demonstration',
        reconnectPeriod: 0,
      });
      const lost = new Promise<never>((_resolve, reject) => {
        client.on('close', () => reject(new Error('the connection was closed')));
        client.on('error', reject);
      });
      lost.catch(() => undefined);
      context.ready();
      try {
        while (!signal.aborted) {
          const timeMs = clock.nowMs();
          const sent = sensors.map((sensor) =>
            client.publishAsync(`sensors/${sensor.name}/reading`, reading(sensor, timeMs, random), {
              qos: 1,
            }),
          );
          await Promise.race([Promise.all(sent), lost]);
          await Promise.race([pause(clock, intervalMs, signal), lost]);
        }
      } finally {
        await client.endAsync(true);
      }
    },
  };
}

function reading(sensor: Sensor, timeMs: number, random: () => number): string {
  const value = sensor.valueAt(timeMs / 1000) + (random() - 0.5) * 2 * sensor.noise;
  return JSON.stringify({
    value: Math.round(value * 100) / 100,
    unit: sensor.unit,
    time: new Date(timeMs).toISOString(),
  });
}
