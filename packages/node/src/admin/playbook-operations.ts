/** Playbooks and their runs, for operators; what they state about runs is signed by them, as a transaction. */

import { DeliveryFailed } from '@ringwall/respond'
import {
  inputFault,
  inputsOf,
  isOver,
  nameOfStep,
  type Play,
  type PlaybookPolicy,
  type PlayStatement,
  playbookDigest,
  rehearsedPlay,
  subjectFault,
} from '@ringwall/ring'
import { z } from 'zod'
import type { RunningNode } from '../running-node.ts'
import type { Call, Operation } from './http.ts'
import { ApiProblem } from './problem.ts'

const LIST_MAX = 500
const Input = z.string().min(1).max(512).optional()
const Rehearse = z.strictObject({
  playbook: z.string().max(63),
  inputs: z.strictObject({ source: Input, service: Input, account: Input, person: Input }),
})

export function playbookOperations(node: RunningNode): readonly Operation[] {
  return [
    { method: 'GET', path: '/v1/playbooks', run: () => ({ json: playbooks(node) }) },
    { method: 'POST', path: '/v1/playbooks/rehearsal', run: async (call) => ({ json: await rehearse(node, call) }) },
    { method: 'GET', path: '/v1/playbooks/runs', run: (call) => ({ json: runs(node, call) }) },
    { method: 'GET', path: '/v1/playbooks/runs/{id}', run: (call) => ({ json: shown(node, found(node, call)) }) },
    { method: 'GET', path: '/v1/playbooks/runs/{id}/evidence', run: async (call) => ({ json: await evidence(node, call) }) },
    { method: 'GET', path: '/v1/notify', run: () => ({ json: { channels: channels(node) } }) },
    { method: 'POST', path: '/v1/notify/{name}/test', run: async (call) => ({ json: await testChannel(node, call) }) },
  ]
}

function playbooks(node: RunningNode): unknown {
  const all = node.ledger.state().plays.list()
  const { playbooks: named } = node.view().policy
  return {
    playbooks: Object.entries(named).map(([name, playbook]) => ({
      name,
      about: playbook.about ?? '',
      digest: playbookDigest(playbook),
      detectors: playbook.when?.detectors ?? [],
      inputs: inputsOf(playbook),
      steps: playbook.steps.map((step) => ({ name: nameOfStep(step), does: step.do })),
      open: all.filter((play) => play.playbook === name && !isOver(play)).length,
      over: all.filter((play) => play.playbook === name && isOver(play)).length,
    })),
  }
}

function playbookNamed(node: RunningNode, name: string): PlaybookPolicy {
  const { playbooks: named } = node.view().policy
  const playbook = Object.hasOwn(named, name) ? named[name] : undefined
  if (playbook === undefined)
    throw new ApiProblem(404, 'PLAYBOOK_UNKNOWN', `the policy has no playbook ${name}; see ringwall playbook ls`)
  return playbook
}

async function rehearse(node: RunningNode, call: Call): Promise<unknown> {
  const body = Rehearse.safeParse(await call.body())
  if (!body.success)
    throw new ApiProblem(
      400,
      'BODY_INVALID',
      'expected {"playbook": NAME, "inputs": {"source": …, "service": …, "account": …, "person": …}}',
    )
  const { playbook: name, inputs } = body.data
  const playbook = playbookNamed(node, name)
  const { policy } = node.view()
  const fault = inputFault(playbook, inputs, policy)
  if (fault !== undefined) throw new ApiProblem(422, 'PLAY_INPUTS', fault)
  const state = node.ledger.state()
  const means = {
    ring: node.ring,
    policy,
    nowMs: Date.now(),
    subjectFault: (of: typeof state, subject: Parameters<typeof subjectFault>[1]) => subjectFault(of, subject, policy, node.ring),
  }
  const steps = rehearsedPlay(state, playbook, inputs, means)
  return { playbook: name, steps: steps.map(({ fault: why, ...step }) => ({ ...step, fault: why ?? null })) }
}

function runs(node: RunningNode, { query }: Call): unknown {
  const state = query.get('state') ?? 'all'
  if (state !== 'open' && state !== 'over' && state !== 'all')
    throw new ApiProblem(400, 'QUERY_INVALID', `state ${state}: expected open, over or all`)
  const all = node.ledger
    .state()
    .plays.list()
    .filter((play) => state === 'all' || isOver(play) === (state === 'over'))
  const latest = all.toSorted((a, b) => b.startedAtMs - a.startedAtMs)
  return { runs: latest.slice(0, LIST_MAX).map((play) => shown(node, play)), more: Math.max(0, all.length - LIST_MAX) }
}

function found(node: RunningNode, { parameters }: Call): Play {
  const id = parameters.id ?? ''
  const fits = /^[0-9a-f]{4,16}$/.test(id)
    ? node.ledger
        .state()
        .plays.list()
        .filter((play) => play.id.startsWith(id))
    : []
  if (fits.length !== 1 || fits[0] === undefined)
    throw new ApiProblem(404, 'PLAY_UNKNOWN', `there is no one run ${id.slice(0, 20)}: ringwall playbook runs lists them`)
  return fits[0]
}

function shown(node: RunningNode, play: Play): object {
  const { playbooks: named } = node.view().policy
  const playbook = Object.hasOwn(named, play.playbook) ? named[play.playbook] : undefined
  const steps = playbook !== undefined && playbookDigest(playbook) === play.digest ? playbook.steps : []
  const { claim, outcomes, inputs } = play
  return {
    ...play,
    inputs: Object.entries(inputs).map(([name, value]) => ({ name, value })),
    claim: claim === null ? null : { node: claim.node, attempt: claim.attempt, untilMs: claim.untilMs },
    steps: steps.map(nameOfStep),
    outcomes: outcomes.map((outcome) => ({ ...outcome })),
  }
}

async function evidence(node: RunningNode, call: Call): Promise<unknown> {
  const play = found(node, call)
  for (let step = play.at; step >= 0; step -= 1) {
    const bytes = await node.playbooks.evidence(play.id, step)
    if (bytes !== undefined) return JSON.parse(new TextDecoder().decode(bytes)) as unknown
  }
  const noted = play.outcomes.find(({ note }) => note.startsWith('sha256:'))
  const where = noted === undefined ? 'the run has kept none' : `${noted.by} has it: ask its admin API`
  throw new ApiProblem(404, 'EVIDENCE_UNKNOWN', `this node has no evidence of ${play.id}: ${where}`)
}

function channels(node: RunningNode): unknown {
  return node.notifier.status().map(({ problem, ...rest }) => ({ ...rest, problem: problem ?? null }))
}

async function testChannel(node: RunningNode, call: Call): Promise<unknown> {
  const name = call.parameters.name ?? ''
  const atMs = Date.now()
  try {
    await node.notifier.deliver(name, {
      id: `test-${node.config.id}-${atMs}`,
      type: 'test',
      severity: 'low',
      title: 'a test',
      text: `${call.operator} has this node say that it can.`,
      atMs,
      ring: node.ring,
      node: node.config.id,
      facts: {},
    })
  } catch (error) {
    if (error instanceof DeliveryFailed) throw new ApiProblem(502, error.code, `${name}: ${error.message}`)
    throw error
  }
  return { name, told: true }
}

/** For lists of blocks. */
export function summarizePlay(body: PlayStatement): string {
  switch (body.type) {
    case 'play.start':
      return `playbook ${body.playbook} starts: ${body.reason}`
    case 'play.claim':
      return `takes step ${body.step} of the run ${body.run}, attempt ${body.attempt}`
    case 'play.report':
      return `step ${body.step} of the run ${body.run} ${body.ok ? 'is done' : 'failed'}: ${body.note}`
    default:
      return `${body.type.slice('play.'.length)} the run ${body.run}: ${body.reason}`
  }
}
