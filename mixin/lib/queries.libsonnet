// Queries of the dashboards. Each has the selectors of the dashboard as matchers. A label that a target does not have is
// matched by the selectors' value for "all".
function(config) {
  local select(metric, matchers) = '%s{%s}' % [
    metric,
    std.join(', ', (if config.selector == '' then [] else [config.selector]) + matchers),
  ],
  local processMatchers = ['%s=~"$%s"' % [label, label] for label in config.dashboardLabels],
  local aggregate(operation, by, series) =
    operation + (if by == [] then '' else ' by (%s) ' % std.join(', ', by)) + '(' + series + ')',

  // Series of a process, of an upstream, of a model.
  process(metric, matchers=[]):: select(metric, processMatchers + matchers),
  upstream(metric, matchers=[]):: self.process(metric, ['upstream=~"$upstream"'] + matchers),
  model(metric, matchers=[]):: self.upstream(metric, ['gen_ai_request_model=~"$model"'] + matchers),

  // Matcher of inference in families that count all requests.
  inference:: 'gen_ai_operation_name!~"tokenize|replay|other"',

  sum(series, by=[]):: aggregate('sum', by, series),
  max(series, by=[]):: aggregate('max', by, series),
  min(series, by=[]):: aggregate('min', by, series),
  avg(series, by=[]):: aggregate('avg', by, series),
  count(series, by=[]):: aggregate('count', by, series),
  rate(series, by=[]):: aggregate('sum', by, 'rate(%s[$__rate_interval])' % series),
  increase(series, by=[], window='$__rate_interval'):: aggregate('sum', by, 'increase(%s[%s])' % [series, window]),
  // Quantile over the instances, from the buckets.
  quantile(q, buckets, by=[]):: 'histogram_quantile(%g, %s)' % [q, self.rate(buckets, ['le'] + by)],
  // A ratio that is 0, and not absent, if the part has no series yet.
  ratio(part, whole):: '(%s or 0 * %s) / %s' % [part, whole, whole],

  // p50, p95 and p99 of a histogram, as targets. `select` is one of the three functions above.
  quantiles(select, metric, matchers=[], by=[], percents=[50, 95, 99]):: [
    [
      self.quantile(percent / 100, select(metric + '_bucket', matchers), by),
      std.join(' ', ['p%g' % percent] + ['{{%s}}' % label for label in by]),
    ]
    for percent in percents
  ],
}
