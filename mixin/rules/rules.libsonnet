// Recording rules, named level:metric:operations. The level names the labels besides those of `groupLabels`, which every
// rule keeps. Histograms of several instances are summed before the quantile is computed, because a mean of quantiles is
// not a quantile.
local promql = import '../lib/promql.libsonnet';

{
  local config = $._config,
  local window = config.rateWindow,
  local labels(own) = config.groupLabels + own,
  local select(metric, matchers=[]) = promql.select(config, metric, matchers),
  local rate(own, metric, matchers=[], window=config.rateWindow) = promql.rate(config, labels(own), metric, matchers, window),
  local group(name, rules) = { name: 'streamgauge-' + name, rules: rules },
  local record(name, expr) = { record: name, expr: expr },

  // Rates of the buckets of a histogram, and quantiles of them. The quantiles use the buckets of the same evaluation,
  // because a group is evaluated from top to bottom.
  local histogram(own, metric) =
    local level = std.join('_', [$._levels[label] for label in own]);
    local buckets = '%s_le:%s_bucket:rate%s' % [level, metric, window];
    [record(buckets, rate(own + ['le'], metric + '_bucket'))] +
    [
      record('%s:%s:p%d_rate%s' % [level, metric, percent, window], 'histogram_quantile(%g, %s)' % [percent / 100, buckets])
      for percent in [50, 95, 99]
    ],

  // Names of labels within levels.
  _levels:: {
    upstream: 'upstream',
    gen_ai_request_model: 'model',
    start: 'start',
    source: 'source',
  },

  // All windows of the alerts on error budgets.
  local windows = std.uniq(std.sort(
    [config.rateWindow] +
    std.flattenArrays([[pair.long, pair.short] for pair in config.slo.fast.windows + config.slo.slow.windows]),
    promql.seconds,
  )),

  prometheusRules+:: {
    groups+: [
      // start="warm" and start="cold" are separate series: a cold start is not the speed of the server.
      group('ttft', histogram(['upstream', 'gen_ai_request_model', 'start'], 'gen_ai_server_time_to_first_token_seconds')),
      group('tpot', histogram(['upstream', 'gen_ai_request_model'], 'gen_ai_server_time_per_output_token_seconds')),
      group('queue', histogram(['upstream', 'gen_ai_request_model', 'source'], 'streamgauge_queue_wait_seconds') + [
        // Mean and maximum over instances: scale on the mean with one Streamgauge per replica, else on the maximum.
        record(
          'upstream_model:streamgauge_estimated_wait_seconds:%s' % operation,
          '%s by %s (%s)' % [
            operation,
            promql.by(labels(['upstream', 'gen_ai_request_model'])),
            select('streamgauge_estimated_wait_seconds'),
          ]
        )
        for operation in ['avg', 'max']
      ]),
      group('throughput', [
        // Tokens per second. Output tokens are counted while streams run, so this is the current speed.
        record(
          'upstream_model_type:streamgauge_tokens:rate' + window,
          rate(['upstream', 'gen_ai_request_model', 'type'], 'streamgauge_tokens_total')
        ),
        // Inference only. Not by model, because the model is not known at arrival.
        record(
          'upstream_phase:streamgauge_in_flight_requests:sum',
          'sum by %s (%s)' % [
            promql.by(labels(['upstream', 'phase'])),
            select('streamgauge_in_flight_requests', ['gen_ai_operation_name!~"tokenize|replay|other"']),
          ]
        ),
      ]),
      group('outcomes', [
        // Inference only. Not by model, because a failed request has none.
        record(
          'upstream_outcome:streamgauge_requests:rate' + window,
          rate(['upstream', 'outcome'], 'streamgauge_upstream_requests_total')
        ),
        // Errors of the server and of Streamgauge. Requests that the client ended are not counted.
        record(
          'upstream:streamgauge_errors:ratio_rate' + window,
          |||
            sum by %(by)s (upstream_outcome:streamgauge_requests:rate%(window)s{outcome!~"ok|client_.+"})
            /
            sum by %(by)s (upstream_outcome:streamgauge_requests:rate%(window)s{outcome!~"client_.+"})
          ||| % { by: promql.by(labels(['upstream'])), window: window }
        ),
        record(
          'upstream_reason:streamgauge_cold_starts:increase1h',
          promql.increase(config, labels(['upstream', 'reason']), 'streamgauge_upstream_cold_starts_total', [], '1h')
        ),
      ]),
      group('slo', [
        record(
          'upstream_slo_met:streamgauge_slo_requests:rate' + window,
          rate(['upstream', 'slo', 'met'], 'streamgauge_upstream_slo_requests_total')
        ),
      ] + [
        // Share of the decided requests that missed a target: NaN in a window without any (no alert fires on NaN).
        record(
          'upstream_slo:streamgauge_slo_misses:ratio_rate' + window,
          '%s\n/\n%s\n' % [
            rate(['upstream', 'slo'], 'streamgauge_upstream_slo_requests_total', ['met="false"'], window),
            rate(['upstream', 'slo'], 'streamgauge_upstream_slo_requests_total', ['met!="undecided"'], window),
          ]
        )
        for window in windows
      ] + [
        // Goodput ratio: share of the decided requests that met all targets.
        record(
          'upstream_slo:streamgauge_goodput:ratio_rate' + window,
          '1 - upstream_slo:streamgauge_slo_misses:ratio_rate' + window
        ),
      ]),
    ],
  },
}
