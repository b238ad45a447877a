/** Keys of tries that are ordered by time: milliseconds in 14 hex digits, then an id. */
export function timeKey(ms: number, id: string): string {
  if (ms !== last.ms) last = { ms, digits: ms.toString(16).padStart(14, '0') }
  return last.digits + id
}

/** Many transactions of one moment come together. */
let last = { ms: 0, digits: '0'.repeat(14) }
