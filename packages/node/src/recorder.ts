/** What the proxy records to: telemetry's store and its trace contexts behind one face. */
import type { DecisionRecord, Recorder } from '@ringwall/proxy'
import { childOf, formatTraceparent, newTrace, parseTraceparent, requestId, type Telemetry } from '@ringwall/telemetry'
import { MASKED, maskSecrets } from '@ringwall/waf'
import type { AuditLog } from './audit-log.ts'

export type RequestTelemetry = Pick<Telemetry, 'wants' | 'recordDecision' | 'recordSpan' | 'observeRequest'>

export function proxyRecorder(telemetry: RequestTelemetry, audit: Pick<AuditLog, 'finished'> | undefined): Recorder {
  return {
    parseTraceparent,
    newTrace,
    childOf,
    formatTraceparent,
    requestId,
    wants: (outcome) => telemetry.wants(outcome),
    recordDecision: (record) => telemetry.recordDecision(withoutSecrets(record)),
    recordSpan: (span) => telemetry.recordSpan(span),
    observeRequest: (measure) => telemetry.observeRequest(measure),
    ...(audit === undefined ? {} : { finished: (requestId, status, fields) => audit.finished(requestId, status, fields) }),
  }
}

/** Excerpts are of the request's own values: what is a credential by its name is not written down. */
export function withoutSecrets(record: DecisionRecord): DecisionRecord {
  if (record.matches.length === 0) return record
  const secrets: string[] = []
  const matches = record.matches.map((match) => {
    const excerpt = maskSecrets(match.variable, match.excerpt)
    if (excerpt !== match.excerpt && match.excerpt.length >= 4) secrets.push(match.excerpt)
    return excerpt === match.excerpt ? match : { ...match, excerpt }
  })
  if (secrets.length === 0) return { ...record, matches }
  // A message may quote what matched, and so may the reason, which is a message.
  const quiet = (text: string): string => secrets.reduce((left, secret) => left.replaceAll(secret, MASKED), text)
  return {
    ...record,
    reason: quiet(record.reason),
    matches: matches.map((match) => ({ ...match, message: quiet(match.message), excerpt: quiet(match.excerpt) })),
  }
}
