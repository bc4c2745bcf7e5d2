// Slow requests: one sentence each, and a waterfall of their parts beside the baselines.

import { svg } from './charts.js';
import { age, clock, count, text, time, words } from './format.js';
import { element } from './dom.js';

const NAMES = {
  edge_wait: 'gateway',
  connect: 'connect',
  upload: 'upload',
  queue: 'queue',
  prefill: 'prefill',
  first_output: 'first output',
  cold_start: 'cold start',
  reasoning: 'reasoning',
  answer: 'answer',
  response: 'response',
  end: 'end',
  longest_gap: 'longest gap',
  client_stall: 'client stall',
};
/** Parts that are shorter than this share of the request, and not unusual, are left out. */
const SHORTEST = 0.004;

/** The bar of a part and, below it, its baseline. */
function bar(part, [first, last], isUnusual) {
  const x = (seconds) => ((seconds - first) / (last - first)) * 100;
  const box = svg('svg', { class: 'bar', viewBox: '0 0 100 14', preserveAspectRatio: 'none', 'aria-hidden': 'true' });
  const start = part.start_s ?? 0;
  const kind = part.start_s == null ? 'within' : isUnusual ? 'unusual' : 'usual';
  const width = Math.max(x(start + part.duration_s) - x(start), 0.4);
  box.append(svg('rect', { x: x(start), y: 1, width, height: 8, class: `part ${kind}${isUnusual ? ' unusual' : ''}` }));
  if (part.usual_s != null) {
    const usual = Math.min(Math.max(x(start + part.usual_s) - x(start), 0.4), 100 - x(start));
    box.append(svg('rect', { x: x(start), y: 11, width: usual, height: 2, class: 'baseline' }));
  }
  return box;
}

function waterfall(request) {
  const longest = request.duration_s;
  const shown = request.parts.filter((part) => part.kind === request.unusual || part.duration_s >= SHORTEST * longest);
  const first = Math.min(0, ...shown.map((part) => part.start_s ?? 0));
  const last = Math.max(longest, ...shown.map((part) => part.duration_s)) || 1;
  const rows = shown.map((part) => {
    const isUnusual = part.kind === request.unusual;
    const usual = part.usual_s == null ? 'no baseline' : `usual ${text(time(part.usual_s))}`;
    const samples = `median of ${part.samples} requests${part.is_same_size ? ' of this input size' : ''}`;
    return element('div', { class: `waterfall-row${isUnusual ? ' is-unusual' : ''}` },
      element('span', { class: 'part-name' }, NAMES[part.kind] ?? part.kind),
      bar(part, [first, last], isUnusual),
      element('span', { class: 'number' }, text(time(part.duration_s))),
      element('span', { class: 'part-usual', title: part.usual_s == null ? '' : samples }, usual));
  });
  return element('div', { class: 'waterfall' }, ...rows);
}

function badge(request) {
  if (request.is_running) return element('span', { class: 'badge running' }, 'running');
  if (request.cold_reason) return element('span', { class: 'badge bad' }, 'cold start');
  if (request.outcome !== 'ok') return element('span', { class: 'badge bad' }, words(request.outcome));
  return element('span', { class: 'badge' }, 'slow');
}

function card(request, now) {
  const facts = [
    request.slowness == null || request.slowness < 1.05 ? null : `usual ${text(time(request.duration_s / request.slowness))}`,
    request.input_tokens == null ? null : `${text(count(request.input_tokens))} in`,
    request.output_tokens == null ? null : `${text(count(request.output_tokens))} out`,
    request.is_running ? null : `${age(now - request.started_at)} ago`,
  ].filter(Boolean);
  return element('article', { class: 'slow-card' },
    element('p', { class: 'slow-head' },
      badge(request),
      element('strong', {}, request.model ?? 'unknown model'),
      element('span', { class: 'number' }, `${text(time(request.duration_s))} ${request.is_running ? 'so far' : 'in total'}`),
      element('span', { class: 'muted', title: `request ${request.id}, arrived ${clock(request.started_at)}` }, facts.join(' · '))),
    element('p', { class: 'sentence' }, request.sentence),
    waterfall(request));
}

/** The cards of the slow requests, the first few at first. */
export function slowCards({ requests, now }, shown) {
  return requests.slice(0, shown).map((request) => card(request, now));
}
