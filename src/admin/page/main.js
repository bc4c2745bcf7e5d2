// The live page: reads /live each second while it is visible, and draws it.

import { heatmap, heatmapReadout, lines, sparkline, svg } from './charts.js';
import { byId, element, promqlButton, replace, setText } from './dom.js';
import { NONE, age, clock, count, rate, share, text, time, words } from './format.js';
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

const TILES = [
  {
    name: 'TTFT p95', hint: 'Time to first token of warm streams, last minute', query: PROMQL.ttft,
    number: ({ total }) => time(total.now.ttft_p95_s),
    note: ({ total }) => `p50 ${text(time(total.now.ttft_p50_s))}, warm`,
    values: ({ total }) => total.series.ttft_p95_s,
  },
  {
    name: 'Output', hint: 'Output tokens per second, last ten seconds', query: PROMQL.tokens,
    number: ({ total }) => rate(total.now.output_tokens_per_s, 'tok/s'),
    note: ({ total }) => `${text(rate(total.now.requests_per_s, 'req/s'))} ending`,
    values: ({ total }) => total.series.output_tokens_per_s,
  },
  {
    name: 'In flight', hint: 'Requests in flight now, by phase', query: PROMQL.inFlight,
    number: ({ upstreams }) => count(inFlight(upstreams, ['sending', 'waiting', 'streaming'])),
    note: ({ upstreams }) => `${inFlight(upstreams, ['sending', 'waiting'])} waiting, ${inFlight(upstreams, ['streaming'])} streaming`,
  },
  {
    name: 'Queue wait p95', hint: 'Wait in the server\'s queue, last minute, with its source; next: the wait of a request that arrives now', query: PROMQL.queue,
    number: ({ total }) => time(total.now.queue_wait_p95_s),
    note: ({ total, upstreams }) => {
      const waits = upstreams.map((one) => one.estimated_wait_s).filter((wait) => wait != null);
      const next = waits.length ? `, next ${text(time(Math.max(...waits)))}` : '';
      return total.now.queue_source ? `${total.now.queue_source}${next}` : 'no waits known';
    },
    values: ({ total }) => total.series.queue_wait_p95_s,
  },
  {
    name: 'Goodput', hint: 'Share of requests that met their SLO, last minute', query: PROMQL.goodput,
    number: ({ total }) => share(total.now.goodput),
    note: ({ total }) => {
      const worst = lowest(total.slo);
      return worst ? `${worst.name}, 10 min: ${text(share(worst.goodput))}` : 'no SLO, or no requests';
    },
    values: ({ total }) => total.series.goodput, highest: 1,
    isBad: ({ total }) => total.now.goodput != null && total.now.goodput < 0.9,
  },
  {
    name: 'Errors', hint: 'Requests that failed by the server or Streamgauge, last ten seconds', query: PROMQL.errors,
    number: ({ total }) => rate(total.now.errors_per_s, '/s'),
    note: ({ total }) => `${text(count(total.errors))} of ${text(count(total.requests))} in 10 min`,
    values: ({ total }) => total.series.errors_per_s,
    isBad: ({ total }) => total.now.errors_per_s > 0,
  },
];

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
    element('p', { class: 'big' }, value, unit), note, chart);
  byId('tiles').append(tile.box);
}

function drawTiles() {
  for (const { parts, box, number, note, values, highest, isBad } of TILES) {
    const shown = number(live);
    setText(parts.value, shown.value);
    setText(parts.unit, shown.unit);
    setText(parts.note, note(live));
    box.classList.toggle('bad', Boolean(isBad?.(live)));
    if (values) parts.chart.replaceChildren(sparkline(values(live), { width: 180, height: 26, highest }));
  }
}

// Header and summary.

const STATES = { up: 'up', down: 'down', unknown: 'not seen yet' };

function drawHeader() {
  const chips = live.upstreams.map((one) => {
    const since = one.state === 'unknown' ? STATES.unknown : `${STATES[one.state]} ${age(live.now - one.since)}`;
    const cause = one.state === 'down' && one.last_cause ? `: ${one.last_cause}` : '';
    return element('span', { class: `upstream ${one.state}` },
      element('i', { class: 'dot' }), element('b', {}, one.name),
      one.engine ? ` ${one.engine}` : '', element('span', { class: 'muted' }, ` ${since}${cause}`));
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
  setText(health.ok, text(ok));
  setText(health.budget, text(share(left)));
  health.budget.classList.toggle('bad-text', left === 0);
  health.budget.title = title;
}

const health = { ok: element('b', {}), budget: element('b', {}) };
byId('health').append(
  element('span', { title: 'Requests of the last ten minutes that did not fail' },
    'ok ', health.ok, promqlButton(PROMQL.okShare, 'the ok share')),
  element('span', {}, 'error budget left ', health.budget, promqlButton(PROMQL.budget, 'the error budget')));

function drawSummary() {
  const { requests, cold_starts: cold } = live.total;
  const parts = live.upstreams.filter((one) => one.state === 'down').map((one) =>
    element('span', { class: 'alarm' }, `The server ${one.name} has not answered for ${age(live.now - one.since)}`));
  if (!requests && !live.running.total && !cold && !parts.length) {
    const example = 'No requests in the last ten minutes. Send one through the proxy, and it appears here at once.';
    replace(byId('summary'), example);
    return;
  }
  const slowest = live.models.map((row) => [row, row.now.ttft_p95_s ?? lastOf(row.series.ttft_p95_s)])
    .filter(([, ttft]) => ttft != null).sort((a, b) => b[1] - a[1])[0];
  if (slowest) {
    parts.push(element('span', {}, 'Slowest model: ', element('b', {}, slowest[0].model), ` (TTFT p95 ${text(time(slowest[1]))})`));
  }
  parts.push(element('span', {}, 'Cold starts in ten minutes: ', element('b', {}, String(cold))));
  const first = [...slow.requests].sort((a, b) => (b.slowness ?? 0) - (a.slowness ?? 0))[0];
  const whose = first ? ` (${first.model ?? 'unknown model'}): ` : ': ';
  parts.push(element('span', {}, `Slowest request${whose}`, element('b', {}, first ? first.sentence : 'none was unusually slow')));
  replace(byId('summary'), ...parts);
}

const lastOf = (values) => values.findLast((value) => value != null);

// Charts.

let drawn = null;

function drawHeatmap() {
  const box = byId('heatmap');
  const { ttft_heatmap: map, total } = live;
  const hasData = map.edges_s.length || map.cold.length;
  const starts = map.cold.length;
  const requests = starts === 1 ? '1 request' : `${starts} requests`;
  const mark = element('span', { class: 'cold-mark' }, '●');
  const note = starts ? ['warm streams; ', mark, ` ${requests} that waited for a cold start`] : ['warm streams; no request waited for a cold start'];
  replace(byId('heatmap-note'), ...(hasData ? note : []));
  if (!hasData) {
    drawn = null;
    replace(box, empty(total.requests ? 'No streams with output in the last ten minutes' : 'No requests in the last ten minutes'));
    return;
  }
  const size = { width: box.clientWidth, height: 230, now: live.now, step: live.step_s };
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
  const legend = shown.map((row, index) => element('span', { class: 'legend-item' },
    legendLine(index), nameOf(row), ' ', element('b', {}, text(rate(row.now.output_tokens_per_s, '')))));
  if (rows.length > shown.length) legend.push(element('span', { class: 'muted' }, `and ${rows.length - shown.length} more`));
  replace(byId('tokens-legend'), ...legend);
  const box = byId('tokens');
  if (!shown.length) return replace(box, empty('No output tokens in the last ten minutes'));
  const series = shown.map((row, index) => ({ values: row.series.output_tokens_per_s, index }));
  const below = Math.max(0, byId('tokens-legend').offsetHeight - 20);
  return box.replaceChildren(lines(series, { width: box.clientWidth, height: Math.max(150, 224 - below) }));
}

function legendLine(index) {
  return svg('svg', { width: 12, height: 8, 'aria-hidden': 'true' }, svg('path', { d: 'M0,4h12', class: `line colour-${index}` }));
}

const empty = (content) => element('p', { class: 'empty' }, content);

// Tables.

const chart = (values, options) => element('td', { class: 'chart-cell' }, sparkline(values, options));
const cell = (shown) => element('td', { class: 'number' }, shown.value, shown.unit ? element('span', { class: 'unit' }, ` ${shown.unit}`) : '');

const COLUMNS = [
  ['Requests', PROMQL.byModel.requests, (row) => rate(row.now.requests_per_s, '/s'), 'requests_per_s'],
  ['TTFT p50', PROMQL.byModel.ttft50, (row) => time(row.now.ttft_p50_s)],
  ['TTFT p95', PROMQL.byModel.ttft95, (row) => time(row.now.ttft_p95_s), 'ttft_p95_s'],
  ['TPOT p50', PROMQL.byModel.tpot, (row) => time(row.now.tpot_p50_s), 'tpot_p50_s'],
  ['Output', PROMQL.byModel.tokens, (row) => rate(row.now.output_tokens_per_s, 'tok/s'), 'output_tokens_per_s'],
  ['Queue wait p95', PROMQL.byModel.queue, (row) => time(row.now.queue_wait_p95_s), 'queue_wait_p95_s'],
  ['Slots', PROMQL.byModel.slots, (row) => count(row.slots)],
  ['Cold starts', PROMQL.byModel.cold, (row) => count(row.cold_starts), null, (row) => row.cold_starts > 0],
  ['Goodput', PROMQL.byModel.goodput, (row) => share(row.now.goodput), 'goodput', (row) => row.now.goodput != null && row.now.goodput < 0.9],
  ['Errors', PROMQL.byModel.errors, (row) => count(row.errors), null, (row) => row.errors > 0],
];

const modelsBody = element('tbody');
byId('models').append(
  element('thead', {}, element('tr', {}, element('th', {}, 'Model'), ...COLUMNS.flatMap(([name, query, , series]) => [
    element('th', { class: 'number' }, name, promqlButton(query, name)), ...(series ? [element('th')] : [])]))),
  modelsBody);

function drawModels() {
  const isSampled = live.total.is_sampled;
  setText(byId('models-note'), isSampled ? 'latencies are of a sample: more requests ended than are kept' : 'rates of ten seconds, quantiles of a minute; lines, cold starts and errors of ten minutes');
  if (!live.models.length) {
    replace(modelsBody, element('tr', {}, element('td', { colspan: 18 }, empty('No requests in the last ten minutes'))));
    return;
  }
  const slowest = Math.max(...live.models.map((row) => row.now.ttft_p95_s ?? 0));
  replace(modelsBody, ...live.models.map((row) => {
    const cells = COLUMNS.flatMap(([name, , value, series, isBad]) => {
      const one = cell(value(row));
      if (isBad?.(row)) one.classList.add('bad-text');
      if (name === 'TTFT p95' && live.models.length > 1 && row.now.ttft_p95_s === slowest && slowest > 0) one.classList.add('highest');
      return series ? [one, chart(row.series[series], series === 'goodput' ? { highest: 1 } : {})] : [one];
    });
    return element('tr', {}, element('th', { scope: 'row', title: `${row.upstream} / ${row.model}` }, nameOf(row)), ...cells);
  }));
}

const EVENT_NAMES = {
  cold_start: 'cold start', down: 'down', up: 'up', stall: 'stall', rejections: 'rejected', failures: 'failed', reload: 'reload',
};

function drawEvents() {
  const items = live.events.map((event) => {
    const place = [live.upstreams.length > 1 ? event.upstream : null, event.model].filter(Boolean).join(' / ');
    return element('li', { class: event.kind },
      element('time', { title: `${age(live.now - event.at)} ago` }, clock(event.at)),
      element('span', { class: 'kind' }, EVENT_NAMES[event.kind] ?? event.kind),
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
  ['degraded', null, (own) => share(own.degraded)],
].map(([name, query, value]) => ({ name, query, value, box: element('b', {}) }));
const version = element('span', { class: 'muted' });
byId('own').append(element('span', { class: 'muted' }, 'Streamgauge itself:'), ...OWN.map(({ name, query, box }) =>
  element('span', {}, `${name} `, box, query ? promqlButton(query, name) : '')), version);

function drawOwn() {
  for (const { box, value } of OWN) setText(box, text(value(live.own)));
  setText(version, `version ${live.version}, up ${age(live.now - live.started_at)}`);
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
