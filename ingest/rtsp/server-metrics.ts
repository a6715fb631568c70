/** What the RTSP server counts, by camera where that means something. */
import type { Counter, Gauge, Metrics } from '../../storage/ports.ts';

export interface RtspMetrics {
  readonly connections: Gauge;
  readonly received: Counter;
  readonly sent: Counter;
  readonly refused: Counter;
  readonly dropped: Counter;
  readonly lost: Counter;
  readonly missing: Counter;
}

export function makeMetrics(metrics: Metrics): RtspMetrics {
  return {
    connections: metrics.gauge('headgate_rtsp_connections', 'Open RTSP connections.'),
    received: metrics.counter(
      'headgate_rtsp_received_bytes_total',
      'Bytes that came from cameras.',
    ),
    sent: metrics.counter('headgate_rtsp_sent_bytes_total', 'Bytes of packets sent to readers.'),
    refused: metrics.counter('headgate_rtsp_refused_total', 'RTSP requests refused.'),
    dropped: metrics.counter(
      'headgate_rtsp_readers_dropped_total',
      'Readers that did not keep up.',
    ),
    lost: metrics.counter(
      'headgate_rtsp_lost_packets_total',
      'Packets let go before a recorder came.',
    ),
    missing: metrics.counter(
      'headgate_rtsp_missing_packets_total',
      'Packets that a camera did not send, or that were lost on the way; counted when it leaves.',
    ),
  };
}
