// Numbers as people read them. A missing value is an en dash, never 0.

export const NONE = '–';
const GROUPED = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });

/** Three significant digits. */
function digits(value) {
  const size = Math.abs(value);
  if (size >= 999.5) return GROUPED.format(value);
  if (size >= 99.95) return value.toFixed(0);
  if (size >= 9.995) return value.toFixed(1);
  return value.toFixed(2);
}

/** A time as a number and its unit. */
export function time(seconds) {
  if (seconds == null) return { value: NONE, unit: '' };
  if (seconds < 0.0000005) return { value: '0', unit: 'ms' };
  if (seconds < 0.0009995) return { value: digits(seconds * 1e6), unit: 'µs' };
  if (seconds < 0.9995) return { value: digits(seconds * 1e3), unit: 'ms' };
  if (seconds < 599.5) return { value: digits(seconds), unit: 's' };
  return { value: age(seconds), unit: '' };
}

/** A rate or another count with a fraction. */
export function rate(value, unit) {
  if (value == null) return { value: NONE, unit: '' };
  return { value: value === 0 ? '0' : digits(value), unit };
}

/** A whole number. */
export function count(value, unit = '') {
  return value == null ? { value: NONE, unit: '' } : { value: GROUPED.format(value), unit };
}

/** A share of 1 in percent. Never rounded to 100 % if something is missing. */
export function share(value) {
  if (value == null) return { value: NONE, unit: '' };
  const percent = value * 100;
  if (percent > 99.9 && percent < 100) return { value: '> 99.9', unit: '%' };
  return { value: Number.isInteger(percent) ? String(percent) : percent.toFixed(1), unit: '%' };
}

/** The text of a number and its unit. */
export const text = ({ value, unit }) => (unit ? `${value}\u202f${unit}` : value);

/** A length of time, in the largest units. */
export function age(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const units = [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']];
  const at = units.findIndex(([length]) => whole >= length);
  if (at < 0) return '0\u202fs';
  const [length, name] = units[at];
  const first = `${Math.floor(whole / length)}\u202f${name}`;
  const next = units[at + 1];
  const rest = next && at < 3 ? Math.floor((whole % length) / next[0]) : 0;
  return rest ? `${first} ${rest}\u202f${next[1]}` : first;
}

/** An instant as the time of day here. */
export function clock(instant) {
  return new Date(instant * 1000).toLocaleTimeString('en-GB');
}

/** An operation or outcome without underscores. */
export const words = (label) => label.replaceAll('_', ' ');
