/** Which trailers of an upstream go on to the client. */

/** Would change what was already decided from the head (RFC 9110 section 6.5.1). */
const TRAILERS_REFUSED: ReadonlySet<string> = new Set([
  'content-length',
  'transfer-encoding',
  'content-type',
  'content-encoding',
  'host',
  'connection',
  'trailer',
  'set-cookie',
  'location',
  'cache-control',
  'x-request-id',
])

export function keptTrailers(trailers: readonly string[]): readonly string[] {
  if (trailers.length === 0) return trailers
  const kept: string[] = []
  for (let at = 0; at < trailers.length; at += 2)
    if (!TRAILERS_REFUSED.has(trailers[at]!.toLowerCase())) kept.push(trailers[at]!, trailers[at + 1]!)
  return kept
}
