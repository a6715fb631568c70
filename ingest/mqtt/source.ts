import { once } from 'node:events';
import { SourceError, type Source } from '../source.ts';
import { MqttBroker, type MqttBrokerOptions, type MqttStatus } from './broker.ts';
import { MqttError } from './errors.ts';

export interface MqttSource extends Source {
  /** null while it is not listening. */
  address(): { readonly host: string; readonly port: number } | null;
  /** Counts begin anew with each run. */
  status(): MqttStatus;
}

/**
 * The MQTT broker as a source: it listens until the signal is aborted.
 *
 * The options are checked now (`MqttError` `invalid-options`); a port that can't be listened on fails
 * the run with `SourceError` `unreachable`, which is worth another try.
 */
export function mqttSource(options: MqttBrokerOptions): MqttSource {
  let broker = new MqttBroker(options);
  let used = false;
  return {
    name: 'mqtt',
    address: () => broker.address,
    status: () => broker.status(),
    async run(context) {
      if (used) broker = new MqttBroker(options);
      used = true;
      const running = broker;
      try {
        await running.listen();
        context.ready();
        if (!context.signal.aborted) await once(context.signal, 'abort');
      } catch (error) {
        if (!(error instanceof MqttError)) throw error;
        throw new SourceError('unreachable', error.message, { cause: error });
      } finally {
        await running.close();
      }
    },
  };
}
