// Parts of PromQL expressions for rules and alerts.
{
  // Seconds of a duration such as '5m'.
  seconds(duration)::
    local units = { s: 1, m: 60, h: 3600, d: 86400, w: 604800 };
    local end = std.length(duration) - 1;
    std.parseInt(std.substr(duration, 0, end)) * units[duration[end]],

  // A selector with the matchers of the configuration.
  select(config, metric, matchers=[])::
    local all = (if config.selector == '' then [] else [config.selector]) + matchers;
    if all == [] then metric else '%s{%s}' % [metric, std.join(', ', all)],

  by(labels):: '(%s)' % std.join(', ', labels),

  // Sum of the rates of a counter, by labels.
  rate(config, labels, metric, matchers=[], window=config.rateWindow)::
    'sum by %s (rate(%s[%s]))' % [self.by(labels), self.select(config, metric, matchers), window],

  // Sum of the increases of a counter, by labels.
  increase(config, labels, metric, matchers=[], window=config.rateWindow)::
    'sum by %s (increase(%s[%s]))' % [self.by(labels), self.select(config, metric, matchers), window],
}
