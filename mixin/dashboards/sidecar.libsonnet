// Streamgauge itself: what it costs, and whether its numbers can be trusted.
local Dashboard = import '../lib/dashboard.libsonnet';
local Panels = import '../lib/panels.libsonnet';
local Queries = import '../lib/queries.libsonnet';

function(config)
  local p = Panels(config);
  local q = Queries(config);
  local perInstance = config.instanceLabels;
  local legend = '{{pod}} {{instance}}';
  local on = ' and on (%s) ' % std.join(', ', perInstance);
  // Metrics of the process have the same names in every program, so they are joined with the build information.
  local own(expr) = expr + on + q.process('streamgauge_build_info');
  local lag = 'streamgauge_event_loop_lag_seconds';
  local doc(metric) = 'metrics.md#' + metric;
  // A chart of the rate of a counter.
  local rate(title, select, metric, by, text) =
    p.chart(title, 'cps', [[q.rate(select(metric), by), std.join(' ', ['{{%s}}' % label for label in by])]], text, doc(metric));

  Dashboard(config).dashboard(
    'sidecar',
    'Streamgauge / Sidecar',
    'Streamgauge itself: its cost, and whether its numbers can be trusted.',
    [
      p.row('Cost', [
        p.stat('Versions', 'short', [[q.count(q.process('streamgauge_build_info'), ['version']), '{{version}}']], 'Scraped instances, by version.', doc('streamgauge_build_info'), width=6, noValue='None'),
        p.stat('Own delay p99', 's', [[q.quantile(0.99, q.upstream('streamgauge_forwarding_delay_seconds_bucket')), '']], 'Time from the arrival of response bytes to their write to the client.', 'definitions.md#intervals', width=6),
        p.stat('Not measured', 'cps', [[q.rate(q.upstream('streamgauge_unparsed_total')), '']], 'Events, bodies and headers per second that could not be measured. They were forwarded unchanged.', 'definitions.md#what-cannot-be-measured', width=6, thresholds=['green', [0.01, 'orange']]),
        p.stat('Last reload', 'bool_yes_no', [[q.min(q.process('streamgauge_config_last_reload_successful')), '']], 'Whether the last reload of the configuration succeeded, on all instances.', doc('streamgauge_config_last_reload_successful'), width=6, thresholds=['red', [1, 'green']]),
        p.chart('Own delay', 's', q.quantiles(q.upstream, 'streamgauge_forwarding_delay_seconds', percents=[50, 99, 99.9]), 'Time from the arrival of response bytes (kernel timestamp) to their completed write to the client.', 'definitions.md#intervals'),
        p.chart('CPU', 'short', [[own('rate(%s[$__rate_interval])' % q.process('process_cpu_seconds_total')), legend]], 'CPU time per second of each process; 1 is one core.', doc('streamgauge-itself')),
        p.chart('Memory', 'bytes', [[own(q.process('process_resident_memory_bytes')), legend]], 'Resident memory of each process.', doc('streamgauge-itself')),
      ]),
      p.row('Trust', [
        p.chart('Event-loop lag', 's', q.quantiles(q.process, lag, percents=[50, 99, 99.9]), 'Delay of a worker in reacting to a heartbeat. Bytes that arrive wait equally long before they are read.', doc(lag)),
        p.chart('Heartbeats later than 1 ms', 'percentunit', [['1 - %s / %s' % [q.rate(q.process(lag + '_bucket', ['le="0.001"']), perInstance), q.rate(q.process(lag + '_count'), perInstance)], legend]], 'Share of the heartbeats with a lag over 1 ms. Values of requests at such times can be marked degraded in the request log.', 'definitions.md#how-exact-the-instants-are', max=1),
        p.chart('Throttled', 'percentunit', [['rate(%s[$__rate_interval])' % q.process('streamgauge_throttled_seconds_total'), legend]], 'Share of the time in which the CPU limit of the container stopped threads.', doc('streamgauge_throttled_seconds_total')),
        p.chart('CPU pressure', 'percentunit', [['rate(%s[$__rate_interval])' % q.process('streamgauge_cpu_pressure_seconds_total'), legend]], 'Share of the time in which a thread waited for a CPU.', doc('streamgauge_cpu_pressure_seconds_total')),
        rate('Not measured, by reason', q.upstream, 'streamgauge_unparsed_total', ['upstream', 'reason'], 'Events, bodies and headers that could not be measured. They were forwarded unchanged.'),
        p.chart('Unknown APIs', 'Bps', [[q.rate(q.upstream('streamgauge_unrecognised_bytes_total'), ['upstream']), '{{upstream}}']], 'Bytes of responses of no known API.', 'definitions.md#unknown-apis'),
        p.chart('Clock', 'short', [[q.sum(q.upstream('streamgauge_clock_info'), ['source']), '{{source}}']], 'Upstreams by the clock of their newest request: timestamps of the kernel, or the time of the read.', doc('streamgauge_clock_info')),
        rate('Negative intervals', q.upstream, 'streamgauge_clamped_total', ['interval'], 'Negative intervals that were recorded as 0. Differences between two clocks cause them.'),
        rate('Models beyond the limit', q.process, 'streamgauge_label_overflow_total', ['label'], 'Times that a label value was replaced by other. Raise max_models if this rises.'),
      ]),
      p.row('Connections and limits', [
        p.chart('Body bytes', 'Bps', [[q.rate(q.upstream('streamgauge_bytes_total'), ['direction']), '{{direction}}']], 'Bytes of request bodies (up) and response bodies (down).', doc('streamgauge_bytes_total')),
        p.chart('Time to connect', 's', q.quantiles(q.upstream, 'streamgauge_upstream_connect_seconds'), 'Time to open a connection to the upstream. Pooled connections are not counted.', doc('streamgauge_upstream_connect_seconds')),
        rate('Sent again', q.upstream, 'streamgauge_upstream_resends_total', ['upstream'], 'Requests that were sent again, because a pooled connection was closed before a byte was written.'),
        rate('Limits of the proxy', q.upstream, 'streamgauge_limit_exceeded_total', ['limit'], 'Times that a client or the server exceeded a limit.'),
        rate('Limits of the admin port', q.process, 'streamgauge_admin_limit_exceeded_total', ['limit'], 'Times that a client of the admin port exceeded a limit.'),
        rate('Rejected requests', q.upstream, 'streamgauge_rejected_requests_total', ['reason'], 'Requests that violate a rule of HTTP or a limit.'),
        rate('Contradictory lengths', q.upstream, 'streamgauge_conflicting_responses_total', ['upstream'], 'Responses with both Content-Length and Transfer-Encoding.'),
        p.chart('Open files', 'short', [[own(q.process('process_open_fds')), legend]], 'Open file descriptors of each process. Each connection uses one.', doc('streamgauge-itself')),
      ]),
      p.row('Configuration and logs', [
        rate('Log lines dropped', q.process, 'streamgauge_log_dropped_total', ['log'], 'Log lines that were lost. The output is full, closed or too slow.'),
        p.chart('Time since the last reload', 's', [['time() - ' + q.process('streamgauge_config_last_reload_success_timestamp_seconds'), legend]], 'Time since the last successful reload, or since the start.', doc('streamgauge_config_last_reload_success_timestamp_seconds')),
        p.chart('Uptime', 's', [[own('time() - ' + q.process('process_start_time_seconds')), legend]], 'Time since the start of each process.', doc('streamgauge-itself')),
        p.table('Upstreams', 'short', [[q.max(q.upstream('streamgauge_upstream_info'), ['upstream', 'engine']), 'known']], ['upstream', 'engine'], 'The engine of each upstream, as configured or detected.', doc('streamgauge_upstream_info'), width=24),
      ]),
    ],
    hasModel=false
  )
