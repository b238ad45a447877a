/** What the proxy records to: telemetry's store and its trace contexts behind one face. */
import type { Recorder } from '@ringwall/proxy'
import { childOf, formatTraceparent, newTrace, parseTraceparent, requestId, type Telemetry } from '@ringwall/telemetry'

export function proxyRecorder(telemetry: Telemetry): Recorder {
  return {
    parseTraceparent,
    newTrace,
    childOf,
    formatTraceparent,
    requestId,
    wants: (outcome) => telemetry.wants(outcome),
    recordDecision: (record) => telemetry.recordDecision(record),
    recordSpan: (span) => telemetry.recordSpan(span),
    observeRequest: (measure) => telemetry.observeRequest(measure),
  }
}
