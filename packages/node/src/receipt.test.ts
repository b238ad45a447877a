import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { freePort } from './free-port.ts'
import { readOperator, signAsOperator } from './local/operator.ts'
import { contextFile } from './local/provision.ts'
import { startProtect } from './protect.ts'
import { type Receipt, verifyReceipt } from './receipt.ts'
import { verifyReceiptFile } from './receipt-file.ts'
import type { RunningNode } from './running-node.ts'
import { application, protectOptions } from './test-protect.ts'

async function receiptOf(node: RunningNode, requestId: string): Promise<string> {
  for (;;) {
    const { receipt, why } = await node.queries.findReceipt(requestId)
    if (receipt !== null) return receipt
    assert.equal(why, 'not yet')
    await new Promise((wake) => setTimeout(wake, 50))
  }
}

/** Every leaf of a JSON value, with a way to put another in its place. */
function leavesOf(value: unknown, path: readonly (string | number)[] = []): readonly (readonly (string | number)[])[] {
  if (typeof value !== 'object' || value === null) return [path]
  return Object.entries(value).flatMap(([key, held]) => leavesOf(held, [...path, Array.isArray(value) ? Number(key) : key]))
}

function changed(value: unknown, by: number): unknown {
  if (typeof value === 'number') return value + 1 + by
  if (typeof value === 'boolean') return !value
  if (typeof value !== 'string') return 'x'
  if (value === '') return 'x'
  const at = by % value.length
  return value.slice(0, at) + (value[at] === 'a' ? 'b' : 'a') + value.slice(at + 1)
}

test('a decision is exported with its proof and verified offline; any edit is refused', async (t) => {
  const root = mkdtempSync(join(tmpdir(), 'ringwall-receipt-'))
  t.after(() => rmSync(root, { recursive: true, force: true }))
  const port = await freePort()
  const node = await startProtect(protectOptions(join(root, 'data'), await application(t, 'fine'), port))
  t.after(() => node.stop())
  const get = async (path: string, source: string) => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { headers: { 'x-forwarded-for': source } })
    return { status: response.status, requestId: response.headers.get('x-request-id') ?? '' }
  }
  const operator = readOperator(contextFile(join(root, 'data')))
  const subject = { kind: 'ip', value: '203.0.113.7' } as const
  await node.propose(signAsOperator(operator, { type: 'deny.add', subject, ttlMs: 600_000, reason: 'brute force' }), 30_000)
  while (node.view().denials.size === 0) await new Promise((wake) => setTimeout(wake, 20))

  const denied = await get('/', '203.0.113.7')
  const attack = await get("/?q=1'+UNION+SELECT+1,2--", '198.51.100.1')
  assert.deepEqual([denied.status, attack.status], [403, 403])
  const byDenial = await receiptOf(node, denied.requestId)
  const byRule = await receiptOf(node, attack.requestId)

  const verdict = verifyReceipt(byDenial, node.genesis)
  assert.equal(verdict.denial, 'ip 203.0.113.7, by operator:local: brute force')
  assert.equal(verdict.decision.outcome, 'deny')
  assert.deepEqual(verdict.signers, ['n1'])
  assert.equal(verifyReceipt(byRule, node.genesis).decision.check, 'waf')

  for (const text of [byDenial, byRule]) {
    const receipt = JSON.parse(text) as Receipt
    const leaves = leavesOf(receipt)
    fc.assert(
      fc.property(fc.nat(leaves.length - 1), fc.nat(1_000), (which, by) => {
        const copy = JSON.parse(text) as Record<string | number, unknown>
        const path = leaves[which] as readonly (string | number)[]
        let at = copy
        for (const key of path.slice(0, -1)) at = at[key] as typeof at
        const key = path.at(-1) as string | number
        at[key] = changed(at[key], by)
        assert.throws(() => verifyReceipt(JSON.stringify(copy), node.genesis), { code: 'RECEIPT_INVALID' }, path.join('/'))
      }),
      { numRuns: 400 },
    )
    // Parts of two good receipts make no third one.
    const other = JSON.parse(text === byDenial ? byRule : byDenial) as Receipt
    for (const key of ['decision', 'signature', 'denial'] as const) {
      const mixed = { ...receipt, [key]: other[key] }
      assert.throws(() => verifyReceipt(JSON.stringify(mixed), node.genesis), { code: 'RECEIPT_INVALID' }, key)
    }
  }
  assert.throws(() => verifyReceipt('{', node.genesis), /not JSON/)
  assert.throws(() => verifyReceipt('{}', node.genesis), { code: 'RECEIPT_INVALID' })
  assert.throws(() => verifyReceipt(byRule, { ...node.genesis, createdAtMs: 1 }), /it is of ring/)

  const file = join(root, 'receipt.json')
  writeFileSync(file, byRule.replace('"outcome": "deny"', '"outcome": "allow"'))
  assert.throws(() => verifyReceiptFile(file, node.config.genesis), /refused: \/signature: n1 did not sign this decision/)
  assert.throws(() => verifyReceiptFile(join(root, 'none'), node.config.genesis), /does not exist/)
  assert.equal((await node.queries.findReceipt('n1-nothing')).why, 'no decision')
})
