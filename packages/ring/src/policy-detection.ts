/**
 * Detection rules of the policy (`detectors.rules`): which requests, counted by what, over what, within what time. What they mean is
 * `@ringwall/detect`’s to know; here is their shape, and what is wrong with one that has it.
 */
import { z } from 'zod'
import { didYouMean } from './did-you-mean.ts'
import { AnomalySettings, anomaliesOf } from './policy-anomalies.ts'
import type { PolicyFault } from './policy-faults.ts'
import { InsiderSettings } from './policy-insider.ts'
import { ModelSettings } from './policy-model.ts'
import { Duration, Name } from './policy-values.ts'

const RULES_MAX = 64
const COUNT_MAX = 1_000_000
const WITHIN_MS_MIN = 60_000
const WITHIN_MS_MAX = 7 * 86_400_000

const Filter = z
  .strictObject({
    routes: z.array(Name).max(64).optional().meta({ description: 'Names of routes, any of these.' }),
    methods: z
      .array(z.string().regex(/^[A-Z]{1,16}$/, 'expected a method such as POST'))
      .max(16)
      .optional(),
    status: z.array(z.int().min(100).max(599)).max(64).optional().meta({ description: 'What the client got, any of these.' }),
    login: z.enum(['failed', 'good', 'any']).optional().meta({ description: 'On routes with login.' }),
    signup: z
      .boolean()
      .optional()
      .meta({ description: 'Whether an account was made: on routes with signup, answered with 2xx.' }),
    session: z.boolean().optional().meta({ description: 'Whether somebody is logged in.' }),
    source: z
      .enum(['new', 'known'])
      .optional()
      .meta({ description: 'known: a login was good from there, on any node, within 15 to 30 days.' }),
    device: z
      .enum(['new', 'known'])
      .optional()
      .meta({ description: 'known: a login to the account was good from this program or this network within 15 to 30 days.' }),
    travel: z.enum(['impossible']).optional().meta({
      description: 'A good login from where nobody can have come since the last; takes files of places with locations.',
    }),
  })
  .meta({ description: 'Requests for which all of this holds.' })

const Count = z.int().min(1).max(COUNT_MAX)

const Over = z
  .strictObject({
    events: Count.optional(),
    bytes: z.int().min(1).max(1_000_000_000_000).optional().meta({ description: 'Of responses.' }),
    beats: Count.optional().meta({
      description: 'One after the other, each as long after the last as that after the one before: 5 s or more.',
    }),
    accounts: Count.optional(),
    sources: Count.optional(),
    networks: Count.optional(),
    fingerprints: Count.optional(),
    sessions: Count.optional(),
    paths: Count.optional(),
    routes: Count.optional(),
  })
  .refine((over) => Object.values(over).some((limit) => limit !== undefined), {
    error: 'expected at least one of events, bytes, beats, accounts, sources, networks, fingerprints, sessions, paths, routes',
  })
  .meta({ description: 'Each must be reached; all but events, bytes and beats count different ones.' })

const Rule = z.strictObject({
  name: Name,
  attack: z
    .array(z.string().regex(/^T\d{4}(\.\d{3})?$/, 'expected a technique of MITRE ATT&CK such as T1110.004'))
    .max(8)
    .default([]),
  mode: z
    .enum(['observe', 'enforce', 'off'])
    .default('observe')
    .meta({ description: 'observe: findings only; enforce: the sources are denied as well.' }),
  service: Name.optional().meta({ description: 'All unless given.' }),
  by: z
    .array(z.enum(['source', 'network', 'fingerprint', 'account', 'session', 'path', 'service']))
    .min(1)
    .max(2)
    .meta({ description: 'Whose requests are counted together.' }),
  when: Filter.prefault({}),
  over: Over,
  share: z
    .number()
    .min(0.01)
    .max(1)
    .optional()
    .meta({ description: 'At least this part of what the same key asked, since its first that counted.' }),
  among: Filter.optional().meta({ description: 'Of these only; of all unless given.' }),
  usual: z
    .number()
    .min(1.2)
    .max(100)
    .optional()
    .meta({ description: 'Times what is usual at that hour, weekdays and weekends apart; with by: [service].' }),
  after: z
    .strictObject({ when: Filter, within: Duration })
    .optional()
    .meta({ description: 'What the same key must have done before.' }),
  within: Duration.meta({ description: 'The window: 1m to 7d.' }),
  denyFor: Duration.default(900_000).meta({ description: 'How long with enforce.' }),
  reason: z.string().min(1).max(200).meta({ description: 'What it means, for people.' }),
})

export type DetectionRulePolicy = z.output<typeof Rule>

export const detectionKeys = {
  standard: z
    .enum(['observe', 'enforce', 'off'])
    .default('off')
    .meta({ description: 'The rules that come with Ringwall; enforce: of those that name sources.' }),
  session: z
    .strictObject({
      cookie: z.string().regex(/^[!#$%&'*+.^_`|~A-Za-z0-9-]{1,64}$/, 'expected the name of a cookie'),
    })
    .optional()
    .meta({ description: 'Where sessions are to be seen, besides tokens. Only a keyed hash of it is counted.' }),
  insider: InsiderSettings,
  model: ModelSettings.optional().meta({ description: 'Learns from requests, and judges what rules let pass.' }),
  anomalies: AnomalySettings.optional().meta({ description: 'Learns what is usual, and says what is not.' }),
  rules: z
    .array(Rule)
    .max(RULES_MAX)
    .default([])
    .meta({ description: 'Rules of your own; one with the name of a standard rule takes its place.' }),
}

/** What comes with Ringwall: rules that need no names of routes. */
export const STANDARD_DETECTION: readonly DetectionRulePolicy[] = z.array(Rule).parse([
  {
    name: 'stuffing-source',
    attack: ['T1110.003', 'T1110.004'],
    by: ['source'],
    when: { login: 'failed', source: 'new' },
    over: { accounts: 3 },
    share: 0.9,
    among: { login: 'any' },
    within: '1d',
    denyFor: '1h',
    reason: 'logins to several accounts failed from an address from which none was good lately',
  },
  {
    name: 'stuffing-program',
    attack: ['T1110.004'],
    by: ['fingerprint'],
    when: { login: 'failed' },
    over: { accounts: 30, sources: 10 },
    share: 0.9,
    among: { login: 'any' },
    within: '1h',
    denyFor: '1h',
    reason: 'one program fails to log in to many accounts from many addresses',
  },
  {
    name: 'stuffing-campaign',
    attack: ['T1110.004'],
    by: ['service'],
    when: { login: 'failed', source: 'new' },
    over: { events: 20, accounts: 15, sources: 15 },
    usual: 2.5,
    within: '5m',
    reason: 'far more logins than usual fail from addresses from which none was good lately',
  },
  {
    name: 'guessing-slow',
    attack: ['T1110.001'],
    by: ['source'],
    when: { login: 'failed', source: 'new' },
    over: { events: 30 },
    share: 0.95,
    among: { login: 'any' },
    within: '1d',
    denyFor: '1h',
    reason: 'logins fail again and again from an address from which none was good lately',
  },
  {
    name: 'scanning',
    attack: ['T1595.003'],
    by: ['source'],
    when: { status: [400, 403, 404, 405] },
    over: { paths: 40 },
    share: 0.5,
    within: '1h',
    denyFor: '1h',
    reason: 'asks for many paths that are not there',
  },
  {
    name: 'scanning-slow',
    attack: ['T1595.003'],
    by: ['source'],
    when: { status: [400, 403, 404, 405] },
    over: { paths: 120 },
    share: 0.6,
    within: '1d',
    denyFor: '1h',
    reason: 'asks for many paths that are not there, slowly',
  },
  {
    name: 'walking',
    attack: ['T1190'],
    by: ['session'],
    when: { status: [403, 404], session: true },
    over: { paths: 20 },
    share: 0.5,
    within: '1h',
    denyFor: '1h',
    reason: 'a session asks for many things that are not its own',
  },
  {
    name: 'scraping',
    attack: ['T1593'],
    by: ['source'],
    when: { methods: ['GET'], status: [200], session: false },
    over: { paths: 1_000 },
    share: 0.9,
    within: '6h',
    denyFor: '1h',
    reason: 'fetches far more pages than a person does, and next to nothing else',
  },
  {
    name: 'scraping-program',
    attack: ['T1593'],
    by: ['fingerprint'],
    when: { methods: ['GET'], status: [200], session: false },
    over: { paths: 2_000, sources: 20 },
    share: 0.95,
    within: '6h',
    denyFor: '1h',
    reason: 'one program fetches far more pages than people do, from many addresses',
  },
  {
    name: 'session-replay',
    attack: ['T1550.001', 'T1550.004'],
    by: ['session'],
    when: { session: true },
    over: { fingerprints: 2, networks: 2, events: 6 },
    within: '1h',
    reason: 'one session is used by different programs from different networks',
  },
  {
    name: 'exfiltration',
    attack: ['T1567', 'T1530'],
    by: ['session'],
    when: { session: true },
    over: { bytes: 500_000_000 },
    within: '6h',
    reason: 'a session fetches very much',
  },
  {
    name: 'beaconing',
    attack: ['T1071.001'],
    by: ['source', 'path'],
    when: { session: false },
    over: { beats: 240 },
    within: '6h',
    reason: 'asks for the same thing again and again, always as long after the last time',
  },
  {
    name: 'impossible-travel',
    attack: ['T1078'],
    by: ['account'],
    when: { login: 'good', device: 'new', travel: 'impossible' },
    over: { events: 1 },
    within: '1h',
    reason: 'logged in from a new machine and network, too far from the last login for the time between',
  },
  {
    name: 'signups-program',
    attack: ['T1585'],
    by: ['fingerprint'],
    when: { signup: true },
    over: { accounts: 20, sources: 5 },
    share: 0.3,
    within: '6h',
    denyFor: '1h',
    reason: 'one program makes many accounts from many addresses and does little else',
  },
  {
    name: 'signups-campaign',
    attack: ['T1585'],
    by: ['service'],
    when: { signup: true },
    over: { accounts: 15, sources: 10 },
    usual: 3,
    within: '6h',
    reason: 'far more accounts than usual are made',
  },
  {
    name: 'signups-slow',
    attack: ['T1585'],
    by: ['service'],
    when: { signup: true },
    over: { accounts: 20, sources: 20 },
    usual: 1.3,
    within: '1d',
    reason: 'more accounts than usual are made in a day, from more addresses',
  },
])

interface DetectionPolicy {
  readonly services: Readonly<Record<string, { readonly routes: readonly { readonly name: string }[] }>>
  readonly detectors: { readonly standard: 'observe' | 'enforce' | 'off'; readonly rules: readonly DetectionRulePolicy[] }
}

/** Programs that look after a service do the same. */
const WATCHED: ReadonlySet<string> = new Set(['beaconing'])

/** The rules in force, those that are off left out. */
export function detectionRulesOf({ detectors: { standard, rules } }: DetectionPolicy): readonly DetectionRulePolicy[] {
  const own = new Set(rules.map(({ name }) => name))
  const given =
    standard === 'off'
      ? []
      : STANDARD_DETECTION.filter(({ name }) => !own.has(name)).map((rule) => ({
          ...rule,
          mode:
            standard === 'enforce' && namesSources(rule) && !WATCHED.has(rule.name) ? ('enforce' as const) : ('observe' as const),
        }))
  return [...given, ...rules.filter(({ mode }) => mode !== 'off')]
}

/** Whether anybody looks at requests when they have ended. */
export function wantsSignals(policy: DetectionPolicy & Parameters<typeof anomaliesOf>[0]): boolean {
  return detectionRulesOf(policy).length > 0 || anomaliesOf(policy) !== undefined
}

/** Whether there is somebody to deny. */
function namesSources({ by }: DetectionRulePolicy): boolean {
  return by.includes('source')
}

export function detectionFaults({ services, detectors: { rules } }: DetectionPolicy): PolicyFault[] {
  const faults: PolicyFault[] = []
  const seen = new Set<string>()
  for (const [index, rule] of rules.entries()) {
    const path = ['detectors', 'rules', index]
    if (seen.has(rule.name))
      faults.push({ path: [...path, 'name'], message: `the rule ${rule.name} occurs twice`, hint: 'give each its own name' })
    seen.add(rule.name)
    if (rule.service !== undefined && services[rule.service] === undefined)
      faults.push({
        path: [...path, 'service'],
        message: `there is no service ${rule.service}`,
        ...hintOf(rule.service, Object.keys(services)),
      })
    const routes = Object.entries(services)
      .filter(([name]) => rule.service === undefined || name === rule.service)
      .flatMap(([, service]) => service.routes.map(({ name }) => name))
    for (const [place, filter] of [
      ['when', rule.when],
      ['among', rule.among],
      ['after', rule.after?.when],
    ] as const) {
      for (const [at, name] of (filter?.routes ?? []).entries()) {
        if (routes.includes(name)) continue
        const within = place === 'after' ? ['after', 'when'] : [place]
        faults.push({ path: [...path, ...within, 'routes', at], message: `there is no route ${name}`, ...hintOf(name, routes) })
      }
    }
    if (new Set(rule.by).size < rule.by.length) faults.push({ path: [...path, 'by'], message: 'the same key twice' })
    if (rule.by.includes('service') && rule.by.length > 1)
      faults.push({ path: [...path, 'by'], message: 'service stands alone: every key is of one service anyway' })
    if (rule.usual !== undefined && !rule.by.includes('service'))
      faults.push({ path: [...path, 'usual'], message: 'what is usual is known of services only', hint: 'write by: [service]' })
    if (rule.mode === 'enforce' && !namesSources(rule))
      faults.push({
        path: [...path, 'mode'],
        message: 'only what is counted by source has somebody to deny',
        hint: 'write mode: observe',
      })
    if (rule.among !== undefined && rule.share === undefined)
      faults.push({ path: [...path, 'among'], message: 'among says of what a share is, and there is no share' })
    for (const [key, ms] of [
      ['within', rule.within],
      ['after', rule.after?.within],
    ] as const) {
      if (ms === undefined || (ms >= WITHIN_MS_MIN && ms <= WITHIN_MS_MAX)) continue
      const place = key === 'after' ? ['after', 'within'] : ['within']
      faults.push({ path: [...path, ...place], message: `expected 1m to 7d, found ${ms / 1_000} s` })
    }
  }
  return faults
}

function hintOf(name: string, names: readonly string[]): { readonly hint?: string } {
  const hint = didYouMean(name, names)
  return hint === undefined ? {} : { hint: `did you mean ${hint}?` }
}
