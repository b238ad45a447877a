export { ASSIGNMENTS_VERSION, type Assignment, Assignments } from './assignments.ts'
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
export { type EmailSettings, emailChannel } from './notify/email-channel.ts'
export { slackChannel, type WebhookSettings, webhookChannel, webhookSignature } from './notify/http-channels.ts'
export { type Channel, DeliveryFailed, type Message } from './notify/message.ts'
export { type ChannelStatus, grouped, Notifier } from './notify/notifier.ts'
export { cef, type SyslogSettings, syslogChannel, syslogLine } from './notify/syslog-channel.ts'
export { isTurn, PlayRunner, type StepTask } from './playbooks/play-runner.ts'
