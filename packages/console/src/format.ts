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
