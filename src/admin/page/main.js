// The live page: reads /live each second while it is visible, and draws it.

import { heatScale, heatmap, heatmapReadout, lines, sparkline, svg } from './charts.js';
import { byId, element, promqlButton, replace, setText } from './dom.js';
import { NONE, age, clock, count, rate, share, text, time, words } from './format.js';
import { causeOf, coldStartsNow, incidents, isUnneeded, latestIncident, many, mergedEvents, unneededText } from './incidents.js';
import { PROMQL } from './promql.js';
import { slowCards } from './slow.js';

const POLL_MS = 1000;
const SLOW_EVERY = 3;
const MAX_LINES = 6;
const FIRST_CARDS = 4;

let live = null;
let slow = { requests: [], now: 0 };
let polls = 0;
let shownCards = FIRST_CARDS;

// Tiles: built once, updated in place, so that a click on a button is never lost.

const lowest = (classes) => classes.filter((one) => one.goodput != null).sort((a, b) => a.goodput - b.goodput)[0];

const MINUTE = 'last minute';
const TEN_SECONDS = 'last 10 s';

const TILES = [
  {
    name: 'TTFT p95', window: MINUTE, hint: 'Time to first token of warm streams', query: PROMQL.ttft,
    number: ({ total }) => time(total.now.ttft_p95_s),
    note: ({ total }) => (total.now.ttft_p95_s == null ? 'no stream ended' : `p50 ${text(time(total.now.ttft_p50_s))}, warm`),
    values: ({ total }) => total.series.ttft_p95_s, isOfEnded: true,
  },
  {
    name: 'Output', window: TEN_SECONDS, hint: 'Output tokens per second', query: PROMQL.tokens,
    number: ({ total }) => rate(total.now.output_tokens_per_s, 'tok/s'),
    note: ({ total }) => `${text(rate(total.now.requests_per_s, 'req/s'))} ending`,
    values: ({ total }) => total.series.output_tokens_per_s,
  },
  {
    name: 'In flight', window: 'now', hint: 'Requests in flight, by phase', query: PROMQL.inFlight,
    number: ({ upstreams }) => count(inFlight(upstreams, ['sending', 'waiting', 'streaming'])),
    note: ({ upstreams }) => `${inFlight(upstreams, ['sending', 'waiting'])} waiting, ${inFlight(upstreams, ['streaming'])} streaming`,
  },
  {
    name: 'Queue wait p95', window: MINUTE, hint: 'Wait in the server\'s queue, and its source. A new request: one that arrives now', query: PROMQL.queue,
    number: ({ total }) => time(total.now.queue_wait_p95_s),
    note: ({ total, upstreams }) => {
      const starting = coldStartsNow(live).map((one) => one.upstream);
      const waits = upstreams.filter((one) => one.state !== 'down' && !starting.includes(one.name)).map((one) => one.estimated_wait_s).filter((wait) => wait != null);
      const next = waits.length ? `; a new request would wait ${text(time(Math.max(...waits)))}` : '';
      return total.now.queue_source ? `${total.now.queue_source}${next}` : 'no waits known';
    },
    values: ({ total }) => total.series.queue_wait_p95_s, isOfEnded: true,
  },
  {
    name: 'Goodput', window: MINUTE, hint: 'Share of requests that met their SLO', query: PROMQL.goodput,
    number: ({ total }) => share(total.now.goodput),
    note: ({ total }) => {
      const worst = lowest(total.slo);
      return worst ? `10 min: ${text(share(worst.goodput))} (${worst.name})` : 'no SLO, or no requests';
    },
    values: ({ total }) => total.series.goodput, highest: 1, isOfEnded: true,
    isBad: ({ total }) => total.now.goodput != null && total.now.goodput < 0.9,
  },
  {
    name: 'Errors', window: TEN_SECONDS, hint: 'Requests that failed by the server or Streamgauge', query: PROMQL.errors,
    number: ({ total }) => rate(total.now.errors_per_s, '/s'),
    note: ({ total }) => `10 min: ${text(count(total.errors))} of ${text(count(total.requests))}`,
    values: ({ total }) => total.series.errors_per_s,
    isBad: ({ total }) => total.now.errors_per_s > 0,
  },
];

/** Whether no server answers: numbers of ended requests are then those of before. */
const allDown = () => live.upstreams.length > 0 && live.upstreams.every((one) => one.state === 'down');
const staleNote = (value) => (value === NONE ? 'no request completed in the last minute' : 'from before the server went down');

function inFlight(upstreams, phases) {
  return upstreams.reduce((sum, one) => sum + phases.reduce((part, phase) => part + one.in_flight[phase], 0), 0);
}

for (const tile of TILES) {
  tile.parts = {
    value: element('span', { class: 'value' }, NONE),
    unit: element('span', { class: 'unit' }),
    note: element('p', { class: 'note' }),
    chart: element('div', { class: 'tile-chart' }),
  };
  const { value, unit, note, chart } = tile.parts;
  tile.box = element('article', { class: 'tile', title: tile.hint },
    element('h3', {}, tile.name, promqlButton(tile.query, tile.name)),
    element('p', { class: 'window' }, tile.values ? `${tile.window}; line: 10 min` : tile.window),
    element('p', { class: 'big' }, value, unit), note, chart);
  byId('tiles').append(tile.box);
}

function drawTiles() {
  for (const { parts, box, number, note, values, highest, isBad, isOfEnded } of TILES) {
    const shown = number(live);
    setText(parts.value, shown.value);
    setText(parts.unit, shown.unit);
    const isStale = Boolean(isOfEnded && allDown());
    setText(parts.note, isStale ? staleNote(shown.value) : note(live));
    box.classList.toggle('of-before', isStale);
    box.classList.toggle('bad', Boolean(isBad?.(live)));
    if (values) parts.chart.replaceChildren(sparkline(values(live), { width: 180, height: 26, highest }));
  }
}

// Header and summary.

const STATES = { up: 'server up', down: 'server down', unneeded: 'no server, not needed,', unknown: 'server not seen yet' };

function drawHeader() {
  const chips = live.upstreams.map((one) => {
    const state = isUnneeded(one) ? 'unneeded' : one.state;
    const since = state === 'unknown' ? STATES.unknown : `${STATES[state]} ${age(live.now - one.since)}`;
    const cause = state === 'down' ? causeOf(one) : '';
    const hangs = one.stuck_s == null ? '' : `, hangs for ${age(one.stuck_s)}`;
    return element('span', { class: `upstream ${hangs ? 'down' : state}` },
      element('i', { class: 'dot' }), element('b', {}, one.name),
      one.engine ? ` ${one.engine}` : '', element('span', { class: 'muted' }, ` ${since}${cause}${hangs}`));
  });
  replace(byId('upstreams'), ...chips);
  const { requests, errors, slo } = live.total;
  const ok = requests ? share(1 - errors / requests) : share(null);
  const budgets = slo.filter((one) => one.budget_left != null);
  const worst = budgets.sort((a, b) => a.budget_left - b.budget_left)[0];
  const left = worst ? Math.max(worst.budget_left, 0) : null;
  const title = worst
    ? `SLO ${worst.name}: ${worst.missed} of ${worst.met + worst.missed} requests missed in ten minutes; ${(1 - worst.objective) * 100} % may`
    : 'No SLO is configured, or no request was judged';
  setText(health.objective, worst ? ` (${text(share(worst.objective))} objective, 10 min)` : ' (10 min)');
  setText(health.ok, text(ok));
  setText(health.budget, text(share(left)));
  health.budget.classList.toggle('bad-text', left === 0);
  health.budget.title = title;
}

const health = { ok: element('b', {}), budget: element('b', {}), objective: element('span', { class: 'muted' }) };
byId('health').append(
  element('span', { title: 'Requests of the last ten minutes that did not fail' },
    'ok ', health.ok, element('span', { class: 'muted' }, ' (10 min)'), promqlButton(PROMQL.okShare, 'the ok share')),
  element('span', {}, 'error budget left ', health.budget, health.objective, promqlButton(PROMQL.budget, 'the error budget')));

/** The first line of the summary: what is wrong now, or what was last. */
function incidentLine() {
  const found = incidents(live, nameOf);
  byId('summary').className = `summary ${found[0]?.level ?? ''}`;
  if (found.length) {
    const also = found.length > 1 ? element('span', { class: 'also' }, ` Also: ${found.slice(1, 3).map((one) => one.text).join('. ')}.`) : '';
    return element('span', { class: `incident ${found[0].level}` }, element('b', {}, `${found[0].text}.`), also);
  }
  const last = latestIncident(live);
  const unneeded = unneededText(live);
  const line = element('span', { class: 'incident' }, element('b', {}, 'No incident now.'), unneeded && ` ${unneeded}`);
  if (last) {
    const place = [live.upstreams.length > 1 ? last.upstream : null, last.model].filter(Boolean).join(' / ');
    line.append(` Latest, ${age(live.now - last.at)} ago: ${place ? `${place}: ` : ''}${last.text.split('. ')[0].replace(/\.$/, '')}. Recovered.`);
  }
  return line;
}

function coldLine() {
  const starting = coldStartsNow(live);
  const [ended, waited] = [live.total.cold_starts, live.ttft_heatmap.cold.length];
  const parts = ended || !starting.length ? [many(ended, 'cold start')] : [];
  if (waited) parts.push(`${many(waited, 'request')} waited for ${ended === 1 ? 'it' : 'them'}`);
  if (starting.length) parts.push(`${ended ? starting.length : many(starting.length, 'cold start')} now, in progress for ${age(live.now - starting[0].since)}`);
  const title = 'A request that arrives later during a cold start waits less than the cold start takes';
  return element('span', { title }, 'In ten minutes: ', element('b', {}, parts.join(', ')));
}

function drawSummary() {
  const { requests, cold_starts: cold } = live.total;
  const isDown = live.upstreams.some((one) => one.state === 'down' && one.is_needed);
  if (!requests && !live.running.total && !cold && !isDown) {
    const example = 'No requests in the last ten minutes. Send one through the proxy, and it appears here at once.';
    byId('summary').className = 'summary';
    replace(byId('summary'), [unneededText(live), example].filter(Boolean).join(' '));
    return;
  }
  const parts = [incidentLine()];
  const slowest = live.models.filter((row) => row.now.ttft_p95_s != null).sort((a, b) => b.now.ttft_p95_s - a.now.ttft_p95_s)[0];
  if (slowest && !allDown()) {
    parts.push(element('span', {}, 'Slowest model, last minute: ', element('b', {}, nameOf(slowest)), ` (TTFT p95 ${text(time(slowest.now.ttft_p95_s))})`));
  }
  parts.push(coldLine());
  const first = [...slow.requests].sort((a, b) => (b.beyond_usual_s ?? 0) - (a.beyond_usual_s ?? 0))[0];
  const whose = first ? ` (${first.model ?? 'unknown model'}${first.is_running ? '' : `, ${age(slow.now - first.started_at)} ago`}): ` : ': ';
  parts.push(element('span', { title: 'The request that lost the most time beyond what is usual for its model. Not always the longest' },
    `Slowest request beyond the usual${whose}`, element('b', {}, first ? first.sentence : 'none was unusually slow')));
  replace(byId('summary'), ...parts);
}

// Charts.

let drawn = null;

function drawHeatmap() {
  const box = byId('heatmap');
  const { ttft_heatmap: map, total } = live;
  const hasData = map.edges_s.length || map.cold.length;
  const starts = map.cold.length;
  const mark = element('span', { class: 'cold-mark' }, '●');
  const most = Math.max(1, ...map.columns.flat());
  const scale = element('span', { class: 'scale' }, 'streams per cell: 1 ', ...(most > 1 ? [heatScale(most), ` ${most}`] : []));
  const cold = starts ? [mark, ` ${many(starts, 'request')} that waited for a cold start`] : ['no request waited for a cold start'];
  replace(byId('heatmap-note'), ...(hasData ? ['warm ', scale, '; ', ...cold] : []));
  if (!hasData) {
    drawn = null;
    replace(box, empty(total.requests ? 'No streams with output in the last ten minutes' : 'No requests in the last ten minutes'));
    return;
  }
  const size = { width: box.clientWidth, height: 230, now: live.now, step: live.step_s, started: live.started_at };
  drawn = { ...heatmap(map, size), size, map };
  readout ??= element('p', { class: 'readout' });
  box.replaceChildren(drawn.box, readout);
}

let readout = null;
byId('heatmap').addEventListener('pointermove', (event) => {
  if (!drawn) return;
  const x = event.clientX - byId('heatmap').getBoundingClientRect().left;
  setText(readout, heatmapReadout(drawn.map, drawn, x, drawn.size));
});
byId('heatmap').addEventListener('pointerleave', () => readout && setText(readout, ''));

/** A model's name, with its upstream if there are several. */
function nameOf(row) {
  return live.upstreams.length > 1 ? `${row.upstream} / ${row.model}` : row.model;
}

function drawTokens() {
  const sum = (row) => row.series.output_tokens_per_s.reduce((total, value) => total + (value ?? 0), 0);
  const rows = live.models.filter((row) => sum(row) > 0).sort((a, b) => sum(b) - sum(a));
  const shown = rows.slice(0, MAX_LINES);
  setColours(live.models.map(nameOf));
  const legend = shown.map((row) => element('span', { class: 'legend-item' },
    legendLine(nameOf(row)), nameOf(row), ' ', element('b', {}, text(rate(row.now.output_tokens_per_s, '')))));
  if (rows.length > shown.length) legend.push(element('span', { class: 'muted' }, `and ${rows.length - shown.length} more`));
  replace(byId('tokens-legend'), ...legend);
  const box = byId('tokens');
  if (!shown.length) return replace(box, empty('No output tokens in the last ten minutes'));
  const series = shown.map((row) => ({ values: row.series.output_tokens_per_s, shade: colours.get(nameOf(row)) }));
  const below = Math.max(0, byId('tokens-legend').offsetHeight - 20);
  return box.replaceChildren(lines(series, { width: box.clientWidth, height: Math.max(150, 224 - below), now: live.now, started: live.started_at }));
}

/** Class of each model's line. A model keeps it while the page is open. */
const colours = new Map();

function setColours(models) {
  const used = new Set(colours.values());
  for (const name of models.filter((one) => !colours.has(one)).sort((a, b) => (a === 'other') - (b === 'other') || (a < b ? -1 : 1))) {
    // The name decides, so that the next visit has the same colours. Further models have dashed lines.
    const start = [...name].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 9973, 7);
    const tries = [0, 1].flatMap((dashed) => [0, 1, 2, 3, 4, 5].map((step) => `colour-${(start + step) % 6}${dashed ? ' dashed' : ''}`));
    const shade = tries.find((one) => !used.has(one)) ?? tries[0];
    colours.set(name, shade);
    used.add(shade);
  }
}

function legendLine(name) {
  return svg('svg', { width: 14, height: 8, 'aria-hidden': 'true' }, svg('path', { d: 'M0,4h14', class: `line ${colours.get(name)}` }));
}

const empty = (content) => element('p', { class: 'empty' }, content);

// Tables.

const cell = (shown) => element('td', { class: 'number' }, shown.value, shown.unit ? element('span', { class: 'unit' }, ` ${shown.unit}`) : '');

/** A number and, behind it, its line over ten minutes. */
function cellWithLine(shown, values, options) {
  const one = cell(shown);
  one.append(element('span', { class: 'line-box', title: 'The last ten minutes' }, sparkline(values, options)));
  return one;
}

// Name, window, PromQL, number, series, whether it is bad, explanation.
const COLUMNS = [
  ['Requests', '10 s', PROMQL.byModel.requests, (row) => rate(row.now.requests_per_s, '/s'), 'requests_per_s'],
  ['TTFT p95', '1 min', PROMQL.byModel.ttft95, (row) => time(row.now.ttft_p95_s), 'ttft_p95_s'],
  ['TTFT p50', '1 min', PROMQL.byModel.ttft50, (row) => time(row.now.ttft_p50_s)],
  ['TPOT p50', '1 min', PROMQL.byModel.tpot, (row) => time(row.now.tpot_p50_s), 'tpot_p50_s'],
  ['Output', '10 s', PROMQL.byModel.tokens, (row) => rate(row.now.output_tokens_per_s, 'tok/s'), 'output_tokens_per_s'],
  ['Queue p95', '1 min', PROMQL.byModel.queue, (row) => time(row.now.queue_wait_p95_s), 'queue_wait_p95_s', null, 'Wait in the server\'s queue'],
  ['Goodput', '1 min', PROMQL.byModel.goodput, (row) => share(row.now.goodput), 'goodput', (row) => row.now.goodput != null && row.now.goodput < 0.9],
  ['Errors', '10 min', PROMQL.byModel.errors, (row) => count(row.errors), null, (row) => row.errors > 0],
  ['Cold starts', '10 min', PROMQL.byModel.cold, (row) => count(row.cold_starts), null, (row) => row.cold_starts > 0],
  ['Slots', 'now', PROMQL.byModel.slots, (row) => count(row.slots), null, null, 'Requests that the server processes at once, as inferred from the traffic. –: not known'],
];

const modelsBody = element('tbody');
byId('models').append(
  element('thead', {}, element('tr', {}, element('th', {}, 'Model'), ...COLUMNS.map(([name, window, query, , series, , title]) =>
    element('th', { class: series ? 'number has-line' : 'number', title }, name, promqlButton(query, name), element('small', {}, window))))),
  modelsBody);

const OTHER = 'Requests without a known model: most failed before the server named one, or named a model that it does not have';

function drawModels() {
  const isSampled = live.total.is_sampled;
  const down = live.upstreams.filter((one) => one.state === 'down').map((one) => one.name);
  const isBefore = live.models.some((row) => down.includes(row.upstream));
  setText(byId('models-note'), isBefore ? 'the server is down: pale numbers are from before; –: no request completed in the last minute' : isSampled ? 'latencies are of a sample: more requests ended than are kept' : 'each number with its window; the line behind it: ten minutes');
  if (!live.models.length) {
    replace(modelsBody, element('tr', {}, element('td', { colspan: 11 }, empty('No requests in the last ten minutes'))));
    return;
  }
  const slowest = Math.max(...live.models.map((row) => row.now.ttft_p95_s ?? 0));
  replace(modelsBody, ...live.models.map((row) => {
    const isStale = down.includes(row.upstream);
    const cells = COLUMNS.map(([name, window, , value, series, isBad]) => {
      const one = series ? cellWithLine(value(row), row.series[series], series === 'goodput' ? { highest: 1 } : {}) : cell(value(row));
      if (isStale && window === '1 min') one.classList.add('of-before');
      if (isBad?.(row)) one.classList.add('bad-text');
      if (name === 'TTFT p95' && live.models.length > 1 && row.now.ttft_p95_s === slowest && slowest > 0) one.classList.add('highest');
      return one;
    });
    const title = [`${row.upstream} / ${row.model}`, row.model === 'other' ? OTHER : '', isStale ? 'The server is down: numbers of ended requests are from before' : ''];
    return element('tr', {},
      element('th', { scope: 'row', title: title.filter(Boolean).join('\n') }, nameOf(row)), ...cells);
  }));
  const scroll = byId('models').parentElement;
  byId('models-hint').hidden = scroll.scrollWidth <= scroll.clientWidth + 1;
}

const EVENT_NAMES = {
  cold_start: 'cold start', down: 'down', up: 'up', hang: 'hang', stall: 'stall', rejections: 'rejected', failures: 'failed', reload: 'reload',
};

function drawEvents() {
  const items = mergedEvents(live).map((event) => {
    const place = [live.upstreams.length > 1 ? event.upstream : null, event.model].filter(Boolean).join(' / ');
    const shade = event.kind === 'down' && event.count === 0 ? 'unneeded' : event.kind;
    return element('li', { class: shade, title: event.details },
      element('time', { title: `${age(live.now - event.at)} ago` }, clock(event.at)),
      element('span', { class: 'kind' }, event.isOver && event.count !== 0 ? 'outage' : EVENT_NAMES[event.kind] ?? event.kind),
      element('span', {}, place ? element('b', {}, `${place} `) : '', event.text));
  });
  replace(byId('events'), ...(items.length ? items : [element('li', { class: 'none' }, empty('Nothing happened since the start'))]));
}

const head = (...names) => element('thead', {}, element('tr', {}, ...names.map((name) =>
  element('th', { class: name.startsWith('#') ? 'number' : '' }, name.replace('#', '')))));

function drawRunning() {
  const { total, oldest } = live.running;
  setText(byId('running-note'), total > oldest.length ? `${oldest.length} oldest of ${text(count(total))}` : total ? `${total} requests, oldest first` : '');
  if (!oldest.length) return replace(byId('running'), element('tbody', {}, element('tr', {}, element('td', {}, empty('No request is running')))));
  const rows = oldest.map((one) => element('tr', {},
    element('td', { title: `request ${one.id}` }, one.model ?? NONE),
    element('td', {}, element('span', { class: `phase ${one.phase}` }, one.phase)),
    cell(time(one.age_s)), cell(count(one.output_events)), cell(time(one.silence_s))));
  return replace(byId('running'), head('Model', 'Phase', '#Age', '#Output events', '#Silent for'), element('tbody', {}, ...rows));
}

function drawNewest() {
  if (!live.newest.length) return replace(byId('newest'), element('tbody', {}, element('tr', {}, element('td', {}, empty('No request has ended')))));
  const rows = live.newest.map((one) => {
    const outcome = one.outcome === 'ok' && one.cold ? 'ok, cold' : words(one.outcome);
    const shade = one.is_error || one.is_good === false ? 'bad-text' : '';
    return element('tr', {},
      element('td', { class: 'when', title: `request ${one.id}` }, clock(one.ended_at)),
      element('td', {}, one.model),
      element('td', { class: shade }, one.is_good === false && !one.is_error ? `${outcome}, SLO missed` : outcome),
      cell(time(one.ttft_s)), cell(time(one.duration_s)), cell(count(one.output_tokens)));
  });
  return replace(byId('newest'), head('Ended', 'Model', 'Outcome', '#TTFT', '#Duration', '#Tokens out'), element('tbody', {}, ...rows));
}

const more = element('button', { class: 'more', type: 'button' });
more.addEventListener('click', () => {
  shownCards = shownCards === FIRST_CARDS ? 100 : FIRST_CARDS;
  drawSlow();
});
const cards = element('div', { class: 'cards' });
byId('slow').append(cards, more);

function drawSlow() {
  const total = slow.requests.length;
  const none = live?.total.requests ? 'No request was unusually slow in the last ten minutes' : 'No requests in the last ten minutes';
  replace(cards, ...(total ? slowCards(slow, shownCards) : [empty(none)]));
  more.hidden = total <= FIRST_CARDS;
  setText(more, shownCards === FIRST_CARDS ? `Show ${total - FIRST_CARDS} more` : 'Show fewer');
}

// Footer: Streamgauge itself.

const OWN = [
  ['forwarding delay p50', null, (own) => time(own.forwarding_p50_s)],
  ['p99', PROMQL.delay, (own) => time(own.forwarding_p99_s)],
  ['token usage reported', PROMQL.coverage, (own) => share(own.usage_coverage)],
  ['unparsed', PROMQL.unparsed, (own) => count(own.unparsed)],
  ['log lines dropped', PROMQL.dropped, (own) => count(own.dropped_lines)],
  ['timing uncertain', null, (own) => share(own.degraded), 'Share of requests, in ten minutes, with a number that a delay of Streamgauge may have affected'],
].map(([name, query, value, title]) => ({ name, query, value, title, box: element('b', {}) }));
const version = element('span', { class: 'muted' });
byId('own').append(element('span', { class: 'muted' }, 'Streamgauge itself:'), ...OWN.map(({ name, query, title, box }) =>
  element('span', { title }, `${name} `, box, query ? promqlButton(query, name) : '')), version);

function drawOwn() {
  for (const { box, value } of OWN) setText(box, text(value(live.own)));
  setText(version, `Streamgauge ${live.version}, up ${age(live.now - live.started_at)}`);
}

function draw() {
  drawHeader();
  drawSummary();
  drawTiles();
  drawHeatmap();
  drawTokens();
  drawModels();
  drawEvents();
  drawRunning();
  drawNewest();
  drawOwn();
  setText(byId('clock'), `live ${clock(live.now)}`);
}

// Polling.

function showProblem(content) {
  byId('problem').hidden = !content;
  setText(byId('problem'), content ?? '');
  document.body.classList.toggle('stale', Boolean(content));
}

async function read(path) {
  const response = await fetch(path, { cache: 'no-store', signal: AbortSignal.timeout(5000) });
  if (response.status === 401 || response.status === 403) throw new Error('access');
  if (!response.ok) throw new Error(`status ${response.status}`);
  return response.json();
}

async function poll() {
  if (document.hidden) return;
  try {
    live = await read('/live');
    if (polls % SLOW_EVERY === 0) {
      slow = await read('/requests/slow');
      drawSlow();
    }
    polls += 1;
    showProblem(null);
    draw();
    document.body.dataset.polls = String(polls);
  } catch (error) {
    const since = live ? ` The numbers are of ${clock(live.now)}.` : '';
    showProblem(error.message === 'access'
      ? 'The session has ended. Reload the page: the log then has a new link.'
      : `Streamgauge does not answer.${since}`);
  }
}

async function run() {
  for (;;) {
    const began = performance.now();
    await poll();
    const rest = POLL_MS - (performance.now() - began);
    await new Promise((done) => { setTimeout(done, Math.max(rest, 100)); });
  }
}

document.addEventListener('visibilitychange', poll);
new ResizeObserver(() => live && (drawHeatmap(), drawTokens())).observe(document.body);
run();
