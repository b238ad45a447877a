export { CLOSINGS_VERSION, type Closing, Closings } from './closings.ts'
export {
  type FindingRecord,
  type FindingSubject,
  findingId,
  readFinding,
  SUBJECT_KINDS,
  type SubjectKind,
} from './finding.ts'
export { FINDINGS_VERSION, Findings, type FindingsOptions, type NewFinding } from './findings.ts'
export { correlate, type Incident, type TimelineEntry } from './incidents.ts'
