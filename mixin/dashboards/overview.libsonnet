// All servers at a glance.
local Dashboard = import '../lib/dashboard.libsonnet';
local Panels = import '../lib/panels.libsonnet';
local Queries = import '../lib/queries.libsonnet';

function(config)
  local p = Panels(config);
  local q = Queries(config);
  local ttft = 'gen_ai_server_time_to_first_token_seconds';
  local warm = ['start="warm"'];
  local requests(matchers=[]) = q.upstream('streamgauge_upstream_requests_total', matchers);
  local arrivals(matchers=[]) = q.upstream('streamgauge_arrivals_total', matchers);
  local inFlight = q.upstream('streamgauge_in_flight_requests', [q.inference]);
  local success(by) = q.rate(requests(['outcome="ok"']), by) + ' / ' + q.rate(requests(['outcome!~"client_.+"']), by);
  local output = q.model('streamgauge_tokens_total', ['type="output"']);
  local successText = 'Share of inference requests with outcome ok. Outcomes that the client caused are in neither part.';
  local ttftText = 'Time from the arrival of a request to its first output. Warm requests only: 95 % had it within this time.';
  local tpotText = 'Time from the first to the last output, divided by the output tokens after the first: p95 over streams.';
  local outputText = 'Output tokens per second of all streams together, counted while they run.';

  Dashboard(config).dashboard(
    'overview',
    'Streamgauge / Overview',
    'Speed, failures and load of LLM inference servers, as measured at the wire.',
    [
      p.row('Now', [
        p.stat('Requests', 'reqps', [[q.rate(arrivals([q.inference])), '']], 'Arriving inference requests per second.', 'metrics.md#streamgauge_arrivals_total'),
        p.stat('In flight', 'short', [[q.sum(inFlight), '']], 'Inference requests in flight, in any phase.', 'metrics.md#streamgauge_in_flight_requests'),
        p.stat('Success', 'percentunit', [[success([]), '']], successText, 'definitions.md#outcomes', thresholds=['red', [0.95, 'orange'], [0.99, 'green']]),
        p.stat('Warm TTFT p95', 's', [[q.quantile(0.95, q.model(ttft + '_bucket', warm)), '']], ttftText, 'definitions.md#intervals'),
        p.stat('TPOT p95', 's', [[q.quantile(0.95, q.model('gen_ai_server_time_per_output_token_seconds_bucket')), '']], tpotText, 'definitions.md#intervals'),
        p.stat('Output tokens', 'short', [[q.rate(output), '']], outputText, 'definitions.md#output-tokens', decimals=0),
        p.chart('Requests by outcome', 'reqps', [[q.rate(requests(), ['outcome']), '{{outcome}}']], 'Ended inference requests per second, by outcome. Not by model: a request that failed before a 2xx response has none.', 'definitions.md#outcomes', stacked=true),
        p.chart('Warm TTFT', 's', q.quantiles(q.model, ttft, warm), 'Time from the arrival of a request to its first output. Streams of every outcome that did not wait for a cold start.', 'definitions.md#intervals'),
        p.chart('Output tokens by model', 'short', [[q.rate(output, ['gen_ai_request_model']), '{{gen_ai_request_model}}']], outputText, 'definitions.md#output-tokens', stacked=true),
      ]),
      p.row('By model', [
        p.table(
          'Models',
          'short',
          [
            [q.rate(q.model('streamgauge_requests_total', [q.inference]), ['upstream', 'gen_ai_request_model']), 'requests/s', 'reqps'],
            [q.quantile(0.5, q.model(ttft + '_bucket', warm), ['upstream', 'gen_ai_request_model']), 'warm TTFT p50', 's'],
            [q.quantile(0.95, q.model(ttft + '_bucket', warm), ['upstream', 'gen_ai_request_model']), 'warm TTFT p95', 's'],
            [q.quantile(0.95, q.model('gen_ai_server_time_per_output_token_seconds_bucket'), ['upstream', 'gen_ai_request_model']), 'TPOT p95', 's'],
            [q.rate(output, ['upstream', 'gen_ai_request_model']), 'output tokens/s', 'short'],
            [q.quantile(0.95, q.model('streamgauge_queue_wait_seconds_bucket'), ['upstream', 'gen_ai_request_model']), 'queue wait p95', 's'],
          ],
          ['upstream', 'gen_ai_request_model'],
          'One line for each model of each upstream. Failed requests are in the line "other".',
          'definitions.md#intervals'
        ),
        p.chart('Warm TTFT p95 by model', 's', [[q.quantile(0.95, q.model(ttft + '_bucket', warm), ['upstream', 'gen_ai_request_model']), '{{upstream}} {{gen_ai_request_model}}']], ttftText, 'definitions.md#intervals'),
        p.chart('TPOT p95 by model', 's', [[q.quantile(0.95, q.model('gen_ai_server_time_per_output_token_seconds_bucket'), ['upstream', 'gen_ai_request_model']), '{{upstream}} {{gen_ai_request_model}}']], tpotText, 'definitions.md#intervals'),
        p.chart('Goodput by SLO class', 'percentunit', [[q.rate(q.upstream('streamgauge_upstream_slo_requests_total', ['met="true"']), ['slo']) + ' / ' + q.rate(q.upstream('streamgauge_upstream_slo_requests_total', ['met!="undecided"']), ['slo']), '{{slo}}']], 'Share of the decided requests that met all targets of the class.', 'goodput.md#how-a-request-is-judged', max=1),
      ]),
      p.row('By upstream and instance', [
        p.chart('Up', 'bool_yes_no', [[q.min(q.upstream('streamgauge_upstream_up'), config.instanceLabels + ['upstream']), '{{pod}} {{instance}} {{upstream}}']], '1 if the upstream was ready at the last probe or request. An idle server is not probed.', 'metrics.md#streamgauge_upstream_up', max=1),
        p.chart('Success by upstream', 'percentunit', [[success(['upstream']), '{{upstream}}']], successText, 'definitions.md#outcomes', max=1),
        p.chart('Requests by instance', 'reqps', [[q.rate(requests(), config.instanceLabels), '{{pod}} {{instance}}']], 'Ended inference requests per second of each Streamgauge.', 'metrics.md#streamgauge_requests_total'),
      ]),
      p.row('Requests', [
        p.chart('In flight by phase', 'short', [[q.sum(inFlight, ['phase']), '{{phase}}']], 'Inference requests in flight: sending the request body, waiting for the first output, or streaming.', 'metrics.md#streamgauge_in_flight_requests', stacked=true),
        p.chart('Requests by operation', 'reqps', [[q.rate(arrivals(), ['gen_ai_operation_name']), '{{gen_ai_operation_name}}']], 'Arriving requests per second. Operation other: probes, lists of models and other requests that are not inference.', 'definitions.md#terms'),
        p.chart('Failed requests by status', 'reqps', [[q.rate(q.upstream('streamgauge_requests_total', ['outcome!="ok"']), ['outcome', 'code']), '{{outcome}} {{code}}']], 'Requests that did not end ok, by outcome and HTTP status. All operations.', 'definitions.md#outcomes'),
        p.chart('Time until clients left', 's', q.quantiles(q.model, 'streamgauge_abandoned_seconds', [], ['phase'], [50, 95]), 'Time from the request to the disconnect of its client, by phase. Requests whose client left.', 'metrics.md#streamgauge_abandoned_seconds'),
        p.chart('Tokens for clients that left', 'short', [[q.rate(q.model('streamgauge_wasted_output_tokens_total'), ['upstream']), '{{upstream}}']], 'Output tokens per second that were generated for clients that disconnected.', 'metrics.md#streamgauge_wasted_output_tokens_total'),
        p.chart('Rejected by Streamgauge', 'reqps', [[q.rate(q.upstream('streamgauge_rejected_requests_total'), ['reason']), '{{reason}}']], 'Requests that violate a rule of HTTP or a limit, by reason. They never reached the server.', 'metrics.md#streamgauge_rejected_requests_total'),
      ]),
    ]
  )
