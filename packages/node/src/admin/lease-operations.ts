/** What the admin API does with leases: shows them; statements about them are transactions like any other, or come with a pass. */

import { LedgerError } from '@ringwall/ledger'
import { databaseRole, type Lease, leaseUser, type SignedPass } from '@ringwall/ring'
import { parseContent, type SignedTx, TxMalformed } from '@ringwall/ring/tx'
import { z } from 'zod'
import type { RunningNode } from '../running-node.ts'
import type { Call, Operation } from './http.ts'
import { ApiProblem } from './problem.ts'

const WAIT_MS = 15_000
const ID = /^[0-9a-f]{32}$/

export function leaseOperations(node: RunningNode): readonly Operation[] {
  return [
    { method: 'GET', path: '/v1/leases', run: (call) => ({ json: leases(node, call) }) },
    // Open: whoever knows the id began it, or read it on a ledger. There is no password in it.
    { method: 'GET', path: '/v1/leases/{id}', open: true, run: (call) => ({ json: lease(node, call) }) },
    // Open: each statement is signed by the key of a pass, which every validator checks.
    { method: 'POST', path: '/v1/statements', open: true, run: async (call) => ({ json: await state(node, call) }) },
  ]
}

function shown(node: RunningNode, one: Lease): object {
  const { id, database, role, holder, beganAtMs, expiresAtMs, mostAtMs, work, end } = one
  const known = node.view().policy.vault.databases[database]
  const place = { host: known?.host ?? '', port: known?.port ?? 0, dbname: known?.database ?? '' }
  const state = end !== null ? 'ending' : work === 'make' ? 'making' : 'live'
  return { id, database, role, holder, user: leaseUser(one), ...place, state, end, beganAtMs, expiresAtMs, mostAtMs }
}

function leases(node: RunningNode, { operator }: Call): unknown {
  const { vault } = node.view().policy
  const mine = node.ledger
    .state()
    .leases.filter(
      ({ database, role }) => databaseRole(vault, { kind: 'operator', name: operator }, database, role) !== undefined,
    )
  return { leases: mine.map((one) => shown(node, one)) }
}

function lease(node: RunningNode, { parameters: { id = '' } }: Call): unknown {
  const found = ID.test(id) ? node.ledger.state().leases.find((one) => one.id === id) : undefined
  if (found === undefined) throw new ApiProblem(404, 'LEASE_UNKNOWN', 'there is no such lease (any more)')
  return shown(node, found)
}

const Body = z.strictObject({ content: z.unknown() })

/** Signs, as this node, what the holder of a pass states, and proposes it. */
async function state(node: RunningNode, call: Call): Promise<unknown> {
  const parsed = Body.safeParse(await call.body())
  if (!parsed.success) throw new ApiProblem(400, 'BAD_BODY', 'expected an object with `content`')
  let content: SignedTx['content']
  try {
    content = parseContent(parsed.data.content)
  } catch (error) {
    if (error instanceof TxMalformed) throw new ApiProblem(400, 'TX_MALFORMED', error.message)
    throw error
  }
  const pass: SignedPass | undefined = 'pass' in content.body ? content.body.pass : undefined
  if (pass === undefined || content.issuer !== `node:${node.config.id}`)
    throw new ApiProblem(422, 'NOT_ENTITLED', `expected a statement with a pass, and node:${node.config.id} as its issuer`)
  try {
    const { id, height } = await node.proposeContent(content, WAIT_MS)
    return { id, height }
  } catch (error) {
    if (!(error instanceof LedgerError)) throw error
    throw new ApiProblem(error.code === 'NO_QUORUM' ? 503 : 422, error.code, error.message)
  }
}
