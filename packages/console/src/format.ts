/** Values as people read them. */

export function duration(ms: number): string {
  const seconds = Math.max(0, ms / 1_000)
  if (seconds < 10) return `${seconds.toFixed(1)} s`
  if (seconds < 60) return `${Math.round(seconds)} s`
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)} h ${Math.floor((seconds % 3_600) / 60)} min`
  return `${Math.floor(seconds / 86_400)} d`
}

export const clock = (ms: number): string => new Date(ms).toLocaleTimeString([], { hour12: false })

export const micros = (us: number): string => (us < 1_000 ? `${Math.round(us)} µs` : `${(us / 1_000).toFixed(1)} ms`)

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB']

export function size(bytes: number): string {
  const at = bytes < 1 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log2(bytes) / 10))
  return `${(bytes / 1_024 ** at).toFixed(at === 0 ? 0 : 1)} ${UNITS[at]}`
}

/** Never 100 before all of it is there. */
export function percent(done: number, of: number): number {
  if (of <= 0) return 100
  return Math.max(0, Math.min(100, Math.floor((100 * done) / of)))
}

/** `1 shard`, `2 shards`. */
export const counted = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? '' : 's'}`
