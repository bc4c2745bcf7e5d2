// One model: latency, tokens, streams.
local Dashboard = import '../lib/dashboard.libsonnet';
local Panels = import '../lib/panels.libsonnet';
local Queries = import '../lib/queries.libsonnet';

function(config)
  local p = Panels(config);
  local q = Queries(config);
  local ttft = 'gen_ai_server_time_to_first_token_seconds';
  local tpot = 'gen_ai_server_time_per_output_token_seconds';
  local warm = ['start="warm"'];
  local coverage(matchers=[]) = q.rate(q.model('streamgauge_usage_coverage_total', matchers));
  // A chart of p50, p95 and p99 of a histogram.
  local quantiles(title, metric, text, doc='definitions.md#intervals', matchers=[], by=[], unit='s') =
    p.chart(title, unit, q.quantiles(q.model, metric, matchers, by), text, doc);

  Dashboard(config).dashboard(
    'model',
    'Streamgauge / Model',
    'Latency, tokens and streams of one model, or of several together.',
    [
      p.row('Latency', [
        quantiles('Warm TTFT', ttft, 'Time from the arrival of a request to its first output. Streams of every outcome that did not wait for a cold start.', matchers=warm),
        quantiles('TPOT', tpot, 'Time from the first to the last output, divided by the output tokens after the first. Warm streams that ended ok, with one choice and output in two or more reads.'),
        quantiles('Latency', 'streamgauge_latency_seconds', 'Time from the arrival of a request to its last output. Warm streams that ended ok.'),
        p.heatmap('Warm TTFT, distribution', 's', q.increase(q.model(ttft + '_bucket', warm), ['le']), 'Distribution of TTFT over time. Two bands show two kinds of requests, which quantiles hide.', 'definitions.md#intervals'),
        p.heatmap('TPOT, distribution', 's', q.increase(q.model(tpot + '_bucket'), ['le']), 'Distribution of TPOT over time.', 'definitions.md#intervals'),
        p.chart('TTFT p95 now and one day before', 's', [
          [q.quantile(0.95, q.model(ttft + '_bucket', warm)), 'now'],
          ['histogram_quantile(0.95, sum by (le) (rate(%s[$__rate_interval] offset 1d)))' % q.model(ttft + '_bucket', warm), 'one day before'],
        ], 'p95 of warm TTFT, beside its value of the same time one day before.', 'definitions.md#intervals'),
      ]),
      p.row('More of latency', [
        quantiles('Cold TTFT', ttft, 'TTFT of requests that waited for a server or model that was not ready.', 'definitions.md#cold-starts', ['start="cold"']),
        quantiles('Time to first answer', 'streamgauge_time_to_first_answer_seconds', 'Time from the arrival of a request to the first output that is not reasoning. Warm streams.'),
        quantiles('Request duration', 'gen_ai_server_request_duration_seconds', 'Time from the arrival of a request to the end of the response. Requests that ended ok, streamed or not.', matchers=['error_type=""']),
        quantiles('Inter-token latency', 'streamgauge_inter_token_latency_seconds', 'Time between two reads with output of one choice, divided by the tokens of the later one. Basis event: divided by its events.', by=['basis']),
        quantiles('Inter-chunk latency', 'streamgauge_inter_chunk_latency_seconds', 'Time between two reads with output of any choice: the gap that a user sees.'),
        quantiles('Time to response headers', 'streamgauge_time_to_response_head_seconds', 'Time from the arrival of a request to the response headers. Some servers send them at once, others with the first token.'),
        quantiles('Normalised time per output token', 'streamgauge_normalized_time_per_output_token_seconds', 'Request duration divided by output tokens. Warm requests that ended ok, streamed or not.'),
        quantiles('Characters per second', 'streamgauge_output_characters_per_second', 'Output speed of a stream in characters, which does not depend on the tokenizer.', unit='short'),
        p.chart('TTFT p95 by input size', 's', [[q.quantile(0.95, q.model('streamgauge_time_to_first_token_by_input_seconds_bucket'), ['input_size']), '{{input_size}}']], 'Warm TTFT by the number of input tokens. Requires ttft_by_input_size = true.', 'metrics.md#streamgauge_time_to_first_token_by_input_seconds'),
        quantiles('Edge wait', 'streamgauge_edge_wait_seconds', 'Wait in proxies in front of Streamgauge, from the header X-Request-Start. Requires trust_request_start = true.', 'definitions.md#before-the-request-arrives'),
        quantiles('TTFT of a trace', 'streamgauge_trace_time_to_first_token_seconds', 'Time from the first inference request of a trace to the first output of a later stream of that trace.', 'definitions.md#before-the-request-arrives'),
        quantiles('TTFT outside of the engine', 'streamgauge_engine_residual_seconds', 'Part of TTFT outside of the time that the server reports for itself.', 'metrics.md#streamgauge_engine_residual_seconds'),
      ]),
      p.row('Tokens', [
        p.chart('Tokens by type', 'short', [[q.rate(q.model('streamgauge_tokens_total'), ['type']), '{{type}}']], 'Tokens per second. Output is counted while it streams, input at the end of a request.', 'definitions.md#output-tokens'),
        p.chart('Tokens per request', 'short', q.quantiles(q.model, 'gen_ai_client_token_usage', [], ['gen_ai_token_type'], [50, 95]), 'Tokens of each request, as the server counts them. Bucket edges are powers of 4, so this is an order of magnitude.', 'metrics.md#gen_ai_client_token_usage'),
        p.chart('Cached input and reasoning', 'short', [[q.rate(q.model('streamgauge_token_subset_total'), ['subset']), '{{subset}}']], 'Tokens per second that are a part of the totals: input from a cache, and reasoning.', 'metrics.md#streamgauge_token_subset_total'),
        p.chart('Characters by kind', 'short', [[q.rate(q.model('streamgauge_output_characters_total'), ['kind']), '{{kind}}']], 'Output characters per second: answer, reasoning, arguments of tools.', 'metrics.md#streamgauge_output_characters_total'),
        p.chart('Usage coverage', 'percentunit', [[q.ratio(coverage(['reported="true"']), coverage()), 'reported']], 'Share of the complete responses with a token count of the server. Clients can request it with stream_options.include_usage.', 'definitions.md#output-tokens', max=1),
        p.chart('Source of token counts', 'reqps', [[q.rate(q.model('streamgauge_token_source_total'), ['type', 'source']), '{{type}} {{source}}']], 'Requests by the source of their token count. Source events: a number of events, which is an approximation.', 'definitions.md#output-tokens'),
      ]),
      p.row('Streams', [
        quantiles('Longest gap of a stream', 'streamgauge_stream_max_gap_seconds', 'Longest time without output, from the first output to the end of the stream.', 'definitions.md#gaps-and-stalls'),
        p.chart('Stalls', 'short', [[q.increase(q.model('streamgauge_stalls_total'), ['gen_ai_request_model']), '{{gen_ai_request_model}}']], 'Gaps over stall_seconds in the last rate interval, counted while they last.', 'definitions.md#gaps-and-stalls'),
        p.chart('Oldest silent stream', 's', [[q.max(q.upstream('streamgauge_oldest_silent_stream_seconds'), ['upstream']), '{{upstream}}']], 'Longest current gap of all running streams that had output. 0 if there is none.', 'definitions.md#gaps-and-stalls'),
        p.chart('Progress of the engine', 's', [
          [q.max(q.upstream('streamgauge_engine_progress_seconds'), ['upstream']), '{{upstream}}'],
          [q.max(q.upstream('streamgauge_engine_progress_limit_seconds'), ['upstream']), '{{upstream}} limit'],
        ], 'Time for which output was due and none came, and the limit beyond which the engine is stuck.', 'definitions.md#progress-of-the-engine'),
        p.chart('Tokens per chunk', 'short', q.quantiles(q.model, 'streamgauge_tokens_per_chunk', percents=[50, 95]), 'Output tokens for each output event. More than 1: speculative decoding, or batching.', 'metrics.md#streamgauge_tokens_per_chunk'),
        p.chart('Burst ratio', 'percentunit', q.quantiles(q.model, 'streamgauge_burst_ratio', percents=[50, 95]), 'Share of the characters in the last tenth of the time. Near 1: the response was held back, or prefill was long.', 'metrics.md#streamgauge_burst_ratio', max=1),
        quantiles('Client stall', 'streamgauge_client_stall_seconds', 'Time in which the client accepted no bytes that were ready. The server does not cause it.', 'metrics.md#streamgauge_client_stall_seconds'),
        p.chart('Finish reasons', 'reqps', [[q.rate(q.model('streamgauge_finish_reasons_total'), ['reason']), '{{reason}}']], 'Ended choices by the finish reason that the server reported. Reason length: the output reached its limit.', 'metrics.md#streamgauge_finish_reasons_total'),
      ]),
      p.row('Audio and unknown APIs', [
        quantiles('Time to first audio', 'streamgauge_time_to_first_audio_seconds', 'Time from the arrival of a request to the first sound of a response that is raw audio.', 'metrics.md#streamgauge_time_to_first_audio_seconds'),
        quantiles('Unknown APIs: time to first event', 'streamgauge_unrecognised_time_to_first_event_seconds', 'Time from the arrival of a request to the first event of a stream of no known API.', 'definitions.md#unknown-apis'),
        quantiles('Unknown APIs: gaps', 'streamgauge_unrecognised_event_gap_seconds', 'Time between two events of a stream of no known API.', 'definitions.md#unknown-apis'),
        quantiles('Unknown APIs: duration', 'streamgauge_unrecognised_stream_duration_seconds', 'Duration of a stream of no known API.', 'definitions.md#unknown-apis'),
      ]),
    ]
  )
