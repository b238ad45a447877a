/** Drops `//`, `/./` and resolves `/../` (not above a leading slash or the start). */
export function normalizePath(text: string): string {
  if (!text.includes('//') && !text.includes('./') && !text.endsWith('.')) return text
  const absolute = text.startsWith('/')
  const directory = text.endsWith('/') || text.endsWith('/.') || text.endsWith('/..')
  const kept: string[] = []
  for (const segment of text.split('/')) {
    if (segment === '' || segment === '.') continue
    if (segment !== '..') kept.push(segment)
    else if (kept.length > 0 && kept.at(-1) !== '..') kept.pop()
    else if (!absolute) kept.push('..')
  }
  const path = (absolute ? '/' : '') + kept.join('/')
  return directory && kept.length > 0 ? `${path}/` : path
}

/** Backslashes become slashes first. */
export function normalizePathWin(text: string): string {
  return normalizePath(text.includes('\\') ? text.replaceAll('\\', '/') : text)
}
