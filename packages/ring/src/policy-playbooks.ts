/** Playbooks: what is done, step by step, about a finding or by hand. Each kind of step has keys of its own. */
import { z } from 'zod'
import type { PolicyFault } from './policy-faults.ts'
import { Duration, Name } from './policy-values.ts'

export const PLAYBOOK_STEPS_MAX = 32
const PLAYBOOKS_MAX = 100
const MINUTE_MS = 60_000
const DAY_MS = 86_400_000

/** What a playbook may be told, besides its name: about whom it is. */
export const PLAY_INPUTS = ['source', 'service', 'account', 'person'] as const
export type PlayInput = (typeof PLAY_INPUTS)[number]

export const STEP_KINDS = ['deny', 'end-sessions', 'rotate', 'approve', 'wait', 'notify', 'evidence'] as const
export type StepKind = (typeof STEP_KINDS)[number]

const Step = z.strictObject({
  do: z.enum(STEP_KINDS).meta({ description: 'What the step does; docs/playbooks.md has a table of them.' }),
  name: Name.optional().meta({ description: 'For people; unless given, its kind.' }),
  subject: z.enum(['source', 'account']).optional().meta({ description: 'Of deny: which input is denied.' }),
  for: Duration.optional().meta({ description: 'Of deny how long, of wait how long.' }),
  key: z.enum(['signing', 'sealing']).optional().meta({ description: 'Of rotate.' }),
  how: z.enum(['refresh', 'replace']).optional().meta({ description: 'Of rotate: new shares of the same key, or another key.' }),
  operators: z.int().min(1).max(100).optional().meta({ description: 'Of approve: how many have to.' }),
  within: Duration.optional().meta({ description: 'Of approve: until when, else the run fails. 24h unless given.' }),
  to: Name.optional().meta({ description: 'Of notify: a channel, as node.yaml names it.' }),
  text: z.string().min(1).max(500).optional().meta({ description: 'Of notify.' }),
  onFailure: z.enum(['stop', 'continue']).default('stop'),
})

const Playbook = z.strictObject({
  about: z.string().max(200).optional().meta({ description: 'One line for people.' }),
  when: z
    .strictObject({
      detectors: z.array(Name).min(1).max(64).meta({ description: 'Names of rules and detectors whose findings start it.' }),
    })
    .optional()
    .meta({ description: 'Without, it is started by hand only.' }),
  again: Duration.default(3_600_000).meta({ description: 'About the same not again by a finding before: 1m to 30d.' }),
  steps: z.array(Step).min(1).max(PLAYBOOK_STEPS_MAX),
})

export const Playbooks = z
  .record(Name, Playbook)
  .default({})
  .meta({ description: 'What is done, step by step, about findings or by hand.' })

export type PlaybookStep = z.output<typeof Step>
export type PlaybookPolicy = z.output<typeof Playbook>

type Key = Exclude<keyof PlaybookStep, 'do' | 'name' | 'onFailure'>

/** What each kind has; with `?` what it may leave out. */
const KEYS: Readonly<Record<StepKind, readonly (Key | `${Key}?`)[]>> = {
  deny: ['subject', 'for'],
  'end-sessions': [],
  rotate: ['key', 'how?'],
  approve: ['operators', 'within?'],
  wait: ['for'],
  notify: ['to', 'text'],
  evidence: [],
}

/** Which inputs a playbook has to be told. */
export function inputsOf({ steps }: PlaybookPolicy): readonly PlayInput[] {
  const wanted = new Set<PlayInput>()
  for (const step of steps) {
    if (step.do === 'deny' && step.subject === 'source') wanted.add('source')
    if (step.do === 'deny' && step.subject === 'account') wanted.add('account').add('service')
    if (step.do === 'end-sessions') wanted.add('person')
  }
  return PLAY_INPUTS.filter((input) => wanted.has(input))
}

export function nameOfStep({ name, do: kind }: PlaybookStep): string {
  return name ?? kind
}

export function playbookFaults(playbooks: Readonly<Record<string, PlaybookPolicy>>): PolicyFault[] {
  const faults: PolicyFault[] = []
  const names = Object.keys(playbooks)
  if (names.length > PLAYBOOKS_MAX)
    faults.push({ path: ['playbooks'], message: `${names.length} playbooks, at most ${PLAYBOOKS_MAX} are allowed` })
  for (const [name, playbook] of Object.entries(playbooks)) {
    const at = ['playbooks', name]
    if (playbook.again < MINUTE_MS || playbook.again > 30 * DAY_MS)
      faults.push({ path: [...at, 'again'], message: 'expected 1m to 30d' })
    for (const [index, step] of playbook.steps.entries()) faults.push(...stepFaults(step, [...at, 'steps', index]))
    if (playbook.when !== undefined && inputsOf(playbook).includes('person')) {
      const message = 'a finding names no person, whose sessions end-sessions would end'
      faults.push({ path: [...at, 'when'], message, hint: 'leave when out: it is started by hand' })
    }
  }
  return faults
}

function stepFaults(step: PlaybookStep, at: readonly (string | number)[]): PolicyFault[] {
  const faults: PolicyFault[] = []
  const known = KEYS[step.do]
  for (const wanted of known) {
    if (wanted.endsWith('?') || step[wanted as Key] !== undefined) continue
    faults.push({ path: [...at, wanted], message: `${step.do} needs ${wanted}`, hint: `add ${wanted}` })
  }
  for (const key of ['subject', 'for', 'key', 'how', 'operators', 'within', 'to', 'text'] as const) {
    if (step[key] === undefined || known.includes(key) || known.includes(`${key}?`)) continue
    const words = known.length === 0 ? 'none' : known.join(', ').replaceAll('?', '')
    faults.push({ path: [...at, key], onKey: true, message: `${step.do} has no ${key}`, hint: `its keys: ${words}` })
  }
  for (const key of ['for', 'within'] as const) {
    const ms = step[key]
    if (ms !== undefined && (ms < 1_000 || ms > 30 * DAY_MS)) faults.push({ path: [...at, key], message: 'expected 1s to 30d' })
  }
  return faults
}
