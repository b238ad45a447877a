/**
 * Incidents: findings of all nodes that belong together, as one story. Two findings belong together when, within `JOIN_MS` of each other, they share a source, an
 * account, a session or a program; or when they are of one campaign: about the same service, by techniques of one family, within `CAMPAIGN_MS`.
 *
 * A function of the set of findings, and of nothing else: every node that knows the same findings tells the same incidents.
 */
import { type FindingRecord, type FindingSubject, findingId, SEVERITIES, type Severity } from './finding.ts'

const JOIN_MS = 24 * 3_600_000
const CAMPAIGN_MS = 3_600_000

/** Techniques that one campaign may use, by the first part of their numbers. */
const FAMILIES: ReadonlyMap<string, string> = new Map([
  ['T1110', 'logins'],
  ['T1078', 'logins'],
  ['T1098', 'logins'],
  ['T1589', 'logins'],
  ['T1585', 'accounts'],
  ['T1595', 'scanning'],
  ['T1190', 'scanning'],
  ['T1593', 'content'],
  ['T1567', 'content'],
  ['T1530', 'content'],
  ['T1550', 'sessions'],
  ['T1498', 'floods'],
  ['T1499', 'floods'],
  ['T1071', 'beacons'],
])
/** Of techniques that mean that somebody is inside already. */
const INSIDE: ReadonlySet<string> = new Set(['T1078', 'T1098', 'T1550', 'T1567', 'T1530', 'T1071'])

/** One detector about one subject, over all nodes. */
export interface TimelineEntry {
  readonly firstMs: number
  readonly lastMs: number
  readonly detector: string
  readonly subject: FindingSubject
  readonly nodes: readonly string[]
  /** How often it was concluded, all nodes together. */
  readonly times: number
  /** Of the last. */
  readonly reason: string
  readonly denied: boolean
}

export interface Incident {
  /** 12 hex digits; that of the first of its findings, so that one found earlier changes it. */
  readonly id: string
  /** Of all its findings: what an operator closed by stays closed by. */
  readonly ids: readonly string[]
  readonly severity: Severity
  readonly title: string
  readonly services: readonly string[]
  readonly attack: readonly string[]
  readonly detectors: readonly string[]
  readonly nodes: readonly string[]
  /** At most `NAMED_MAX`. */
  readonly sources: readonly string[]
  readonly accounts: readonly string[]
  readonly sessions: readonly string[]
  readonly firstMs: number
  readonly lastMs: number
  /** Conclusions that say what another has said. */
  readonly duplicates: number
  readonly timeline: readonly TimelineEntry[]
}

const NAMED_MAX = 256
const TIMELINE_MAX = 200

/** What is about to be one incident. */
interface Group {
  readonly findings: FindingRecord[]
}

/** @param findings In order of their beginning. @returns The latest first. */
export function correlate(findings: readonly FindingRecord[]): readonly Incident[] {
  /** Union-find over findings, by position. */
  const parents = findings.map((_, at) => at)
  const rootOf = (at: number): number => {
    let root = at
    while (parents[root] !== root) root = parents[root]!
    for (let next = at; parents[next] !== root; ) [next, parents[next]] = [parents[next]!, root]
    return root
  }
  /** The last finding that had a link, and until when it went on. */
  const links = new Map<string, { at: number; untilMs: number }>()
  for (const [at, finding] of findings.entries()) {
    for (const [link, withinMs] of linksOf(finding)) {
      const last = links.get(link)
      if (last !== undefined && finding.firstMs - last.untilMs <= withinMs) {
        const [a, b] = [rootOf(last.at), rootOf(at)]
        // The earlier is the root: it names the incident.
        if (a !== b) parents[Math.max(a, b)] = Math.min(a, b)
      }
      links.set(link, { at, untilMs: Math.max(last?.untilMs ?? 0, finding.lastMs) })
    }
  }
  const groups = new Map<number, Group>()
  for (const [at, finding] of findings.entries()) {
    const root = rootOf(at)
    const group = groups.get(root)
    if (group === undefined) groups.set(root, { findings: [finding] })
    else group.findings.push(finding)
  }
  return [...groups.values()].map(incidentOf).sort((a, b) => b.lastMs - a.lastMs || (a.id < b.id ? -1 : 1))
}

function* linksOf({ subject, sources, service, attack }: FindingRecord): Generator<readonly [string, number]> {
  if (subject.kind !== 'service' && subject.kind !== 'path') yield [`${subject.kind} ${subject.value}`, JOIN_MS]
  for (const source of sources) yield [`source ${source}`, JOIN_MS]
  if (service === undefined) return
  for (const family of new Set(attack.map(familyOf))) yield [`campaign ${service} ${family}`, CAMPAIGN_MS]
}

function familyOf(technique: string): string {
  const number = technique.split('.', 1)[0]!
  return FAMILIES.get(number) ?? number
}

function incidentOf({ findings }: Group): Incident {
  const entries = new Map<string, TimelineEntry>()
  for (const { detector, subject, node, firstMs, lastMs, times, reason, denied } of findings) {
    const key = `${detector} ${subject.kind} ${subject.value}`
    const before = entries.get(key)
    const isLater = before === undefined || lastMs >= before.lastMs
    entries.set(key, {
      detector,
      subject,
      nodes: distinct([...(before?.nodes ?? []), node]),
      firstMs: Math.min(before?.firstMs ?? firstMs, firstMs),
      lastMs: Math.max(before?.lastMs ?? 0, lastMs),
      times: (before?.times ?? 0) + times,
      reason: isLater ? reason : before.reason,
      denied: denied || before?.denied === true,
    })
  }
  const timeline = [...entries.values()].sort((a, b) => a.firstMs - b.firstMs)
  const detectors = distinct(findings.map(({ detector }) => detector))
  const nodes = distinct(findings.map(({ node }) => node))
  const attack = distinct(findings.flatMap((finding) => finding.attack))
  const services = distinct(findings.flatMap(({ service }) => service ?? []))
  const named = (kind: FindingSubject['kind']): readonly string[] =>
    distinct(findings.flatMap(({ subject }) => (subject.kind === kind ? [subject.value] : []))).slice(0, NAMED_MAX)
  const sources = distinct([...named('source'), ...findings.flatMap((finding) => finding.sources)]).slice(0, NAMED_MAX)
  const isInside = attack.some((technique) => INSIDE.has(technique.split('.', 1)[0]!))
  const times = findings.reduce((sum, finding) => sum + finding.times, 0)
  return {
    id: idOf(findingId(findings[0]!)),
    ids: findings.map((finding) => idOf(findingId(finding))),
    severity: severityOf(findings, isInside || detectors.length > 2, detectors.length > 1 || nodes.length > 1),
    title: titleOf(detectors, sources.length, services),
    services,
    attack,
    detectors,
    nodes,
    sources,
    accounts: named('account'),
    sessions: named('session'),
    firstMs: Math.min(...findings.map(({ firstMs }) => firstMs)),
    lastMs: Math.max(...findings.map(({ lastMs }) => lastMs)),
    duplicates: times - timeline.length,
    timeline: timeline.slice(0, TIMELINE_MAX),
  }
}

/** What its findings say themselves is the least. */
function severityOf(findings: readonly FindingRecord[], isHigh: boolean, isMedium: boolean): Severity {
  if (isHigh) return 'high'
  const least = Math.max(0, ...findings.map(({ severity = 'low' }) => SEVERITIES.indexOf(severity)))
  // Of a node of the ring several nodes say so as a rule: that alone is no more.
  const isOwn = findings.every(({ subject }) => subject.kind === 'node')
  return SEVERITIES[Math.max(least, isMedium && !isOwn ? 1 : 0)] as Severity
}

function titleOf(detectors: readonly string[], sources: number, services: readonly string[]): string {
  const more = detectors.length > 3 ? ` and ${detectors.length - 3} more` : ''
  const from = sources === 0 ? '' : ` from ${sources} ${sources === 1 ? 'source' : 'sources'}`
  return `${detectors.slice(0, 3).join(', ')}${more}${services.length === 0 ? '' : ` on ${services.join(', ')}`}${from}`
}

const distinct = (texts: readonly string[]): readonly string[] => [...new Set(texts)].sort()

/** 48 bits of the text, by two rounds of FNV-1a: to be told apart by people, not by whoever makes findings up. */
function idOf(text: string): string {
  const round = (seed: number): number => {
    let hash = seed
    for (let at = 0; at < text.length; at += 1) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193)
    hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
    return (hash ^ (hash >>> 13)) >>> 0
  }
  return (round(0x811c9dc5).toString(16).padStart(8, '0') + round(0x1b873593).toString(16).padStart(8, '0')).slice(0, 12)
}
