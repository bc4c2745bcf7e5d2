// SLOs: goodput, and how fast the error budget burns.
local Dashboard = import '../lib/dashboard.libsonnet';
local Panels = import '../lib/panels.libsonnet';
local Queries = import '../lib/queries.libsonnet';

function(config)
  local p = Panels(config);
  local q = Queries(config);
  local family = 'streamgauge_upstream_slo_requests_total';
  local budget = 1 - config.slo.objective;
  local percent = '%g %%' % (config.slo.objective * 100);
  local missed(window, by=['slo']) = '%s / %s' % [
    q.increase(q.upstream(family, ['met="false"']), by, window),
    q.increase(q.upstream(family, ['met!="undecided"']), by, window),
  ];
  local goodputText = 'Share of the decided requests that met all targets of their SLO class.';
  local judged = 'goodput.md#how-a-request-is-judged';

  Dashboard(config).dashboard(
    'slo',
    'Streamgauge / SLO and goodput',
    'Requests that met their service-level objectives, and how fast the error budget burns.',
    [
      p.row('Goodput', [
        p.stat('Goodput', 'percentunit', [['1 - ' + missed('$__range'), '{{slo}}']], goodputText + ' Over the time range of the dashboard.', judged, width=8, thresholds=['red', [config.slo.objective, 'green']]),
        p.stat('Error budget left', 'percentunit', [['1 - (%s) / %g' % [missed('$__range'), budget], '{{slo}}']], 'Share of the error budget that is left, for an objective of %s over the time range of the dashboard. Select 30 days for a monthly budget.' % percent, 'goodput.md#in-promql', width=8, thresholds=['red', [0, 'orange'], [0.25, 'green']]),
        p.stat('Burn rate', 'short', [['(%s) / %g' % [missed('1h'), budget], '{{slo}}']], 'Error budget used in the last hour, as a multiple of what the objective of %s allows. At 1, the budget lasts for its period.' % percent, 'goodput.md#in-promql', width=8, thresholds=['green', [1, 'orange'], [14.4, 'red']], decimals=1),
        p.chart('Goodput by class', 'percentunit', [['1 - ' + missed('$__rate_interval'), '{{slo}}']], goodputText, judged, width=12, min=null, max=1),
        p.chart('Burn rate by window', 'short', [
          ['(%s) / %g' % [missed(window), budget], '{{slo}} ' + window]
          for window in ['5m', '1h', '6h', '1d']
        ], 'How many times too fast the error budget burns, over several windows. The fast alert fires above 14.4 (1 h and 5 min) or 6 (6 h and 30 min).', 'goodput.md#in-promql', width=12),
      ]),
      p.row('Requests and tokens', [
        p.chart('Requests by verdict', 'reqps', [[q.rate(q.upstream(family), ['slo', 'met']), '{{slo}} {{met}}']], 'Ended requests of each class. Undecided: the client caused an error, or left before a target was missed.', judged, stacked=true),
        p.chart('Missed requests by upstream', 'reqps', [[q.rate(q.upstream(family, ['met="false"']), ['upstream', 'slo']), '{{upstream}} {{slo}}']], 'Requests that missed a target, or failed.', judged, stacked=true),
        p.chart('Tokens by verdict', 'short', [[q.rate(q.upstream('streamgauge_slo_tokens_total'), ['slo', 'met']), '{{slo}} {{met}}']], 'Output tokens per second of these requests, counted when they end.', 'metrics.md#streamgauge_slo_tokens_total', stacked=true),
      ]),
      p.row('By model', [
        p.chart('Goodput by model', 'percentunit', [[
          q.ratio(
            q.rate(q.model('streamgauge_slo_requests_total', ['met="true"']), ['slo', 'gen_ai_request_model']),
            q.rate(q.model('streamgauge_slo_requests_total', ['met!="undecided"']), ['slo', 'gen_ai_request_model'])
          ),
          '{{slo}} {{gen_ai_request_model}}',
        ]], goodputText + ' Failed requests have the model "other".', judged, width=12, max=1),
        p.chart('Missed requests by model', 'reqps', [[q.rate(q.model('streamgauge_slo_requests_total', ['met="false"']), ['slo', 'gen_ai_request_model']), '{{slo}} {{gen_ai_request_model}}']], 'Requests that missed a target, or failed. Failed requests have the model "other".', judged, width=12, stacked=true),
      ]),
      p.row('Causes', [
        p.chart('Warm TTFT p95', 's', [[q.quantile(0.95, q.model('gen_ai_server_time_to_first_token_seconds_bucket', ['start="warm"']), ['gen_ai_request_model']), '{{gen_ai_request_model}}']], 'Compare it with ttft_seconds of the class.', 'goodput.md#classes'),
        p.chart('TPOT p95', 's', [[q.quantile(0.95, q.model('gen_ai_server_time_per_output_token_seconds_bucket'), ['gen_ai_request_model']), '{{gen_ai_request_model}}']], 'Compare it with tpot_seconds of the class.', 'goodput.md#classes'),
        p.chart('Failed requests', 'reqps', [[q.rate(q.upstream('streamgauge_upstream_requests_total', ['outcome!~"ok|client_.+"']), ['outcome']), '{{outcome}}']], 'Each of these misses every class that it belongs to.', 'definitions.md#outcomes', stacked=true),
      ]),
    ]
  )
