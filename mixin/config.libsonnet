// Settings of the mixin. Override them in your own file:
//
//     (import 'streamgauge-mixin/mixin.libsonnet') { _config+:: { docsUrl: 'https://wiki.example.com/streamgauge' } }
{
  _config+:: {
    // Label matchers that every query has, for example 'cluster="a"'. Needed only if several installations share one
    // Prometheus.
    selector: '',
    // Scrape jobs of Streamgauge, for the alert on targets that are down.
    targetSelector: 'job=~".*streamgauge.*"',

    // Labels that keep deployments apart. Every rule and alert has them; labels that do not exist are ignored. Pods of a
    // deployment are added up. Add 'pod' to keep each pod apart.
    groupLabels: ['namespace', 'job'],
    // Labels that keep processes apart, for alerts on one process or on its connection to the server.
    instanceLabels: ['namespace', 'job', 'pod', 'instance'],
    // Selectors of the dashboards, before upstream and model.
    dashboardLabels: ['namespace', 'pod', 'instance'],

    // Address of the folder docs/, for the links of panels and runbooks.
    docsUrl: 'https://streamgauge.example.com/docs',
    // Address of Grafana, for the links of alerts. Empty: links relative to Grafana's address.
    grafanaUrl: '',
    dashboardTags: ['llm', 'inference', 'streamgauge'],
    dashboardRefresh: '30s',
    dashboardTimezone: 'browser',

    // Window of the recorded rates: at least four scrape intervals.
    rateWindow: '5m',

    slo: {
      // Share of the decided requests that shall meet their SLO.
      objective: 0.99,
      // Smallest number of missed requests in the long window for which an alert fires.
      minimumMisses: 5,
      // Burn rate 1 uses up the error budget in the period of the objective. An alert fires if a long and a short window
      // both exceed the factor. The factors fit a period of 30 days.
      fast: { 'for': '2m', severity: 'critical', windows: [
        { long: '1h', short: '5m', factor: 14.4 },
        { long: '6h', short: '30m', factor: 6 },
      ] },
      slow: { 'for': '15m', severity: 'warning', windows: [
        { long: '1d', short: '2h', factor: 3 },
        { long: '3d', short: '6h', factor: 1 },
      ] },
    },

    // p95 of the last rate window, compared with p95 of a longer window before. `offset` keeps the change itself out of the
    // baseline.
    ttft: { 'for': '10m', severity: 'warning', factor: 2, minimumIncreaseSeconds: 0.25 } + self.baseline,
    tpot: { 'for': '10m', severity: 'warning', factor: 1.5, minimumIncreaseSeconds: 0.01 } + self.baseline,
    baseline: { window: '1d', offset: '1h', minimumSamples: 20, minimumBaselineSamples: 200 },

    queueGrowing: { 'for': '5m', severity: 'warning', waitSeconds: 5, window: '5m', growth: 1.1 },
    requestsRejected: { 'for': '10m', severity: 'warning', window: '10m', share: 0.05, minimum: 5 },
    coldStarts: { 'for': '0s', severity: 'warning', window: '1h', minimum: 4 },
    stalls: { 'for': '5m', severity: 'warning', window: '10m', share: 0.05, minimum: 5 },
    streamsFail: { 'for': '5m', severity: 'warning', window: '10m', share: 0.02, minimum: 5 },
    upstreamDown: { 'for': '2m', severity: 'critical' },
    // Output is due for longer than the limit that Streamgauge learned. While it has learned none: requests wait for
    // `window` while nothing is generated.
    engineSilent: { 'for': '1m', severity: 'critical', window: '5m' },
    upstreamRestarts: { 'for': '0s', severity: 'warning', window: '1h', minimum: 2 },
    usageMissing: { 'for': '30m', severity: 'info', window: '30m', share: 0.2, minimum: 20 },
    unparsed: { 'for': '15m', severity: 'warning', window: '15m', share: 0.01, minimum: 5 },
    unrecognised: { 'for': '15m', severity: 'warning', window: '15m', share: 0.05, minimum: 5 },
    // `lagSeconds` is an edge of the bucket set own_cost.
    meterDegraded: { 'for': '15m', severity: 'warning', lagSeconds: 0.01, share: 0.05 },
    clockDegraded: { 'for': '15m', severity: 'info' },
    // Judgement resumes when enough other requests show what is usual.
    coldStartsUnjudged: { 'for': '1h', severity: 'info' },
    meterBlind: { 'for': '15m', severity: 'warning', window: '10m', bytesPerSecond: 1000 },
    restarts: { 'for': '0s', severity: 'warning', window: '1h', minimum: 3 },
    logLinesDropped: { 'for': '0s', severity: 'warning', window: '15m' },
    reloadFailed: { 'for': '5m', severity: 'warning' },
    targetDown: { 'for': '5m', severity: 'critical' },
  },
}
