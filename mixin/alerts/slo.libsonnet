// Alerts on what users experience: error budgets, and times compared with their own past.
local Alert = import '../lib/alert.libsonnet';
local promql = import '../lib/promql.libsonnet';

{
  local config = $._config,
  local lib = Alert(config),
  local budget = 1 - config.slo.objective,
  local misses(window) = 'upstream_slo:streamgauge_slo_misses:ratio_rate' + window,

  // Two windows that both burn the budget too fast, and enough misses to be more than chance.
  local burns(pair) = |||
    (
      %(long)s > %(factor)g * %(budget)g
      and
      %(short)s > %(factor)g * %(budget)g
      and
      %(count)s >= %(minimum)d
    )
  ||| % {
    long: misses(pair.long),
    short: misses(pair.short),
    factor: pair.factor,
    budget: budget,
    count: promql.increase(
      config,
      config.groupLabels + ['upstream', 'slo'],
      'streamgauge_upstream_slo_requests_total',
      ['met="false"'],
      pair.long
    ),
    minimum: config.slo.minimumMisses,
  },
  local burn(name, settings, speed) = lib.alert(
    name,
    settings,
    std.join('or\n', [burns(pair) for pair in settings.windows]),
    lib.group + ' burns the error budget of {{ $labels.slo }} ' + speed,
    '{{ $value | humanizePercentage }} of the decided requests missed the SLO {{ $labels.slo }} in the last %s. The objective %s allows %s.' % [
      std.join(' or ', [pair.long for pair in settings.windows]),
      lib.percent(config.slo.objective),
      lib.percent(budget),
    ],
    'streamgauge-slo'
  ),

  // The quantile now, compared with that of the longer window before it.
  local aboveBaseline(name, settings, level, labels, metric, matcher, quantity, shown) =
    local buckets = '%s_le:%s_bucket:rate%s' % [level, metric, config.rateWindow];
    local past = '[%s] offset %s' % [settings.window, settings.offset];
    local select(matchers) = buckets + (if matchers == [] then '' else '{%s}' % std.join(', ', matchers));
    local now = '%s:%s:p95_rate%s%s' % [level, metric, config.rateWindow, if matcher == [] then '' else '{%s}' % matcher[0]];
    local before = 'histogram_quantile(0.95, avg_over_time(%s%s))' % [select(matcher), past];
    local all = select(matcher + ['le="+Inf"']);
    lib.alert(
      name,
      settings,
      |||
        %(now)s > %(factor)g * %(before)s
        and
        %(now)s - %(before)s > %(increase)g
        and ignoring (le)
        %(all)s * %(seconds)d >= %(minimum)d
        and
        %(count)s >= %(minimumPast)d
      ||| % {
        now: now,
        before: before,
        factor: settings.factor,
        increase: settings.minimumIncreaseSeconds,
        all: all,
        seconds: promql.seconds(config.rateWindow),
        minimum: settings.minimumSamples,
        past: past,
        // Counted by the counter itself: the recorded rates do not show for how long they exist.
        count: 'sum by %s (increase(%s%s))' % [
          promql.by(config.groupLabels + labels),
          promql.select(config, metric + '_count', matcher),
          past,
        ],
        minimumPast: settings.minimumBaselineSamples,
      },
      '%s of {{ $labels.gen_ai_request_model }} on %s is far above its own past' % [quantity, lib.group],
      'p95 of the last %s is %s. That is more than %g times p95 of %s, measured up to %s ago.' % [
        config.rateWindow,
        shown,
        settings.factor,
        settings.window,
        settings.offset,
      ],
      'streamgauge-model'
    ),

  prometheusAlerts+:: {
    groups+: [
      {
        name: 'streamgauge-slo-alerts',
        rules: [
          burn('StreamgaugeErrorBudgetBurnFast', config.slo.fast, 'fast'),
          burn('StreamgaugeErrorBudgetBurnSlow', config.slo.slow, 'slowly'),
          aboveBaseline(
            'StreamgaugeTtftAboveBaseline',
            config.ttft,
            'upstream_model_start',
            ['upstream', 'gen_ai_request_model', 'start'],
            'gen_ai_server_time_to_first_token_seconds',
            ['start="warm"'],
            'Warm TTFT',
            '{{ $value | humanizeDuration }}'
          ),
          aboveBaseline(
            'StreamgaugeTpotAboveBaseline',
            config.tpot,
            'upstream_model',
            ['upstream', 'gen_ai_request_model'],
            'gen_ai_server_time_per_output_token_seconds',
            [],
            'TPOT',
            '{{ $value | humanizeDuration }}'
          ),
        ],
      },
    ],
  },
}
