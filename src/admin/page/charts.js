// Charts as SVG: sparklines, lines, a heatmap and waterfalls. Colours come from the style sheet, by class.

import { text, time, words } from './format.js';

const NAMESPACE = 'http://www.w3.org/2000/svg';

/** An element of SVG. */
export function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

const label = (x, y, content, attributes = {}) => svg('text', { x, y, ...attributes }, content);
const round = (value) => Math.round(value * 10) / 10;

/** Paths through the points that exist. A missing point interrupts the line; a lone point becomes a dot. */
function paths(values, x, y) {
  const runs = [];
  let run = [];
  values.forEach((value, at) => {
    if (value != null) run.push(`${round(x(at))},${round(y(value))}`);
    if ((value == null || at === values.length - 1) && run.length) {
      runs.push(run);
      run = [];
    }
  });
  return runs.map((points) => `M${points.length === 1 ? `${points[0]}h0.1` : points.join('L')}`).join('');
}

/** A line without axes. Its scale begins at 0. */
export function sparkline(values, { width = 90, height = 20, highest } = {}) {
  const most = highest ?? Math.max(...values.map((value) => value ?? 0), 1e-9);
  const x = (at) => 1 + (at / (values.length - 1)) * (width - 2);
  const y = (value) => height - 1.5 - (value / most) * (height - 3);
  const box = svg('svg', { viewBox: `0 0 ${width} ${height}`, class: 'spark', preserveAspectRatio: 'none' });
  box.setAttribute('aria-hidden', 'true');
  box.append(svg('path', { d: `M1,${height - 0.5}H${width - 1}`, class: 'base' }));
  box.append(svg('path', { d: paths(values, x, y), class: 'line', 'vector-effect': 'non-scaling-stroke' }));
  return box;
}

/** The next number of the form 1, 2 or 5 times a power of ten. */
function niceAbove(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value * 0.999);
}

/** Marks of the time axis: minutes before now. */
function timeAxis(frame, minutes) {
  const marks = [];
  const step = frame.width < 420 ? 5 : 2;
  for (let minute = 0; minute <= minutes; minute += step) {
    const x = frame.left + (1 - minute / minutes) * frame.width;
    const content = minute === 0 ? 'now' : `−${minute} min`;
    const anchor = minute === 0 ? 'end' : minute === minutes ? 'start' : 'middle';
    marks.push(label(x, frame.top + frame.height + 15, content, { 'text-anchor': anchor, class: 'mark' }));
  }
  return marks;
}

/** The start of Streamgauge, where it is within the ten minutes: there is no data before it. */
function startMark(frame, minutes, now, started) {
  const since = (now - started) / 60;
  if (since >= minutes - 0.2) return [];
  const x = round(frame.left + (1 - since / minutes) * frame.width);
  const marks = [svg('path', { d: `M${x},${frame.top}v${frame.height}`, class: 'start' })];
  // To the right of it are data.
  if (x - frame.left > 130) {
    const content = `started ${since < 1 ? 'less than 1' : Math.round(since)} min ago`;
    marks.push(label(x - 6, frame.top + frame.height / 2, content, { 'text-anchor': 'end', class: 'mark' }));
  }
  return marks;
}

/** Opacity of a cell of the heatmap. */
const opacity = (requests, most) => (0.2 + 0.8 * (Math.log1p(requests) / Math.log1p(most))).toFixed(2);

/** The colours of the heatmap, from few to many. */
export function heatScale(most) {
  const box = svg('svg', { width: 60, height: 10, 'aria-hidden': 'true' });
  [0, 1, 2, 3, 4].forEach((step) => {
    const requests = 2 * ((1 + most) / 2) ** (step / 4) - 1;
    box.append(svg('rect', { x: step * 12, y: 0, width: 11, height: 10, class: 'cell', 'fill-opacity': opacity(requests, most) }));
  });
  return box;
}

function frameOf(width, height, left) {
  return { left, top: 8, width: width - left - 8, height: height - 30 };
}

/** Lines of several series over ten minutes. `series`: [{ values, shade }]; the shade is a class. */
export function lines(series, { width, height, now, started }) {
  const frame = frameOf(width, height, 46);
  const most = niceAbove(Math.max(...series.flatMap(({ values }) => values.map((value) => value ?? 0)), 1));
  const points = series[0]?.values.length ?? 60;
  const x = (at) => frame.left + (at / (points - 1)) * frame.width;
  const y = (value) => frame.top + frame.height - (value / most) * frame.height;
  const box = svg('svg', { width, height, role: 'img', 'aria-label': 'Output tokens per second by model' });
  for (const part of [0, 0.5, 1]) {
    const at = y(part * most);
    box.append(svg('path', { d: `M${frame.left},${at}h${frame.width}`, class: 'grid' }));
    const content = (part * most).toLocaleString('en-US');
    box.append(label(frame.left - 6, at + 4, content, { 'text-anchor': 'end', class: 'mark' }));
  }
  box.append(...timeAxis(frame, 10), ...startMark(frame, 10, now, started));
  for (const { values, shade } of [...series].reverse()) {
    box.append(svg('path', { d: paths(values, x, y), class: `line ${shade}` }));
  }
  return box;
}

/** Scale of the heatmap: logarithmic, and at least a factor of ten. */
function logScale(lowest, highest, frame) {
  let [low, high] = [Math.log10(lowest), Math.log10(highest)];
  const missing = 1 - (high - low);
  if (missing > 0) [low, high] = [low - missing / 2, high + missing / 2];
  const y = (seconds) => frame.top + frame.height - ((Math.log10(seconds) - low) / (high - low)) * frame.height;
  const ticks = [];
  for (let power = Math.ceil(low); power <= high; power += 1) ticks.push(10 ** power);
  if (ticks.length < 2) {
    for (const factor of [2, 5]) {
      for (let power = Math.floor(low); power <= high; power += 1) {
        const tick = factor * 10 ** power;
        if (Math.log10(tick) >= low && Math.log10(tick) <= high) ticks.push(tick);
      }
    }
  }
  return { y, ticks };
}

/** TTFT by time: darker cells have more requests; dots are requests that waited for a cold start. */
export function heatmap({ edges_s: edges, columns, cold }, { width, height, now, step, started }) {
  const frame = frameOf(width, height, 52);
  const box = svg('svg', { width, height, role: 'img', 'aria-label': 'Time to first token over ten minutes' });
  const ratio = Math.SQRT2;
  const lows = [edges[0] / ratio, ...cold.map((point) => point.ttft_s / 1.3)].filter((one) => one > 0);
  const highs = [edges.at(-1), ...cold.map((point) => point.ttft_s * 1.3)].filter((one) => one > 0);
  const { y, ticks } = logScale(Math.min(...lows), Math.max(...highs), frame);
  const span = columns.length * step;
  const cell = frame.width / columns.length;
  for (const tick of ticks) {
    box.append(svg('path', { d: `M${frame.left},${round(y(tick))}h${frame.width}`, class: 'grid' }));
    const { value, unit } = time(tick);
    const content = `${Number(value)} ${unit}`;
    box.append(label(frame.left - 6, y(tick) + 4, content, { 'text-anchor': 'end', class: 'mark' }));
  }
  const most = Math.max(1, ...columns.flat());
  columns.forEach((column, at) => {
    column.forEach((requests, row) => {
      if (!requests) return;
      const [top, bottom] = [y(edges[row]), y(edges[row] / ratio)];
      box.append(svg('rect', {
        x: round(frame.left + at * cell + 0.5),
        y: round(top + 0.5),
        width: round(Math.max(cell - 1, 1)),
        height: round(Math.max(bottom - top - 1, 1)),
        class: 'cell',
        'fill-opacity': opacity(requests, most),
      }));
    });
  });
  for (const point of cold) {
    const x = frame.left + (1 - (now - point.at) / span) * frame.width;
    if (x < frame.left) continue;
    const title = `${point.model}: waited ${text(time(point.ttft_s))} for a cold start (${words(point.reason)})`;
    box.append(svg('circle', { cx: round(x), cy: round(y(point.ttft_s)), r: 4, class: 'cold' }, svg('title', {}, title)));
  }
  box.append(...timeAxis(frame, Math.round(span / 60)), ...startMark(frame, span / 60, now, started));
  return { box, frame, cell };
}

/** Text about the column of a heatmap below a point. */
export function heatmapReadout({ edges_s: edges, columns, cold }, { frame, cell }, x, { now, step }) {
  const at = Math.floor((x - frame.left) / cell);
  if (at < 0 || at >= columns.length) return '';
  const before = (columns.length - 1 - at) * step;
  const requests = columns[at].reduce((sum, one) => sum + one, 0);
  const used = columns[at].flatMap((one, row) => (one ? [row] : []));
  const when = before === 0 ? 'last 10 s' : `${Math.floor(before / 60)}:${String(before % 60).padStart(2, '0')} min ago`;
  const parts = [when, `${requests} warm`];
  if (used.length) {
    parts.push(`${text(time(edges[used[0]] / Math.SQRT2))} to ${text(time(edges[used.at(-1)]))}`);
  }
  const [from, to] = [now - before - step, now - before];
  const starts = cold.filter((point) => point.at > from && point.at <= to);
  if (starts.length) {
    parts.push(`${starts.length} cold: ${starts.map((point) => `${point.model} ${text(time(point.ttft_s))}`).slice(0, 3).join(', ')}`);
  }
  return parts.join(' · ');
}
