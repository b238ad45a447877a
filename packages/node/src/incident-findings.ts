/** What each detector concludes, as the desk takes it. */
import type { AnomalyFinding, Finding, SlowLoginFinding } from '@ringwall/detect'
import type { FindingSubject, NewFinding } from '@ringwall/respond'
import { type Detected, sourceText } from './detection.ts'
import { subjectOfWords } from './slow-login-watch.ts'

export function ofDetected({ atMs, policy, key, sources, reason, denied, service }: Detected): NewFinding {
  // Of two keys the first says whom it is about.
  const [kind, value] = key[0]!
  return {
    atMs,
    detector: policy.name,
    attack: policy.attack,
    service,
    subject: { kind, value: kind === 'source' ? sourceText(value) : value },
    sources: sources.map(sourceText),
    reason: `${policy.reason}: ${reason}`,
    denied,
  }
}

/** Of no technique: what is not as usual need not be an attack. */
export function ofAnomaly({ rule, service, key: [kind, value], sources, atMs, reason }: AnomalyFinding): NewFinding {
  const about = kind === 'route' ? `${service}/${value}` : kind === 'source' ? sourceText(value) : value
  return {
    atMs,
    detector: rule,
    attack: [],
    service,
    subject: { kind, value: about },
    sources: sources.map(sourceText),
    reason,
    denied: false,
  }
}

export function ofFailedLogins({ subject, reason }: Finding, atMs: number): NewFinding {
  const about: FindingSubject =
    subject.kind === 'ip' ? { kind: 'source', value: subject.value } : { kind: 'account', value: subject.value }
  return {
    atMs,
    detector: 'failed-logins',
    attack: ['T1110'],
    service: subject.kind === 'account' ? subject.service : undefined,
    subject: about,
    sources: subject.kind === 'ip' ? [subject.value] : [],
    reason,
    denied: true,
  }
}

export function ofSlowLogins({ service, account, sources, own, reason }: SlowLoginFinding, atMs: number): NewFinding {
  return {
    atMs,
    detector: 'slow-logins',
    attack: ['T1110.003'],
    service,
    subject: { kind: 'account', value: account },
    sources: sources.map((words) => subjectOfWords(words).value),
    reason,
    denied: own.length > 0,
  }
}

export function ofFlood(named: readonly string[], reason: string, denied: boolean, atMs: number): NewFinding {
  const value = named[0] ?? 'unknown'
  return {
    atMs,
    detector: 'floods',
    attack: ['T1498.001'],
    service: undefined,
    subject: { kind: value.includes('/') ? 'network' : 'source', value },
    sources: named,
    reason,
    denied,
  }
}
