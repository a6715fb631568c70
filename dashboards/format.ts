/** Numbers and times as people read them. */

export function bytes(value: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let amount = value;
  let unit = 0;
  while (amount >= 1000 && unit < units.length - 1) {
    amount /= 1000;
    unit += 1;
  }
  return `${amount >= 100 || unit === 0 ? amount.toFixed(0) : amount.toFixed(1)} ${units[unit] ?? ''}`;
}

export function count(value: number): string {
  return value.toLocaleString('en-US').replaceAll(',', '\u202f');
}

/** "1 file", "2 files". */
export function counted(value: number, what: string, several = `${what}s`): string {
  return `${count(value)} ${value === 1 ? what : several}`;
}

export function duration(ms: number): string {
  if (ms < 1000) return `${ms.toFixed(0)} ms`;
  const seconds = ms / 1000;
  if (seconds < 60) return `${seconds.toFixed(0)} s`;
  if (seconds < 3600) return `${(seconds / 60).toFixed(0)} min`;
  if (seconds < 48 * 3600) return `${(seconds / 3600).toFixed(1)} h`;
  return `${(seconds / 86_400).toFixed(1)} days`;
}

/** "5 s ago", "in 3 s". */
export function relative(timeMs: number, nowMs: number): string {
  const ms = nowMs - timeMs;
  if (Math.abs(ms) < 1500) return 'now';
  return ms > 0 ? `${duration(ms)} ago` : `in ${duration(-ms)}`;
}

export function clockTime(timeMs: number): string {
  return new Date(timeMs).toLocaleTimeString(undefined, { hour12: false });
}

export function dayAndTime(timeMs: number): string {
  const day = new Date(timeMs).toLocaleDateString(undefined, {
    weekday: 'short',
    day: 'numeric',
    month: 'short',
  });
  return `${day}, ${clockTime(timeMs)}`;
}
