// Alerts on the inference server: queue, rejections, cold starts, stalls, failures, availability.
local Alert = import '../lib/alert.libsonnet';
local promql = import '../lib/promql.libsonnet';

{
  local config = $._config,
  local lib = Alert(config),
  local upstream = config.groupLabels + ['upstream'],
  local instance = config.instanceLabels + ['upstream'],
  local select(metric, matchers=[]) = promql.select(config, metric, matchers),
  local increase(metric, matchers, window) = promql.increase(config, upstream, metric, matchers, window),

  // Share of the inference requests, with a smallest number of events.
  local share(settings, metric, matchers) = |||
    %(part)s
    /
    %(whole)s > %(share)g
    and
    %(part)s >= %(minimum)d
  ||| % {
    part: increase(metric, matchers, settings.window),
    whole: increase('streamgauge_upstream_requests_total', [], settings.window),
    share: settings.share,
    minimum: settings.minimum,
  },

  local inference = 'gen_ai_operation_name!~"tokenize|replay|other"',

  prometheusAlerts+:: {
    groups+: [
      {
        name: 'streamgauge-server-alerts',
        rules: [
          lib.alert(
            'StreamgaugeQueueGrowing',
            config.queueGrowing,
            |||
              avg_over_time(%(wait)s[%(window)s]) > %(seconds)g
              and
              avg_over_time(%(wait)s[%(window)s]) > %(growth)g * avg_over_time(%(wait)s[%(window)s] offset %(window)s)
            ||| % config.queueGrowing {
              wait: 'upstream_model:streamgauge_estimated_wait_seconds:avg',
              seconds: config.queueGrowing.waitSeconds,
            },
            'The queue of {{ $labels.gen_ai_request_model }} on ' + lib.group + ' grows',
            'A new request would wait for {{ $value | humanizeDuration }} in the queue of the server, and this time grows.',
            'streamgauge-queue'
          ),
          lib.alert(
            'StreamgaugeRequestsRejected',
            config.requestsRejected,
            share(config.requestsRejected, 'streamgauge_upstream_requests_total', ['outcome=~"rejected|proxy_rejected"']),
            lib.group + ' rejects requests',
            '{{ $value | humanizePercentage }} of the inference requests of the last %s were rejected with 429 or 503.' %
            config.requestsRejected.window,
            'streamgauge-queue'
          ),
          lib.alert(
            'StreamgaugeColdStartsFrequent',
            config.coldStarts,
            // A boot is a new pod, and so is no reason to worry.
            increase('streamgauge_upstream_cold_starts_total', ['reason!="boot"'], config.coldStarts.window) +
            ' >= %d' % config.coldStarts.minimum,
            lib.group + ' starts cold too often',
            '{{ $value | humanize }} cold starts in the last %s, boots not counted. Requests that wait for one have start="cold".' %
            config.coldStarts.window,
            'streamgauge-queue'
          ),
          lib.alert(
            'StreamgaugeStalls',
            config.stalls,
            share(config.stalls, 'streamgauge_upstream_stalls_total', []),
            'Streams of ' + lib.group + ' stall',
            '{{ printf "%%.2g" $value }} stalls for each inference request in the last %s. A stall is a gap over stall_seconds.' %
            config.stalls.window,
            'streamgauge-model'
          ),
          lib.alert(
            'StreamgaugeStreamsFail',
            config.streamsFail,
            share(config.streamsFail, 'streamgauge_upstream_requests_total', ['outcome=~"truncated|stream_error"']),
            'Responses of ' + lib.group + ' break off or end with an error',
            '{{ $value | humanizePercentage }} of the inference requests of the last %s ended as truncated or stream_error.' %
            config.streamsFail.window,
            'streamgauge-overview'
          ),
          lib.alert(
            'StreamgaugeUpstreamDown',
            config.upstreamDown,
            'min by %s (%s) == 0' % [promql.by(instance), select('streamgauge_upstream_up')],
            lib.group + ' is down',
            lib.instance + ' found the server not ready, at the last probe or request.',
            'streamgauge-queue'
          ),
          lib.alert(
            'StreamgaugeEngineSilent',
            config.engineSilent,
            |||
              (
                max by %(by)s (%(due)s - %(limit)s) > 0
                or
                (
                  min_over_time((sum by %(by)s (%(waiting)s))[%(window)s:]) > 0
                  unless
                  sum by %(by)s (rate(%(characters)s[%(window)s])) > 0
                  unless
                  sum by %(by)s (rate(%(ended)s[%(window)s])) > 0
                )
              )
              and
              min by %(by)s (%(up)s) == 1
            ||| % {
              by: promql.by(instance),
              due: select('streamgauge_engine_progress_seconds'),
              limit: select('streamgauge_engine_progress_limit_seconds'),
              waiting: select('streamgauge_in_flight_requests', ['phase="waiting"', inference]),
              window: config.engineSilent.window,
              characters: select('streamgauge_output_characters_total'),
              ended: select('streamgauge_upstream_requests_total', ['outcome="ok"']),
              up: select('streamgauge_upstream_up'),
            },
            lib.group + ' generates nothing, but is healthy',
            lib.instance + ': output is due for longer than the limit, or requests waited for %s without any output of the server. The server still accepts connections.' %
            config.engineSilent.window,
            'streamgauge-queue'
          ),
          lib.alert(
            'StreamgaugeUpstreamRestarts',
            config.upstreamRestarts,
            increase('streamgauge_upstream_cold_starts_total', ['reason="restarted"'], config.upstreamRestarts.window) +
            ' >= %d' % config.upstreamRestarts.minimum,
            lib.group + ' restarts repeatedly',
            '{{ $value | humanize }} restarts of the server in the last %s.' % config.upstreamRestarts.window,
            'streamgauge-queue'
          ),
        ],
      },
    ],
  },
}
