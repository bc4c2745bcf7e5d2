// Builds alerts, each with a link to its runbook and to the dashboard that shows its cause.
function(config) {
  // `settings` is the alert's entry in the configuration. `labels` are those of the result, for summaries and links.
  alert(name, settings, expr, summary, description, dashboard):: {
    alert: name,
    expr: expr,
    'for': settings['for'],
    labels: { severity: settings.severity },
    annotations: {
      summary: summary,
      description: description,
      runbook_url: '%s/runbooks.md#%s' % [config.docsUrl, std.asciiLower(name)],
      dashboard_url: '%s/d/%s' % [config.grafanaUrl, dashboard],
    },
  },

  // Text for a share, for example "5 %".
  percent(share):: '%g %%' % (share * 100),

  // Template of the labels that exist. Alerts of one process have an instance.
  group:: '{{ with $labels.namespace }}{{ . }}/{{ end }}{{ $labels.upstream }}',
  instance:: '{{ with $labels.pod }}{{ . }}{{ else }}{{ $labels.instance }}{{ end }}',
}
