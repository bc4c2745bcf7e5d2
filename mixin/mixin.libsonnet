// Dashboards, recording rules and alerts for Streamgauge, in the layout of monitoring-mixins.
(import 'config.libsonnet') +
(import 'rules/rules.libsonnet') +
(import 'alerts/slo.libsonnet') +
(import 'alerts/server.libsonnet') +
(import 'alerts/meter.libsonnet') +
(import 'dashboards/dashboards.libsonnet')
