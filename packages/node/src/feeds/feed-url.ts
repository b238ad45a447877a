/** Where a feed may be asked. */

const LOOPBACK = /^(?:127(?:\.[0-9]{1,3}){3}|\[::1\]|localhost)$/

/** What is wrong with the URL of a feed; undefined for nothing. Its key must not travel in the clear. */
export function feedUrlFault(text: string): string | undefined {
  const url = URL.parse(text)
  if (url === null || (url.protocol !== 'https:' && url.protocol !== 'http:')) return 'expected https://HOST:PORT/'
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '')
    return 'expected no user, query or fragment'
  if (url.protocol === 'http:' && !LOOPBACK.test(url.hostname))
    return 'expected https: its key would travel in the clear; http is for loopback'
  return undefined
}
