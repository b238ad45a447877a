/** Incidents, for operators: what there is, one of them, who works on it, and that it is done with. */
import { z } from 'zod'
import { makeEvidence } from '../evidence.ts'
import type { DeskIncident } from '../incidents.ts'
import type { RunningNode } from '../running-node.ts'
import type { Call, Operation } from './http.ts'
import { ApiProblem } from './problem.ts'

const LIST_MAX = 500
const Close = z.strictObject({ note: z.string().max(512) })
const Assign = z.strictObject({ to: z.string().max(64).nullish(), note: z.string().max(512) })

export function incidentOperations(node: RunningNode): readonly Operation[] {
  return [
    { method: 'GET', path: '/v1/incidents', run: (call) => ({ json: list(node, call) }) },
    { method: 'GET', path: '/v1/incidents/{id}', run: (call) => ({ json: whole(found(node, call)) }) },
    { method: 'GET', path: '/v1/incidents/{id}/evidence', run: async (call) => ({ json: await evidence(node, call) }) },
    { method: 'POST', path: '/v1/incidents/{id}/assign', run: async (call) => ({ json: await assign(node, call) }) },
    { method: 'POST', path: '/v1/incidents/{id}/close', run: async (call) => ({ json: await close(node, call) }) },
  ]
}

function list(node: RunningNode, { query }: Call): unknown {
  const state = query.get('state') ?? 'open'
  if (state !== 'open' && state !== 'closed' && state !== 'all')
    throw new ApiProblem(400, 'QUERY_INVALID', `state ${state}: expected open, closed or all`)
  const all = node.desk.list().filter(({ closed }) => state === 'all' || (closed === undefined) === (state === 'open'))
  return { incidents: all.slice(0, LIST_MAX).map(short), more: Math.max(0, all.length - LIST_MAX) }
}

function found(node: RunningNode, { parameters }: Call): DeskIncident {
  const id = parameters.id ?? ''
  const incident = /^[0-9a-f]{4,12}$/.test(id) ? node.desk.find(id) : undefined
  if (incident === undefined)
    throw new ApiProblem(404, 'INCIDENT_UNKNOWN', `there is no one incident ${id}: ringwall incident ls --all lists them`)
  return incident
}

async function close(node: RunningNode, call: Call): Promise<unknown> {
  const incident = found(node, call)
  const body = Close.safeParse(await call.body())
  if (!body.success) throw new ApiProblem(400, 'BODY_INVALID', 'expected {"note": TEXT}, of at most 512 characters')
  const closed = node.desk.close(incident, call.operator, body.data.note.replace(/\p{Cc}/gu, ' '), Date.now())
  node.events.add('finding', 'info', `incident ${incident.id} closed by ${closed.by}: ${closed.note}`)
  return whole({ ...incident, closed })
}

async function assign(node: RunningNode, call: Call): Promise<unknown> {
  const incident = found(node, call)
  const body = Assign.safeParse(await call.body())
  if (!body.success)
    throw new ApiProblem(
      400,
      'BODY_INVALID',
      'expected {"to": OPERATOR or null, "note": TEXT}, without "to" whoever asks, the text of at most 512 characters',
    )
  const { to = call.operator, note } = body.data
  const operators = node.view().operators.map(({ name }) => name)
  if (to !== null && !operators.includes(to))
    throw new ApiProblem(
      422,
      'OPERATOR_UNKNOWN',
      `/to: there is no operator ${JSON.stringify(to)}; the ring has ${operators.join(', ')}, and null is nobody`,
    )
  const said = node.desk.assign(incident, to, call.operator, note.replace(/\p{Cc}/gu, ' '), Date.now())
  const why = said.note === '' ? '' : `: ${said.note}`
  node.events.add('incident', 'info', `incident ${incident.id} is ${to === null ? 'nobody’s' : `${to}’s`}, by ${said.by}${why}`)
  return whole({ ...incident, assigned: to === null ? undefined : said })
}

async function evidence(node: RunningNode, call: Call): Promise<unknown> {
  const incident = found(node, call)
  const made = await makeEvidence(node, incident, whole(incident))
  if (made === undefined) throw new ApiProblem(409, 'NOT_CERTIFIED_YET', 'no later block is certified yet: ask again in a moment')
  return made
}

function short({ ids, timeline, closed, assigned, accounts, sessions, ...rest }: DeskIncident) {
  return { ...rest, findings: ids.length, closed: closed ?? null, assigned: assigned ?? null }
}

function whole(incident: DeskIncident) {
  const { timeline, accounts, sessions } = incident
  return { ...short(incident), accounts, sessions, timeline }
}
