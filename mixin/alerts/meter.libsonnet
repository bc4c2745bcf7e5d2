// Alerts on Streamgauge itself: whether it runs, and whether its numbers can be trusted.
local Alert = import '../lib/alert.libsonnet';
local promql = import '../lib/promql.libsonnet';

{
  local config = $._config,
  local lib = Alert(config),
  local upstream = config.groupLabels + ['upstream'],
  local instance = config.instanceLabels,
  local perUpstream = instance + ['upstream'],
  local select(metric, matchers=[]) = promql.select(config, metric, matchers),
  local increase(metric, matchers, window) = promql.increase(config, upstream, metric, matchers, window),
  local rate(labels, metric, matchers=[], window=config.rateWindow) =
    promql.rate(config, labels, metric, matchers, window),

  // Share of all requests, with a smallest number of events.
  local share(settings, part, whole) = |||
    %(part)s
    /
    %(whole)s > %(share)g
    and
    %(part)s >= %(minimum)d
  ||| % { part: part, whole: whole, share: settings.share, minimum: settings.minimum },
  local unmeasured(settings, matcher) = share(
    settings,
    increase('streamgauge_unparsed_total', [matcher], settings.window),
    increase('streamgauge_requests_total', [], settings.window)
  ),

  prometheusAlerts+:: {
    groups+: [
      {
        name: 'streamgauge-meter-alerts',
        rules: [
          lib.alert(
            'StreamgaugeUsageMissing',
            config.usageMissing,
            share(
              config.usageMissing,
              increase('streamgauge_upstream_usage_coverage_total', ['reported="false"'], config.usageMissing.window),
              increase('streamgauge_upstream_usage_coverage_total', [], config.usageMissing.window)
            ),
            'Responses of ' + lib.group + ' have no token counts',
            '{{ $value | humanizePercentage }} of the complete responses of the last %s had no token count of the server. Their output events are counted instead.' %
            config.usageMissing.window,
            'streamgauge-sidecar'
          ),
          lib.alert(
            'StreamgaugeUnparsed',
            config.unparsed,
            unmeasured(config.unparsed, 'reason!="unrecognised"'),
            'Responses of ' + lib.group + ' cannot be measured',
            '{{ printf "%%.2g" $value }} events, bodies or headers for each request of the last %s could not be measured. They were forwarded unchanged.' %
            config.unparsed.window,
            'streamgauge-sidecar'
          ),
          lib.alert(
            'StreamgaugeUnrecognised',
            config.unrecognised,
            unmeasured(config.unrecognised, 'reason="unrecognised"'),
            'Responses of ' + lib.group + ' have an unknown API',
            '{{ $value | humanizePercentage }} of the responses of the last %s had nothing of any known API. They have no TTFT and no tokens.' %
            config.unrecognised.window,
            'streamgauge-sidecar'
          ),
          lib.alert(
            'StreamgaugeMeterDegraded',
            config.meterDegraded,
            |||
              1 - (
                %(fast)s
                /
                %(all)s
              ) > %(share)g
            ||| % {
              fast: rate(instance, 'streamgauge_event_loop_lag_seconds_bucket', ['le="%g"' % config.meterDegraded.lagSeconds]),
              all: rate(instance, 'streamgauge_event_loop_lag_seconds_count'),
              share: config.meterDegraded.share,
            },
            lib.instance + ' gets too little CPU to measure exactly',
            'The event loop reacted more than %gs late to {{ $value | humanizePercentage }} of its heartbeats.' %
            config.meterDegraded.lagSeconds,
            'streamgauge-sidecar'
          ),
          lib.alert(
            'StreamgaugeClockDegraded',
            config.clockDegraded,
            'max by %s (%s) == 1' % [
              promql.by(perUpstream),
              select('streamgauge_clock_info', ['source="program"']),
            ],
            lib.instance + ' measures without timestamps of the kernel',
            'The newest request to {{ $labels.upstream }} was measured by the time of the read. A late read then counts as a late byte.',
            'streamgauge-sidecar'
          ),
          lib.alert(
            'StreamgaugeColdStartsUnjudged',
            config.coldStartsUnjudged,
            'max by %s (%s) == 1' % [
              promql.by(perUpstream),
              select('streamgauge_cold_judgement_suspended'),
            ],
            lib.instance + ' may miss cold starts',
            'A slow request to {{ $labels.upstream }}, after an idle time or a change of model, could not be judged: it may have waited for a load. It counts as warm.',
            'streamgauge-queue'
          ),
          lib.alert(
            'StreamgaugeMeterBlind',
            config.meterBlind,
            |||
              %(bytes)s > %(limit)g
              unless
              %(characters)s > 0
              unless
              %(tokens)s > 0
              unless
              %(audio)s > 0
            ||| % {
              bytes: rate(perUpstream, 'streamgauge_bytes_total', ['direction="down"'], config.meterBlind.window),
              limit: config.meterBlind.bytesPerSecond,
              characters: rate(perUpstream, 'streamgauge_output_characters_total', [], config.meterBlind.window),
              tokens: rate(perUpstream, 'streamgauge_tokens_total', [], config.meterBlind.window),
              audio: rate(perUpstream, 'streamgauge_time_to_first_audio_seconds_count', [], config.meterBlind.window),
            },
            lib.instance + ' forwards responses of {{ $labels.upstream }}, but measures nothing in them',
            '{{ $value | humanize }}B/s were forwarded over the last %s, without a token or character counted.' %
            config.meterBlind.window,
            'streamgauge-sidecar'
          ),
          lib.alert(
            'StreamgaugeRestarts',
            config.restarts,
            |||
              changes(%(start)s[%(window)s]) >= %(minimum)d
              and on %(by)s
              %(info)s
            ||| % {
              start: select('process_start_time_seconds'),
              window: config.restarts.window,
              minimum: config.restarts.minimum,
              by: promql.by(instance),
              info: select('streamgauge_build_info'),
            },
            lib.instance + ' restarts repeatedly',
            'Streamgauge restarted {{ $value }} times in the last %s. Each restart cuts the streams that outlast the shutdown.' %
            config.restarts.window,
            'streamgauge-sidecar'
          ),
          lib.alert(
            'StreamgaugeLogLinesDropped',
            config.logLinesDropped,
            promql.increase(config, instance + ['log'], 'streamgauge_log_dropped_total', [], config.logLinesDropped.window) +
            ' > 0',
            lib.instance + ' drops lines of the log {{ $labels.log }}',
            '{{ $value | humanize }} lines were lost in the last %s.' % config.logLinesDropped.window,
            'streamgauge-sidecar'
          ),
          lib.alert(
            'StreamgaugeReloadFailed',
            config.reloadFailed,
            'max by %s (%s) == 0' % [
              promql.by(instance),
              select('streamgauge_config_last_reload_successful'),
            ],
            lib.instance + ' could not reload its configuration',
            'The configuration or certificates in force are those before the failed reload.',
            'streamgauge-sidecar'
          ),
          lib.alert(
            'StreamgaugeTargetDown',
            config.targetDown,
            'max by %s (up{%s}) == 0' % [promql.by(instance), config.targetSelector],
            lib.instance + ' cannot be scraped',
            'Prometheus cannot scrape the admin port of this Streamgauge. All other alerts lack its data.',
            'streamgauge-sidecar'
          ),
        ],
      },
    ],
  },
}
