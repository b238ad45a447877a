/** Keeps records small and free of secrets, whoever wrote them: no query string, bounded texts. */
import type { AttributeValue, DecisionRecord, Span } from './types.ts'

const PATH_LENGTH_MAX = 2_048
const TEXT_LENGTH_MAX = 512
const EXCERPT_LENGTH_MAX = 120
const MATCHES_MAX = 64
const ATTRIBUTES_MAX = 64

/** Query values are where sessions and passwords travel: what follows `?` or `#` is never kept. */
export function withoutQuery(path: string): string {
  for (let at = 0; at < path.length; at++) {
    const code = path.charCodeAt(at)
    if (code === 0x3f || code === 0x23) return path.slice(0, Math.min(at, PATH_LENGTH_MAX))
  }
  return path.length > PATH_LENGTH_MAX ? path.slice(0, PATH_LENGTH_MAX) : path
}

export function boundRecord(record: DecisionRecord): DecisionRecord {
  const path = withoutQuery(record.path)
  const fits =
    path === record.path &&
    record.matches.length === 0 &&
    record.reason.length <= TEXT_LENGTH_MAX &&
    record.host.length <= TEXT_LENGTH_MAX &&
    record.method.length <= 32 &&
    record.source.length <= 64
  if (fits) return record
  return {
    ...record,
    path,
    method: record.method.slice(0, 32),
    source: record.source.slice(0, 64),
    host: record.host.slice(0, TEXT_LENGTH_MAX),
    reason: record.reason.slice(0, TEXT_LENGTH_MAX),
    matches: record.matches.slice(0, MATCHES_MAX).map((match) => ({
      ruleId: match.ruleId,
      message: match.message.slice(0, TEXT_LENGTH_MAX),
      severity: match.severity,
      variable: match.variable.slice(0, TEXT_LENGTH_MAX),
      excerpt: match.excerpt.slice(0, EXCERPT_LENGTH_MAX),
    })),
  }
}

export function boundSpan(span: Span): Span {
  let fits = span.name.length <= TEXT_LENGTH_MAX
  let count = 0
  for (const key in span.attributes) {
    const value = span.attributes[key]
    count++
    if (typeof value === 'string' && (value.length > TEXT_LENGTH_MAX || key === 'url.path' || key === 'url.query')) fits = false
  }
  if (fits && count <= ATTRIBUTES_MAX) return span
  const attributes: Record<string, AttributeValue> = {}
  for (const [key, value] of Object.entries(span.attributes).slice(0, ATTRIBUTES_MAX)) {
    if (key === 'url.query' || key === 'url.full') continue
    attributes[key] =
      typeof value !== 'string' ? value : key === 'url.path' ? withoutQuery(value) : value.slice(0, TEXT_LENGTH_MAX)
  }
  return { ...span, name: span.name.slice(0, TEXT_LENGTH_MAX), attributes }
}
