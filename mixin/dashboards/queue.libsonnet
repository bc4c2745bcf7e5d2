// Queue, cold starts and scaling.
local Dashboard = import '../lib/dashboard.libsonnet';
local Panels = import '../lib/panels.libsonnet';
local Queries = import '../lib/queries.libsonnet';

function(config)
  local p = Panels(config);
  local q = Queries(config);
  local ttft = 'gen_ai_server_time_to_first_token_seconds';
  local perModel = ['upstream', 'gen_ai_request_model'];
  local modelLegend = '{{upstream}} {{gen_ai_request_model}}';
  local wait = q.model('streamgauge_estimated_wait_seconds');
  local coldStarts = q.upstream('streamgauge_upstream_cold_starts_total');
  local cold = q.rate(q.model(ttft + '_count', ['start="cold"']));
  local output = q.rate(q.model(ttft + '_count'));
  local waitText = 'Expected queue wait of a request that arrives now. Absent until five streams with output were seen.';

  Dashboard(config).dashboard(
    'queue',
    'Streamgauge / Queue, cold starts and scaling',
    'Why requests wait: the queue of the server, or a server or model that is not ready.',
    [
      p.row('Now', [
        p.stat('Expected wait', 's', [[q.max(wait), '']], waitText, 'queue-wait.md#metrics', width=6),
        p.stat('Waiting', 'short', [[q.sum(q.upstream('streamgauge_in_flight_requests', ['phase="waiting"', q.inference])), '']], 'Inference requests without output yet.', 'metrics.md#streamgauge_in_flight_requests', width=6),
        p.stat('Cold starts', 'short', [[q.increase(coldStarts, [], '$__range'), '']], 'Cold starts in the time range of the dashboard.', 'definitions.md#cold-starts', width=6, noValue='None', decimals=0),
        p.stat('Upstreams down', 'short', [['%s - %s' % [q.count(q.upstream('streamgauge_upstream_up')), q.sum(q.upstream('streamgauge_upstream_up'))], '']], 'Upstreams that were not ready at the last probe or request, over all instances.', 'metrics.md#streamgauge_upstream_up', width=6, thresholds=['green', [1, 'red']], noValue='None'),
        p.chart('Queue wait p95 by source', 's', [[q.quantile(0.95, q.model('streamgauge_queue_wait_seconds_bucket'), ['source']), '{{source}}']], 'Wait in the queue of the server: as it reports it, from its response headers, or estimated. Warm requests.', 'definitions.md#queue-wait'),
        p.chart('Expected wait of a new request', 's', [
          [q.avg(wait, perModel), 'mean ' + modelLegend],
          [q.max(q.model('streamgauge_estimated_wait_high_seconds'), perModel), 'upper end ' + modelLegend],
          [q.max(wait, perModel), 'max ' + modelLegend],
        ], waitText + ' Mean and maximum over instances.', 'queue-wait.md#metrics'),
        p.chart('Requests in flight by phase', 'short', [[q.sum(q.upstream('streamgauge_in_flight_requests', [q.inference]), ['phase']), '{{phase}}']], 'Inference requests: sending the body, waiting for the first output, or streaming.', 'metrics.md#streamgauge_in_flight_requests', stacked=true),
      ]),
      p.row('Cold starts', [
        p.chart('Cold starts by reason', 'short', [[q.increase(coldStarts, ['upstream', 'reason']), '{{upstream}} {{reason}}']], 'Cold starts in the last rate interval, counted when they end. Outages over outage_seconds are not counted.', 'cold-starts.md#what-counts-as-a-cold-start', stacked=true),
        p.chart('Duration of cold starts', 's', [[q.increase(q.model('streamgauge_cold_start_seconds_sum'), ['reason'], '$__range') + ' / ' + q.increase(q.model('streamgauge_cold_start_seconds_count'), ['reason'], '$__range'), '{{reason}}']], 'Mean over the time range of the dashboard: from the first request that found the server not ready to the first output.', 'definitions.md#cold-starts'),
        p.chart('Share of cold requests', 'percentunit', [[q.ratio(cold, output), 'cold']], 'Share of the streams with output that waited for a cold start.', 'cold-starts.md#cold-requests', max=1),
        p.chart('TTFT p95, cold and warm', 's', [[q.quantile(0.95, q.model(ttft + '_bucket'), ['start']), '{{start}}']], 'Time to first token of cold and of warm requests.', 'cold-starts.md#cold-requests'),
        p.chart('Stages of the first start', 's', [[q.max(q.upstream('streamgauge_boot_seconds'), ['upstream', 'stage']), '{{upstream}} {{stage}}']], 'Time from the start of Streamgauge until the port was open, the server healthy, and the first token there.', 'cold-starts.md#stages-of-a-start'),
        p.chart('Cold starts can be missing', 'bool_yes_no', [[q.max(q.upstream('streamgauge_cold_judgement_suspended'), ['upstream']), '{{upstream}}']], 'Yes while a slow request, after an idle time or a change of model, could not be judged: it may have waited for a load, and counts as warm.', 'cold-starts.md#judging-slow-requests', max=1),
        p.chart('Restarts of the server', 'short', [['sum by (upstream) (changes(%s[$__rate_interval]))' % q.upstream('streamgauge_upstream_start_time_seconds'), '{{upstream}}']], 'New processes that the server shows in its own metrics. Requires server_metrics_path.', 'cold-starts.md#the-servers-own-page'),
      ]),
      p.row('Scaling', [
        p.chart('Up', 'bool_yes_no', [[q.min(q.upstream('streamgauge_upstream_up'), config.instanceLabels + ['upstream']), '{{pod}} {{instance}} {{upstream}}']], '1 if the upstream was ready at the last probe or request. An idle server is not probed.', 'metrics.md#streamgauge_upstream_up', max=1),
        p.chart('Idle', 's', [[q.min(q.upstream('streamgauge_upstream_idle_seconds'), ['upstream']), '{{upstream}}']], 'Time since the last inference request ended; 0 while one is in flight. Scale to zero by its minimum over instances.', 'cold-starts.md#scaling-to-zero'),
        p.chart('Requests for each slot', 'percentunit', [[
          'sum by (upstream) (%s) / sum by (upstream) (%s)' % [
            q.upstream('streamgauge_in_flight_requests', ['phase!="sending"', q.inference]),
            q.upstream('streamgauge_queue_slots', ['held="response"']),
          ],
          '{{upstream}}',
        ]], 'Requests at the server, divided by the slots that it seems to have. Over 100 %, requests queue.', 'queue-wait.md#slots'),
        p.chart('Rejected requests', 'reqps', [[q.rate(q.upstream('streamgauge_upstream_requests_total', ['outcome=~"rejected|proxy_rejected|upstream_unreachable|timeout"']), ['outcome']), '{{outcome}}']], 'Inference requests that got no place: rejected by the server or by Streamgauge, no connection, or too late.', 'definitions.md#outcomes'),
      ]),
      p.row('Sustainable rate', [
        p.chart('Saturation', 'percentunit', [[q.max(q.model('streamgauge_saturation_ratio'), perModel), modelLegend]], 'Arrival rate of the last minute, divided by the rate at which all SLO classes are still met. Over 100 %, a class will be missed. Absent until this rate is known.', 'goodput.md#sustainable-rate'),
        p.chart('Sustainable rate by class', 'reqps', [
          [q.avg(q.model('streamgauge_sustainable_requests_per_second'), perModel + ['slo']), modelLegend + ' {{slo}}'],
          [q.avg(q.model('streamgauge_sustainable_low_requests_per_second'), perModel + ['slo']), 'low ' + modelLegend + ' {{slo}}'],
          [q.avg(q.model('streamgauge_sustainable_high_requests_per_second'), perModel + ['slo']), 'high ' + modelLegend + ' {{slo}}'],
        ], 'Largest arrival rate at which 99 % of the requests would meet the class, with its interval. Mean over instances. Only the low end: the class is met at all rates so far.', 'goodput.md#sustainable-rate'),
      ]),
      p.row('Estimator', [
        p.chart('Slots', 'short', [[q.max(q.model('streamgauge_queue_slots'), perModel + ['held']), modelLegend + ' {{held}}']], 'Requests (response) or prompts (prefill) that the server works on at once, as inferred. Absent until five requests had to wait.', 'queue-wait.md#slots'),
        p.chart('Contradicted slots', 'percentunit', [
          [q.max(q.model('streamgauge_queue_fit_contradicted_ratio'), perModel), 'contradicted ' + modelLegend],
          [q.max(q.model('streamgauge_queue_fit_error_ratio'), perModel), 'unexplained ' + modelLegend],
        ], 'Requests with output before their turn, and unexplained time, according to the best slots. Above 5 % and 14 %, the slots are not used.', 'queue-wait.md#unknown-servers'),
        p.chart('Unknown queues', 'short', [[q.max(q.model('streamgauge_queue_model', ['model="unknown"']), perModel), modelLegend]], '1 while no model explains how the server queues. The expected wait is then a lower bound.', 'queue-wait.md#unknown-servers'),
        p.chart('Baseline by size', 's', [[q.max(q.model('streamgauge_queue_baseline_seconds'), ['gen_ai_request_model', 'input_size']), '{{gen_ai_request_model}} {{input_size}}']], 'Median time from sent request to first output without waiting, by size of the request body.', 'queue-wait.md#baseline'),
        p.chart('Samples of the baseline', 'short', [[q.sum(q.model('streamgauge_queue_baseline_samples'), perModel), modelLegend]], 'Requests that the baseline is learned from.', 'queue-wait.md#baseline'),
        p.chart('Spread of the baseline', 'percentunit', [[q.max(q.model('streamgauge_queue_baseline_spread_ratio'), perModel), modelLegend]], 'Typical relative error of the baseline.', 'metrics.md#streamgauge_queue_baseline_spread_ratio'),
        p.chart('Age of the baseline', 's', [[q.max(q.model('streamgauge_queue_baseline_age_seconds'), perModel), modelLegend]], 'Time since the newest request that the baseline is learned from.', 'metrics.md#streamgauge_queue_baseline_age_seconds'),
        p.chart('Queue wait, all quantiles', 's', q.quantiles(q.model, 'streamgauge_queue_wait_seconds', [], ['source']), 'Wait in the queue of the server, by source.', 'definitions.md#queue-wait'),
      ]),
    ]
  )
