/** Transformations of paths. */

/** Without double slashes, `.` and `..` where it has a folder to leave (RFC 3986, section 5.2.4, for relative paths too). */
export function normalizePath(value: string): string {
  if (!value.includes('/')) return value
  const absolute = value.startsWith('/')
  const out: string[] = []
  for (const segment of value.split('/')) {
    if (segment === '' || segment === '.') continue
    if (segment === '..' && out.length > 0 && out.at(-1) !== '..') out.pop()
    else if (segment !== '..' || !absolute) out.push(segment)
  }
  return `${absolute ? '/' : ''}${out.join('/')}${value.endsWith('/') && out.length > 0 ? '/' : ''}`
}

export const normalizePathWin = (value: string): string => normalizePath(value.replaceAll('\\', '/'))
