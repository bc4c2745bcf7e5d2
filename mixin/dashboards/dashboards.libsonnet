// All dashboards, by file name.
{
  local config = $._config,
  grafanaDashboards+:: {
    'streamgauge-overview.json': (import 'overview.libsonnet')(config),
    'streamgauge-model.json': (import 'model.libsonnet')(config),
    'streamgauge-queue.json': (import 'queue.libsonnet')(config),
    'streamgauge-slo.json': (import 'slo.libsonnet')(config),
    'streamgauge-sidecar.json': (import 'sidecar.libsonnet')(config),
  },
}
