// What is wrong now, and the events of one outage as one. Pure: from the snapshot to texts. Thresholds: docs/page.md.

import { age, count, share, text, time } from './format.js';

/** Shortest time without output, in seconds, that is an incident, */
const SILENCE_S = 5;
/** and this many times the longest recent wait of the model. */
const SILENCE_RATIO = 2;
/** A model is overloaded if this many requests wait, */
const WAITING = 3;
/** and the queue wait p95 is this many seconds, */
const QUEUE_S = 1;
/** and this many times its usual value, */
const QUEUE_RATIO = 3;
/** or this many seconds, whatever is usual. */
const LONG_QUEUE_S = 5;
const LOW_GOODPUT = 0.9;
/** Requests fail if there are this many failures in ten seconds, and this share of the requests. */
const FAILURES = 3;
const FAILED_SHARE = 0.05;
/** Events of this distance, in seconds, have one cause. */
const SAME_S = 3;

/** A number and its noun. */
export const many = (number, noun) => `${text(count(number))} ${noun}${number === 1 ? '' : 's'}`;
const wait = (number) => `${many(number, 'request')} ${number === 1 ? 'waits' : 'wait'}`;
const latest = (numbers) => Math.max(...numbers, -Infinity);

function names(models) {
  const all = [...new Set(models)].filter(Boolean);
  if (all.length <= 2) return all.join(' and ');
  return `${all[0]} and ${all.length - 1} more models`;
}

/** Lower quartile of the points before the last minute. A long overload does not become usual at once. */
function usualOf(series) {
  const before = series.slice(0, -6).filter((value) => value != null).sort((a, b) => a - b);
  return before.length < 3 ? null : before[Math.floor(before.length / 4)];
}

const waitingOf = (live, upstream, model) => live.running.oldest.filter((one) =>
  one.phase === 'waiting' && one.upstream === upstream && (model === undefined || one.model === model));

/** The instant at which a server came back after an outage, if that is in the events. */
function restartOf(live, upstream) {
  return live.events.find((one) => one.kind === 'up' && one.upstream === upstream.name)?.at;
}

/** The longest wait for output of recent successful, warm requests. A response that is not a stream has only a duration. */
function recentWait(live, upstream, models) {
  const ended = live.newest.filter((one) =>
    one.upstream === upstream && models.includes(one.model) && !one.is_error && !one.cold);
  return Math.max(0, ...ended.map((one) => one.ttft_s ?? one.duration_s));
}

/** Cold starts in progress: the server came back, requests of a model wait, and it has had no output since. */
export function coldStartsNow(live) {
  return live.upstreams.filter((one) => one.state !== 'down').flatMap((upstream) => {
    const restart = restartOf(live, upstream);
    if (restart === undefined) return [];
    const mine = live.running.oldest.filter((one) => one.upstream === upstream.name);
    const hadOutput = (model) =>
      mine.some((one) => one.model === model && one.phase === 'streaming')
      || live.newest.some((one) =>
        one.upstream === upstream.name && one.model === model && one.ttft_s != null && one.ended_at > restart)
      || live.events.some((one) => one.kind === 'cold_start' && one.upstream === upstream.name && one.at >= restart
        && (one.model == null || one.model === model));
    const waiting = mine.filter((one) => one.phase === 'waiting' && one.age_s > 2 && !hadOutput(one.model));
    const models = [...new Set(waiting.map((one) => one.model))];
    return models.length ? [{ upstream: upstream.name, models, since: restart, waiting: waiting.length }] : [];
  });
}

/** Why no connection can be opened, without the number of the system's error. */
export function causeOf({ last_cause: cause }) {
  if (!cause) return '';
  return `: ${cause.charAt(0).toLowerCase()}${cause.slice(1).replace(/ \(os error \d+\)$/, '')}`;
}

function serverIncident(live, upstream, starting) {
  const several = live.upstreams.length > 1 ? ` ${upstream.name}` : '';
  const { sending, waiting, streaming } = upstream.in_flight;
  if (upstream.state === 'down') {
    if (!upstream.is_needed) return null;
    const cause = causeOf(upstream);
    const held = waiting + sending ? `; ${wait(waiting + sending)}` : '';
    const verb = cause ? 'answered' : 'been ready';
    return { level: 'bad', text: `The server${several} has not ${verb} for ${age(live.now - upstream.since)}${cause}${held}` };
  }
  const restart = restartOf(live, upstream);
  const isRecent = restart !== undefined && live.now - restart < 120;
  const why = isRecent ? `; the server${several} restarted ${age(live.now - restart)} ago` : several && ` (server${several})`;
  if (upstream.stuck_s != null && !starting.some((one) => one.upstream === upstream.name)) {
    const held = [streaming && `${many(streaming, 'stream')} without output`, waiting && wait(waiting)].filter(Boolean).join(', ');
    return { level: 'bad', text: `The server${several} hangs: no output for ${age(upstream.stuck_s)}, although it accepts connections${held && `; ${held}`}` };
  }
  const waits = waitingOf(live, upstream.name);
  const models = waits.map((one) => one.model);
  const ended = live.newest.filter((one) => one.upstream === upstream.name && !one.is_error).map((one) => one.ended_at);
  const silence = Math.min(latest(waits.map((one) => one.age_s)), live.now - latest(ended));
  if (!streaming && waits.length && silence >= Math.max(SILENCE_S, SILENCE_RATIO * recentWait(live, upstream.name, models))) {
    const level = waiting > 1 ? 'bad' : 'warn';
    const whose = names(models) && ` (${names(models)})`;
    return { level, text: `No output for ${age(silence)}: ${wait(waiting)}${whose}${why}` };
  }
  const cold = starting.find((one) => one.upstream === upstream.name);
  if (cold) {
    const length = age(live.now - cold.since);
    return { level: 'warn', text: `${names(cold.models) || 'Unknown model'}: cold start in progress for ${length}, ${wait(cold.waiting)}` };
  }
  return null;
}

function modelIncident(live, row, name) {
  const { now, series } = row;
  const waiting = waitingOf(live, row.upstream, row.model).length;
  const queue = now.queue_wait_p95_s ?? 0;
  const usual = usualOf(series.queue_wait_p95_s) ?? 0;
  const isLow = now.goodput != null && now.goodput < LOW_GOODPUT;
  if (waiting >= WAITING && queue >= QUEUE_S && (queue >= QUEUE_RATIO * usual || queue >= LONG_QUEUE_S)) {
    const least = live.running.total > live.running.oldest.length ? 'at least ' : '';
    const goodput = isLow ? `, goodput ${text(share(now.goodput))}` : '';
    return {
      level: isLow ? 'bad' : 'warn', size: queue,
      text: `${name} is overloaded: ${least}${wait(waiting)}, queue wait p95 ${text(time(queue))}${goodput}`,
    };
  }
  const [failed, ended] = [(now.errors_per_s ?? 0) * 10, (now.requests_per_s ?? 0) * 10];
  if (failed >= FAILURES - 0.5 && failed >= FAILED_SHARE * ended) {
    const part = ended ? ` (${text(share(Math.min(Math.round(failed) / Math.round(ended), 1)))})` : '';
    const whose = row.model === 'other' ? 'without a known model' : `to ${name}`;
    return { level: 'bad', size: 0, text: `${many(Math.round(failed), 'request')} ${whose} failed in the last 10 s${part}` };
  }
  const points = series.goodput.slice(-2).filter((value) => value != null);
  if (isLow && points.length && points.at(-1) < LOW_GOODPUT) {
    return { level: 'warn', size: -now.goodput, text: `${name} misses its SLO: goodput ${text(share(now.goodput))} in the last minute` };
  }
  const silent = live.running.oldest.filter((one) =>
    one.phase === 'streaming' && one.upstream === row.upstream && one.model === row.model && one.silence_s >= SILENCE_S);
  if (silent.length) {
    const longest = age(latest(silent.map((one) => one.silence_s)));
    const verb = silent.length === 1 ? 'has' : 'have';
    return { level: 'warn', size: -1, text: `${many(silent.length, 'stream')} of ${name} ${verb} had no output for ${longest}` };
  }
  return null;
}

/** Whether a server does not answer and no client needs it, as after scaling to zero. */
export const isUnneeded = (upstream) => upstream.state === 'down' && !upstream.is_needed;

/** One sentence about the servers that nobody needs. Empty if there is none. */
export function unneededText(live) {
  const unneeded = live.upstreams.filter(isUnneeded);
  if (!unneeded.length) return '';
  if (unneeded.length > 1) return `${unneeded.length} servers do not answer, and no request needs them.`;
  const [one] = unneeded;
  const several = live.upstreams.length > 1 ? ` ${one.name}` : '';
  return `The server${several} has not answered for ${age(live.now - one.since)}${causeOf(one)}. No request needs it: this is no incident if it is scaled to zero.`;
}

/** The incidents of this moment, those of servers and the worst first: [{ level: 'bad' or 'warn', text }]. */
export function incidents(live, nameOf) {
  const starting = coldStartsNow(live);
  const servers = live.upstreams.map((one) => serverIncident(live, one, starting)).filter(Boolean);
  const down = live.upstreams.filter((one) => one.state === 'down').map((one) => one.name);
  const models = live.models.filter((row) => !down.includes(row.upstream))
    .map((row) => modelIncident(live, row, nameOf(row))).filter(Boolean);
  const rank = ({ level }) => (level === 'bad' ? 0 : 1);
  models.sort((a, b) => rank(a) - rank(b) || b.size - a.size);
  return [...servers.sort((a, b) => rank(a) - rank(b)), ...models];
}

// Events.

const sumOf = (events) => events.reduce((sum, one) => sum + (one.count ?? 1), 0);

function affected(events) {
  const models = new Set(events.map((one) => one.model)).size;
  return models > 1 ? ` on ${models} models` : ` on ${events[0].model}`;
}

/** An outage, with what failed by it. */
function outageEvent(down, members) {
  const failed = members.filter((one) => one.kind === 'failures');
  const rejected = members.filter((one) => one.kind === 'rejections');
  const isOver = members.some((one) => one.kind === 'up');
  const parts = [down.text.replace(/\.$/, '')];
  if (failed.length) parts.push(`${many(sumOf(failed), 'request')} failed${affected(failed)}`);
  if (rejected.length) parts.push(`${many(sumOf(rejected), 'request')} rejected${affected(rejected)}`);
  return { ...down, isOver, text: `${parts.join('; ')}.` };
}

function burstEvent(first, members) {
  if (members.length === 1) return first;
  const models = [...new Set(members.map((one) => one.model))];
  const total = sumOf(members);
  const what = {
    stall: `${many(total, 'stream')} had no output for too long`,
    rejections: `${many(total, 'request')} rejected`,
    failures: `${many(total, 'request')} failed`,
  }[first.kind];
  const where = models.length > 1 ? ` on ${models.length} models` : '';
  return { ...first, model: models.length > 1 ? null : first.model, text: `${what}${where}.` };
}

/** A cold start, with the requests that waited for it. */
function coldEvent(event, live) {
  const later = live.events.filter((one) => one.kind === 'cold_start' && one.upstream === event.upstream && one.at > event.at + 1);
  const end = Math.min(...later.map((one) => one.at - 0.5), Infinity);
  const waits = live.ttft_heatmap.cold.filter((one) => one.upstream === event.upstream && one.at >= event.at - 0.5 && one.at < end);
  if (!waits.length) return event;
  const longest = text(time(latest(waits.map((one) => one.ttft_s))));
  const rest = waits.length === 1 ? ` 1 request waited ${longest}.`
    : ` ${waits.length} requests waited for it, at most ${longest}: those that arrived later waited less.`;
  return { ...event, text: event.text + rest };
}

/** The events, newest first. Those of one outage are one, and so are those of one kind within seconds. */
export function mergedEvents(live) {
  const left = new Set(live.events);
  const take = (members) => members.forEach((one) => left.delete(one));
  const details = (members) => members.map((one) => [one.model, one.text].filter(Boolean).join(': ')).join('\n');
  const found = [];
  for (const down of live.events.filter((one) => one.kind === 'down')) {
    const last = down.at + (down.duration_s ?? 0) + SAME_S;
    const up = [...left].findLast((one) => one.kind === 'up' && one.upstream === down.upstream && one.at >= down.at);
    const members = [...left].filter((one) => one.upstream === down.upstream && (one === down || one === up
      || (['failures', 'rejections'].includes(one.kind) && one.at >= down.at - SAME_S && one.at <= last)));
    take(members);
    found.push({ ...outageEvent(down, members), details: details(members) });
  }
  for (const event of live.events) {
    if (!left.has(event)) continue;
    const isBurst = ['stall', 'failures', 'rejections'].includes(event.kind);
    const members = isBurst ? [...left].filter((one) =>
      one.kind === event.kind && one.upstream === event.upstream && event.at - one.at <= SAME_S && event.at >= one.at) : [event];
    take(members);
    const merged = event.kind === 'cold_start' ? coldEvent(event, live) : burstEvent(event, members);
    found.push({ ...merged, details: details(members) });
  }
  return found.sort((a, b) => b.at - a.at);
}

/** The newest event of the last ten minutes that was an incident. A stall only if there was nothing else. */
export function latestIncident(live) {
  const recent = mergedEvents(live).filter((one) => live.now - one.at < 600);
  const isIncident = (one) => !['reload', 'up', 'stall'].includes(one.kind) && !(one.kind === 'down' && one.count === 0);
  return recent.find(isIncident) ?? recent.find((one) => one.kind === 'stall');
}
