/** Values as people read them. */
import { UsageError } from './errors.ts'

const UNIT_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const

/** `10m`, `24h` as milliseconds; 0, too. @throws {UsageError} */
export function parseDuration(text: string): number {
  const match = /^([0-9]{1,9})(ms|s|m|h|d)$/.exec(text)
  if (match === null)
    throw new UsageError(`${JSON.stringify(text)} is no duration; expected a number and s, m, h or d, such as 10m`)
  const ms = Number(match[1]) * UNIT_MS[match[2] as keyof typeof UNIT_MS]
  // JSON carries no larger number as it is.
  if (!Number.isSafeInteger(ms)) throw new UsageError(`${text} is longer than any duration may be`)
  return ms
}

/**
 * How long something is to last. Not 0: inside, that is what the option left out comes to, and often means without end.
 *
 * @param option For the message.
 * @param unless What it is with the option left out.
 * @throws {UsageError}
 */
export function parseTtl(text: string, option = '--ttl', unless?: string): number {
  const ms = parseDuration(text)
  if (ms > 0) return ms
  throw new UsageError(`${option} must be more than 0${unless === undefined ? '' : `; leave it out for ${unless}`}`)
}

/** `850ms`, `12s`, `4m10s`, `3h`, `2d`. */
export function duration(ms: number): string {
  const whole = Math.max(0, Math.round(ms))
  if (whole < 1_000) return `${whole}ms`
  const seconds = Math.round(whole / 1_000)
  if (seconds < 60) return `${seconds}s`
  if (seconds < 3_600) return seconds % 60 === 0 ? `${seconds / 60}m` : `${Math.floor(seconds / 60)}m${seconds % 60}s`
  if (seconds < 86_400)
    return seconds % 3_600 < 60
      ? `${Math.floor(seconds / 3_600)}h`
      : `${Math.floor(seconds / 3_600)}h${Math.floor((seconds % 3_600) / 60)}m`
  return `${Math.floor(seconds / 86_400)}d`
}

export const time = (ms: number): string =>
  new Date(ms)
    .toISOString()
    .replace('T', ' ')
    .replace(/\.\d+Z$/, 'Z')

export const clock = (ms: number): string => new Date(ms).toISOString().slice(11, 23)

const colours = { red: 31, green: 32, yellow: 33, dim: 2, bold: 1 } as const

/** Colours only on a terminal, and not when NO_COLOR is set (no-color.org). */
export function paint(colour: keyof typeof colours, text: string): string {
  const wanted = process.stdout.isTTY === true && (process.env.NO_COLOR ?? '') === ''
  return wanted ? `\x1b[${colours[colour]}m${text}\x1b[0m` : text
}

/** What a terminal must not act on is shown as it is: output may hold bytes that attackers chose. */
export function printable(text: string): string {
  return text.replace(
    /[\x00-\x08\x0b-\x1f\x7f-\x9f]/g,
    (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`,
  )
}
