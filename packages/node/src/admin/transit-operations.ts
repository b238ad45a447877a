/** What the admin API does with keys of the transit: shows them, and has them used for whoever signs for it. */
import { mayManageTransit, mayUseTransit, type TransitKey, transitKey } from '@ringwall/ring'
import { parseSignedTransitRequest } from '@ringwall/vault'
import type { RunningNode } from '../running-node.ts'
import type { Call, Operation } from './http.ts'
import { minted, requestIn } from './key-operations.ts'
import { ApiProblem } from './problem.ts'
import { answeredBy } from './vault-operations.ts'

export function transitOperations(node: RunningNode): readonly Operation[] {
  return [
    { method: 'GET', path: '/v1/transit/keys', run: (call) => ({ json: keys(node, call) }) },
    // Open: there is nothing secret in it, and services ask, too.
    { method: 'GET', path: '/v1/transit/key', open: true, run: (call) => ({ json: key(node, call) }) },
    // Open: each request is signed by who may ask, and every holder of the keys checks that.
    {
      method: 'POST',
      path: '/v1/transit/use',
      open: true,
      run: async (call) => {
        const { replies, refusals } = await answeredBy(node, call, parseSignedTransitRequest)
        return { json: { replies, refusals } }
      },
    },
    { method: 'POST', path: '/v1/transit/sign', open: true, run: async (call) => ({ json: await sign(node, call) }) },
  ]
}

function shown({ name, id, use, versions }: TransitKey): object {
  return { name, id, use, versions: versions.map(({ version, atMs, by, signer }) => ({ version, atMs, by, signer })) }
}

function keys(node: RunningNode, { operator }: Call): unknown {
  const { vault: rules } = node.view().policy
  return {
    keys: node.ledger.state().transit.flatMap((one) => {
      const mayUse = mayUseTransit(rules, { kind: 'operator', name: operator }, one.name)
      const mayManage = mayManageTransit(rules, operator, one.name)
      return mayUse || mayManage ? [{ ...shown(one), mayUse, mayManage }] : []
    }),
  }
}

function key(node: RunningNode, { query }: Call): unknown {
  const found = transitKey(node.ledger.state().transit, query.get('name') ?? '')
  if (found === undefined) throw new ApiProblem(404, 'TRANSIT_UNKNOWN', 'there is no such key; list them with transit ls')
  return { ring: node.ring, ...shown(found) }
}

async function sign(node: RunningNode, call: Call): Promise<unknown> {
  const mint = await requestIn(call, 'transit')
  const { signature } = await minted(node, { mint })
  return { signature: Buffer.from(signature).toString('base64url') }
}
