/** Keys of tries that are ordered by time: milliseconds in 14 hex digits, then an id. */
export function timeKey(ms: number, id: string): string {
  return ms.toString(16).padStart(14, '0') + id
}
