// PromQL of each number on the page. Prometheus gives the same over its own window.

const P95_TTFT =
  'histogram_quantile(0.95, sum by (le) (rate(gen_ai_server_time_to_first_token_seconds_bucket{start="warm"}[5m])))';
const FAILED =
  'outcome=~"rejected|server_error|stream_error|truncated|upstream_unreachable|timeout|proxy_.*|internal"';
// Without requests that no model works for.
const INFERENCE = 'gen_ai_operation_name!~"other|tokenize|replay"';

export const PROMQL = {
  ttft: P95_TTFT,
  tokens: 'sum(rate(streamgauge_tokens_total{type="output"}[1m]))',
  inFlight: 'sum by (phase) (streamgauge_in_flight_requests)',
  queue: 'histogram_quantile(0.95, sum by (le, source) (rate(streamgauge_queue_wait_seconds_bucket[5m])))',
  goodput:
    'min(sum by (slo) (rate(streamgauge_slo_requests_total{met="true"}[5m])) / ' +
    'sum by (slo) (rate(streamgauge_slo_requests_total{met=~"true|false"}[5m])))',
  errors: `sum(rate(streamgauge_requests_total{${INFERENCE},${FAILED}}[1m]))`,
  okShare:
    `1 - (sum(rate(streamgauge_requests_total{${INFERENCE},${FAILED}}[10m])) or vector(0)) / ` +
    `sum(rate(streamgauge_requests_total{${INFERENCE}}[10m]))`,
  budget:
    '1 - sum by (slo) (rate(streamgauge_slo_requests_total{met="false"}[10m])) / ' +
    'sum by (slo) (rate(streamgauge_slo_requests_total{met=~"true|false"}[10m])) / 0.01',
  heatmap: 'sum by (le) (increase(gen_ai_server_time_to_first_token_seconds_bucket{start="warm"}[10s]))',
  tokensByModel: 'sum by (gen_ai_request_model) (rate(streamgauge_tokens_total{type="output"}[1m]))',
  byModel: {
    requests: `sum by (upstream, gen_ai_request_model) (rate(streamgauge_requests_total{${INFERENCE}}[1m]))`,
    ttft50:
      'histogram_quantile(0.5, sum by (le, upstream, gen_ai_request_model) ' +
      '(rate(gen_ai_server_time_to_first_token_seconds_bucket{start="warm"}[5m])))',
    ttft95:
      'histogram_quantile(0.95, sum by (le, upstream, gen_ai_request_model) ' +
      '(rate(gen_ai_server_time_to_first_token_seconds_bucket{start="warm"}[5m])))',
    tpot:
      'histogram_quantile(0.5, sum by (le, upstream, gen_ai_request_model) ' +
      '(rate(gen_ai_server_time_per_output_token_seconds_bucket[5m])))',
    tokens: 'sum by (upstream, gen_ai_request_model) (rate(streamgauge_tokens_total{type="output"}[1m]))',
    queue:
      'histogram_quantile(0.95, sum by (le, upstream, gen_ai_request_model, source) ' +
      '(rate(streamgauge_queue_wait_seconds_bucket[5m])))',
    slots: 'streamgauge_queue_slots{held="response"}',
    cold: 'sum by (upstream, gen_ai_request_model) (increase(streamgauge_cold_starts_total[10m]))',
    goodput:
      'sum by (upstream, gen_ai_request_model, slo) (rate(streamgauge_slo_requests_total{met="true"}[5m])) / ' +
      'sum by (upstream, gen_ai_request_model, slo) (rate(streamgauge_slo_requests_total{met=~"true|false"}[5m]))',
    errors: `sum by (upstream, gen_ai_request_model) (rate(streamgauge_requests_total{${INFERENCE},${FAILED}}[1m]))`,
  },
  estimatedWait: 'max by (upstream) (streamgauge_estimated_wait_seconds)',
  up: 'streamgauge_upstream_up',
  delay: 'histogram_quantile(0.99, sum by (le) (rate(streamgauge_forwarding_delay_seconds_bucket[5m])))',
  coverage:
    'sum(rate(streamgauge_usage_coverage_total{reported="true"}[10m])) / sum(rate(streamgauge_usage_coverage_total[10m]))',
  unparsed: 'sum(streamgauge_unparsed_total)',
  dropped: 'sum(streamgauge_log_dropped_total)',
};
