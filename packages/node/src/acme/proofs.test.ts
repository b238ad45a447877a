import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Fabric, RequestHandler } from '@ringwall/fabric'
import type { AcmeAnswer } from '@ringwall/proxy'
import type { Proof } from './client.ts'
import { Proofs } from './proofs.ts'

/** Nodes that reach each other at once; those in `down` answer nobody. */
function ring(ids: readonly string[], down: ReadonlySet<string> = new Set()) {
  const handlers = new Map<string, RequestHandler>()
  const shown = new Map<string, readonly AcmeAnswer[]>()
  const nodes = new Map(
    ids.map((id) => {
      const fabric: Pick<Fabric, 'request' | 'onRequest' | 'links'> = {
        onRequest: (_channel, handler) => void handlers.set(id, handler),
        request: (to, _channel, payload) => (down.has(to) ? Promise.reject(new Error('down')) : handlers.get(to)!(id, payload)),
        links: () =>
          ids
            .filter((other) => other !== id)
            .map((other) => ({ id: other, connected: true }) as ReturnType<Fabric['links']>[number]),
      }
      return [id, new Proofs(id, fabric, (all) => shown.set(id, all))]
    }),
  )
  const names = (id: string): string[] => (shown.get(id) ?? []).map(({ name, keyAuthorization }) => `${name} ${keyAuthorization}`)
  const stop = (): void => {
    for (const node of nodes.values()) node.stop()
  }
  return { nodes, handlers, names, shown, stop }
}

const THUMB = 'a'.repeat(43)
const proof = (name: string, token = 'tok'): Proof => ({ type: 'http-01', name, token, keyAuthorization: `${token}.${THUMB}` })

test('a proof is shown by all nodes when it may be asked for, and by none when it has been', async () => {
  const { nodes, names, shown, stop } = ring(['n1', 'n2', 'n3', 'n4'], new Set(['n4']))
  const one = proof('www.example.org')
  await nodes.get('n1')!.present(one)
  for (const id of ['n1', 'n2', 'n3']) assert.deepEqual(names(id), [`www.example.org tok.${THUMB}`])
  assert.match(shown.get('n2')![0]!.certificate, /^-----BEGIN CERTIFICATE-----/)
  nodes.get('n1')!.withdraw(one)
  await new Promise((resolve) => setImmediate(resolve))
  for (const id of ['n1', 'n2', 'n3']) assert.deepEqual(names(id), [])
  stop()
})

test('one node withdraws nothing of another’s', async () => {
  const { nodes, names, stop } = ring(['n1', 'n2'])
  await nodes.get('n1')!.present(proof('www.example.org'))
  nodes.get('n2')!.withdraw(proof('www.example.org'))
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal(names('n1').length, 1)
  stop()
})

test('what is no proof, and more of them than one node can have, is refused', async () => {
  const { handlers, names, stop } = ring(['n1', 'n2'])
  const tell = (value: unknown) =>
    handlers.get('n1')!('n2', Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)))
  const good = { what: 'present', name: 'www.example.org', token: 'tok', thumbprint: THUMB }
  for (const bad of [
    '{',
    'x'.repeat(3_000),
    { ...good, what: 'take' },
    { ...good, name: '*.example.org' },
    { ...good, name: 'WWW.example.org' },
    { ...good, name: 'a/../b' },
    { ...good, token: '../x' },
    { ...good, token: 'x'.repeat(257) },
    { ...good, thumbprint: 'short' },
    { ...good, more: 1 },
  ])
    await assert.rejects(tell(bad), JSON.stringify(bad).slice(0, 100))
  for (let at = 0; at < 100; at++) await tell({ ...good, token: `t${at}` })
  await tell({ ...good, token: 't5' })
  await assert.rejects(tell({ ...good, token: 't100' }), /more than 100 proofs/)
  assert.equal(names('n1').length, 100)
  stop()
})
