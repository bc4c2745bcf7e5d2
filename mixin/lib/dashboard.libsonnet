// Builds a dashboard: selectors, links, annotations and rows of panels.
local Panels = import 'panels.libsonnet';
local Queries = import 'queries.libsonnet';

function(config) {
  local panels = Panels(config),
  local queries = Queries(config),
  local datasource = { type: 'prometheus', uid: '${datasource}' },

  // A selector with the values of a label. Each selector offers only values that fit the ones before it.
  local selector(name, label, text, series, description) = {
    name: name,
    label: text,
    description: description,
    type: 'query',
    datasource: datasource,
    definition: self.query.query,
    query: { qryType: 1, query: 'label_values(%s, %s)' % [series, label], refId: name },
    includeAll: true,
    multi: true,
    allValue: '.*',
    current: { selected: true, text: ['All'], value: ['$__all'] },
    refresh: 2,
    sort: 1,
  },
  local selectors(hasModel) =
    [{
      name: 'datasource',
      label: 'Data source',
      description: 'The Prometheus that scrapes Streamgauge.',
      type: 'datasource',
      query: 'prometheus',
      current: {},
      refresh: 1,
    }] +
    std.mapWithIndex(
      function(index, label)
        local before = ['%s=~"$%s"' % [other, other] for other in config.dashboardLabels[:index]];
        local matchers = (if config.selector == '' then [] else [config.selector]) + before;
        selector(
          label,
          label,
          std.asciiUpper(label[0]) + label[1:],
          'streamgauge_build_info' + (if matchers == [] then '' else '{%s}' % std.join(', ', matchers)),
          'Values of the label %s.' % label
        ),
      config.dashboardLabels
    ) +
    [selector(
      'upstream',
      'upstream',
      'Upstream',
      queries.process('streamgauge_upstream_requests_total'),
      'The inference server, by its configured name.'
    )] +
    (if hasModel then [selector(
       'model',
       'gen_ai_request_model',
       'Model',
       queries.upstream('streamgauge_requests_total'),
       'The requested model. "other" has failed requests and models beyond the limit on label values.'
     )] else []),

  local annotation(name, color, expr, title) = {
    name: name,
    datasource: datasource,
    enable: true,
    iconColor: color,
    expr: expr,
    titleFormat: title,
    step: '15s',
  },

  // `name` ends the uid and the file name.
  dashboard(name, title, description, rows, hasModel=true):: {
    uid: 'streamgauge-' + name,
    title: title,
    description: description,
    tags: config.dashboardTags,
    schemaVersion: 39,
    version: 1,
    editable: true,
    graphTooltip: 1,
    refresh: config.dashboardRefresh,
    time: { from: 'now-1h', to: 'now' },
    timezone: config.dashboardTimezone,
    timepicker: {},
    links: [{
      title: 'Streamgauge',
      type: 'dashboards',
      tags: ['streamgauge'],
      asDropdown: true,
      includeVars: true,
      keepTime: true,
    }],
    templating: { list: selectors(hasModel) },
    annotations: { list: [
      {
        builtIn: 1,
        datasource: { type: 'grafana', uid: '-- Grafana --' },
        enable: true,
        hide: true,
        iconColor: 'rgba(0, 211, 255, 1)',
        name: 'Annotations & Alerts',
        type: 'dashboard',
      },
      annotation(
        'Cold starts',
        'blue',
        queries.increase(
          queries.upstream('streamgauge_upstream_cold_starts_total'), ['upstream', 'reason'], '$__rate_interval'
        ) + ' > 0',
        'Cold start of {{upstream}}: {{reason}}'
      ),
      annotation(
        'Outages',
        'red',
        queries.min(queries.upstream('streamgauge_upstream_up'), ['upstream']) + ' == 0',
        '{{upstream}} is down'
      ),
    ] },
    panels: panels.layout(rows),
  },
}
