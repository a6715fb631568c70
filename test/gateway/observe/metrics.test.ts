import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PrometheusMetrics } from '../../../gateway/observe/metrics.ts';

test('counters, gauges and histograms are rendered as Prometheus reads them', async () => {
  const metrics = new PrometheusMetrics({ processMetrics: false });
  metrics.counter('headgate_a_total', 'What it counts').add();
  metrics.counter('headgate_a_total', 'What it counts').add(2, { route: 'x/"#"\n' });
  metrics.gauge('headgate_b_bytes', 'How much').set(7, { stream: 's' });
  metrics.gauge('headgate_b_bytes', 'How much').set(5, { stream: 's' });
  const histogram = metrics.histogram('headgate_c_seconds', 'How long', [0.1, 1]);
  for (const value of [0.05, 0.1, 0.5, 3]) histogram.observe(value);
  assert.equal(
    await metrics.render(),
    `# HELP headgate_a_total What it counts
# TYPE headgate_a_total counter
headgate_a_total 1
headgate_a_total{route="x/\\"#\\"\\n"} 2

# HELP headgate_b_bytes How much
# TYPE headgate_b_bytes gauge
headgate_b_bytes{stream="s"} 5

# HELP headgate_c_seconds How long
# TYPE headgate_c_seconds histogram
headgate_c_seconds_bucket{le="0.1"} 2
headgate_c_seconds_bucket{le="1"} 3
headgate_c_seconds_bucket{le="+Inf"} 4
headgate_c_seconds_sum 3.65
headgate_c_seconds_count 4
`,
  );
});

test('a gauge says nothing more of what is gone', async () => {
  const metrics = new PrometheusMetrics({ processMetrics: false });
  const gauge = metrics.gauge('headgate_task_up', 'Whether it works');
  gauge.set(1, { task: 'a', kind: 'x' });
  gauge.set(0, { task: 'b', kind: 'x' });
  gauge.remove({ kind: 'x', task: 'b' });
  gauge.remove({ kind: 'x', task: 'b' });
  gauge.remove({ task: 'a' });
  const lines = (await metrics.render()).split('\n').filter((line) => line.startsWith('headgate'));
  assert.deepEqual(lines, ['headgate_task_up{kind="x",task="a"} 1']);
});

test('the process is measured, and two gateways do not mix', async () => {
  const one = new PrometheusMetrics({ processMetrics: true });
  const two = new PrometheusMetrics({ processMetrics: true });
  one.counter('headgate_only_here_total', 'x').add();
  const text = await one.render();
  assert.match(text, /^nodejs_eventloop_lag_seconds /m);
  assert.match(text, /^process_resident_memory_bytes /m);
  assert.doesNotMatch(text, /eventloop_lag_p99/, 'what takes a timer of its own');
  assert.doesNotMatch(await two.render(), /only_here/);
});

test('labels from outside can not use up the memory', async () => {
  const metrics = new PrometheusMetrics({ processMetrics: false });
  const counter = metrics.counter('headgate_x_total', 'x');
  for (let n = 0; n < 5000; n++) counter.add(1, { client: `c${n}` });
  const lines = (await metrics.render())
    .split('\n')
    .filter((line) => line.startsWith('headgate_x'));
  assert.ok(lines.length <= 1001, `${lines.length} lines`);
  assert.ok(
    lines.includes('headgate_x_total{client="other"} 4000'),
    'the rest is counted together',
  );
});

test('a counter never falls, and a name is one kind of metric', () => {
  const metrics = new PrometheusMetrics({ processMetrics: false });
  const counter = metrics.counter('headgate_y_total', 'y');
  assert.throws(() => counter.add(-1), RangeError);
  assert.throws(() => counter.add(Number.NaN), RangeError);
  assert.throws(() => metrics.gauge('headgate_y_total', 'y'), TypeError);
});
