/** Transformations of letters and spaces. */

export const lowercase = (value: string): string => value.toLowerCase()
export const uppercase = (value: string): string => value.toUpperCase()
export const removeNulls = (value: string): string => (value.includes('\0') ? value.replaceAll('\0', '') : value)
export const replaceNulls = (value: string): string => (value.includes('\0') ? value.replaceAll('\0', ' ') : value)
export const compressWhitespace = (value: string): string => value.replace(/[\s\u00a0]+/g, ' ')
export const removeWhitespace = (value: string): string => value.replace(/[\s\u00a0]+/g, '')
export const trim = (value: string): string => value.trim()
export const length = (value: string): string => String(value.length)

/** C comments become one space; one that is not closed takes the rest. */
export function replaceComments(value: string): string {
  if (!value.includes('/*')) return value
  let out = ''
  for (let at = 0; ; ) {
    const open = value.indexOf('/*', at)
    if (open === -1) return out + value.slice(at)
    out += `${value.slice(at, open)} `
    const close = value.indexOf('*/', open + 2)
    if (close === -1) return out
    at = close + 2
  }
}

/** What shells ignore in a command: carets, quotes, backslashes, spaces before / and ( (ModSecurity's cmdLine). */
export function cmdLine(value: string): string {
  return value
    .replace(/[\\"'^]/g, '')
    .replace(/[,;\s]+/g, ' ')
    .replace(/ (?=[/(])/g, '')
    .toLowerCase()
}
