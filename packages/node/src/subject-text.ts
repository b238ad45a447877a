/** What a denial is about, in words. */
import type { DenialSubject } from '@ringwall/ring'

export function describeSubject(subject: DenialSubject): string {
  if (subject.kind === 'account') return `account ${subject.value.slice(0, 8)}… of ${subject.service}`
  const of = 'issuer' in subject && subject.issuer !== undefined ? ` of ${subject.issuer}` : ''
  if (subject.kind !== 'issued-before') return `${subject.kind} ${subject.value}${of}`
  const whose = subject.subject === undefined ? 'everything' : `everything of the subject ${subject.subject}`
  return `${whose}${of} issued before ${subject.value}`
}
