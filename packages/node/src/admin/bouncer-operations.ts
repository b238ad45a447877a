/**
 * The part of CrowdSec's local API that bouncers use, so that those that exist enforce this ring's denials (its OpenAPI document,
 * `/decisions` and `/decisions/stream`): who brings a key in `X-Api-Key` gets it in place of the operations for operators on these paths.
 * Errors are told as there: `{"message": ...}`.
 */
import { parsePrefixLoosely } from '@ringwall/ring'
import { type BouncerDecision, type DecisionFilter, decisionJson } from '../bouncers/decision-journal.ts'
import type { RunningNode } from '../running-node.ts'
import type { Answer, Call, Operation } from './http.ts'

/** Of an answer, made and written at once. */
const DECISIONS_A_PIECE = 200
const LIST_CHARS_MAX = 2_048
const SCOPES: ReadonlyMap<string, string> = new Map([
  ['ip', 'Ip'],
  ['range', 'Range'],
])

export function bouncerOperations(node: RunningNode): readonly Operation[] {
  return [
    { method: 'GET', path: '/v1/decisions', byKey: true, run: (call) => decisions(node, call) },
    { method: 'GET', path: '/v1/decisions/stream', byKey: true, run: (call) => stream(node, call) },
    { method: 'GET', path: '/v1/feeds', run: () => ({ json: { feeds: node.feeds(), indicators: indicators(node) } }) },
    { method: 'GET', path: '/v1/bouncers', run: async () => ({ json: await bouncers(node) }) },
  ]
}

const refused = (status: number, message: string): Answer => ({ status, json: { message } })
const TOO_MANY = refused(429, 'too many requests: ask less often')

function decisions(node: RunningNode, call: Call): Answer {
  const filter = filterOf(call.query)
  if (typeof filter === 'string') return refused(400, filter)
  const nowMs = Date.now()
  const found = node.bouncers.find(askerOf(call), filter, nowMs)
  if (found === undefined) return TOO_MANY
  // Nothing is `null` there, and not an empty list.
  if (found.length === 0) return { json: null }
  return { type: 'application/json', pieces: wrapped('[', found, ']', nowMs) }
}

function stream(node: RunningNode, call: Call): Answer {
  const filter = filterOf(call.query)
  if (typeof filter === 'string') return refused(400, filter)
  const nowMs = Date.now()
  // Whoever asks for headers alone is told nothing, and has nothing to remember.
  if (call.method === 'HEAD') return { type: 'application/json', text: '' }
  const told = node.bouncers.news(askerOf(call), call.query.get('startup') === 'true', filter, nowMs)
  if (told === undefined) return TOO_MANY
  const { added, deleted, done } = told
  function* pieces(): Generator<string> {
    yield* wrapped('{"new": [', added, '], ', nowMs)
    yield* wrapped('"deleted": [', deleted, ']}', nowMs)
    done()
  }
  return { type: 'application/json', pieces: pieces() }
}

function* wrapped(before: string, all: readonly BouncerDecision[], after: string, nowMs: number): Generator<string> {
  yield before
  for (let from = 0; from < all.length; from += DECISIONS_A_PIECE) {
    const piece = all.slice(from, from + DECISIONS_A_PIECE).map((decision) => decisionJson(decision, nowMs))
    yield `${from === 0 ? '' : ','}${piece.join(',')}`
  }
  yield after
}

const askerOf = ({ operator, source, agent }: Call) => ({ name: operator, source, agent })

/** What a query asks for; words that are not known are passed over, as CrowdSec does. A sentence when it cannot be read. */
export function filterOf(query: URLSearchParams): DecisionFilter | string {
  const list = (name: string): readonly string[] | undefined => {
    const text = query.get(name)
    return text === null ? undefined : text.split(',').filter((word) => word !== '')
  }
  if (query.toString().length > LIST_CHARS_MAX) return `the query is longer than ${LIST_CHARS_MAX} characters`
  const contains = query.get('contains') ?? 'true'
  if (!/^(1|t|true|0|f|false)$/i.test(contains))
    return `invalid contains value ${JSON.stringify(contains)}: expected true or false`
  const asked = query.get('ip') ?? query.get('range')
  const about = asked === null ? undefined : parsePrefixLoosely(asked)
  if (asked !== null && about === undefined) return `${JSON.stringify(asked)} is no address and no range`
  const scopes = list('scopes') ?? list('scope')
  const origins = list('origins')
  const [value, type] = [query.get('value'), query.get('type')]
  const lower = (words: readonly string[]): readonly string[] => words.map((word) => word.toLowerCase())
  const [scenariosWith, scenariosWithout] = [list('scenarios_containing'), list('scenarios_not_containing')]
  return {
    contains: /^(1|t|true)$/i.test(contains),
    ...(about === undefined ? {} : { about }),
    ...(scopes === undefined ? {} : { scopes: new Set(scopes.map((scope) => SCOPES.get(scope.toLowerCase()) ?? scope)) }),
    ...(origins === undefined ? {} : { origins: new Set(origins) }),
    ...(value === null ? {} : { value }),
    ...(type === null ? {} : { type }),
    ...(scenariosWith === undefined ? {} : { scenariosWith: lower(scenariosWith) }),
    ...(scenariosWithout === undefined ? {} : { scenariosWithout: lower(scenariosWithout) }),
  }
}

function indicators(node: RunningNode): readonly unknown[] {
  return node
    .indicators()
    .map(({ leftOut, ...rest }) => ({ ...rest, leftOut: leftOut.map(([kind, count]) => ({ kind, count })) }))
}

/** All that the policy lists, each with who last asked with its key, on which node. */
async function bouncers(node: RunningNode): Promise<unknown> {
  const answers = await node.queries.pullers()
  const asked = [...answers].flatMap(([id, pullers]) => (pullers ?? []).map((puller) => ({ ...puller, node: id })))
  return {
    bouncers: node.view().policy.bouncers.map(({ name }) => ({
      name,
      pulls: asked
        .filter((puller) => puller.name === name)
        .map(({ name: _, ...rest }) => rest)
        .sort((a, b) => b.lastMs - a.lastMs),
    })),
    silent: [...answers].flatMap(([id, pullers]) => (pullers === undefined ? [id] : [])),
  }
}
