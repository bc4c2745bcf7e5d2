// Panels of Grafana dashboards, and their places. A target is an array of an expression and a legend.
function(config) {
  local datasource = { type: 'prometheus', uid: '${datasource}' },
  local targets(list, options={}) = std.mapWithIndex(
    function(index, target) {
      datasource: datasource,
      expr: target[0],
      legendFormat: target[1],
      refId: std.char(std.codepoint('A') + index),
    } + options,
    list
  ),
  local panel(type, title, unit, list, text, doc) = {
    type: type,
    title: title,
    description: '%s [Definition](%s/%s).' % [text, config.docsUrl, doc],
    datasource: datasource,
    targets: targets(list),
    fieldConfig: { defaults: { unit: unit, noValue: 'No traffic' }, overrides: [] },
  },

  // A chart over time.
  chart(title, unit, list, text, doc, width=8, stacked=false, min=0, max=null)::
    panel('timeseries', title, unit, list, text, doc) {
      size:: { w: width, h: 8 },
      fieldConfig+: { defaults+: {
        color: { mode: 'palette-classic' },
        min: min,
        [if max != null then 'max']: max,
        custom: {
          drawStyle: 'line',
          fillOpacity: if stacked then 30 else 10,
          lineWidth: 1,
          showPoints: 'never',
          spanNulls: false,
          stacking: { group: 'A', mode: if stacked then 'normal' else 'none' },
        },
      } },
      options: {
        legend: { calcs: ['lastNotNull', 'max'], displayMode: 'table', placement: 'bottom', showLegend: true },
        tooltip: { mode: 'multi', sort: 'desc' },
      },
    },

  // The newest value as a number. Thresholds are pairs of a value and a color; the first color has no value.
  stat(title, unit, list, text, doc, width=4, thresholds=['text'], noValue='No traffic', decimals=null)::
    panel('stat', title, unit, list, text, doc) {
      size:: { w: width, h: 4 },
      fieldConfig+: { defaults+: {
        noValue: noValue,
        [if decimals != null then 'decimals']: decimals,
        color: { mode: 'thresholds' },
        thresholds: { mode: 'absolute', steps: [{ color: thresholds[0], value: null }] + [
          { value: step[0], color: step[1] }
          for step in thresholds[1:]
        ] },
      } },
      options: {
        colorMode: 'value',
        graphMode: 'area',
        justifyMode: 'auto',
        orientation: 'auto',
        reduceOptions: { calcs: ['lastNotNull'], fields: '', values: false },
        textMode: 'auto',
      },
    },

  // A histogram over time. The expression has the label `le`.
  heatmap(title, unit, expr, text, doc, width=12)::
    panel('heatmap', title, unit, [[expr, '{{le}}']], text, doc) {
      size:: { w: width, h: 8 },
      targets: targets([[expr, '{{le}}']], { format: 'heatmap' }),
      options: {
        calculate: false,
        cellGap: 1,
        color: { mode: 'scheme', scheme: 'Oranges', exponent: 0.5, steps: 64, fill: 'dark-orange', scale: 'exponential' },
        filterValues: { le: 1e-9 },
        legend: { show: true },
        rowsFrame: { layout: 'auto' },
        tooltip: { mode: 'single', yHistogram: true },
        yAxis: { unit: unit },
      },
    },

  // The newest values as rows. Each target is one column, named by its legend; `by` are the other columns.
  table(title, unit, list, by, text, doc, width=24)::
    panel('table', title, unit, list, text, doc) {
      size:: { w: width, h: 8 },
      targets: targets(list, { format: 'table', instant: true }),
      fieldConfig+: {
        overrides: [
          { matcher: { id: 'byName', options: target[1] }, properties: [{ id: 'unit', value: target[2] }] }
          for target in list
          if std.length(target) > 2
        ],
      },
      transformations: [
        { id: 'merge', options: {} },
        { id: 'organize', options: {
          excludeByName: { Time: true },
          indexByName: { [by[i]]: i for i in std.range(0, std.length(by) - 1) },
          renameByName: if std.length(list) == 1 then { Value: list[0][1] } else {
            ['Value #' + std.char(std.codepoint('A') + i)]: list[i][1]
            for i in std.range(0, std.length(list) - 1)
          },
        } },
      ],
      options: { showHeader: true },
    },

  // A row of panels. All but the first row of a dashboard are collapsed.
  row(title, panels):: { title: title, panels: panels },

  // Gives each panel its place: from left to right, and below when a line is full. Panels of a line have one height.
  local place(panels, top) = std.foldl(
    function(state, panel)
      local wraps = state.x + panel.size.w > 24;
      local x = if wraps then 0 else state.x;
      local y = if wraps then state.y + state.height else state.y;
      {
        x: x + panel.size.w,
        y: y,
        height: panel.size.h,
        placed: state.placed + [panel { gridPos: { x: x, y: y, w: panel.size.w, h: panel.size.h } }],
      },
    panels,
    { x: 0, y: top, height: 0, placed: [] }
  ),

  // The panels of a dashboard, with ids.
  layout(rows)::
    local states = std.foldl(
      function(state, row)
        local isFirst = state.panels == [];
        local inside = place(row.panels, state.y + 1);
        local header = {
          type: 'row',
          title: row.title,
          collapsed: !isFirst,
          gridPos: { x: 0, y: state.y, w: 24, h: 1 },
          panels: if isFirst then [] else inside.placed,
        };
        {
          y: if isFirst then inside.y + inside.height else state.y + 1,
          panels: state.panels + [header] + (if isFirst then inside.placed else []),
        },
      rows,
      { y: 0, panels: [] }
    );
    std.mapWithIndex(
      function(index, panel)
        panel { id: index * 100 + 1 } +
        (if panel.type == 'row' then {
           panels: std.mapWithIndex(function(inner, nested) nested { id: index * 100 + inner + 2 }, panel.panels),
         } else {}),
      states.panels
    ),
}
