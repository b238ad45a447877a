import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { NewFinding } from '@ringwall/respond'
import { NotifySchema, notifyFault } from './notify-config.ts'
import { inputsFrom } from './playbooks.ts'

const FINDING: NewFinding = {
  atMs: 1,
  detector: 'scanning',
  attack: [],
  service: 'shop',
  subject: { kind: 'source', value: '203.0.113.9' },
  sources: ['203.0.113.9'],
  reason: 'why',
  denied: false,
}

test('a playbook is told whom a finding is about, and not started by one that names less than it needs', () => {
  assert.deepEqual(inputsFrom(FINDING, ['source']), { source: '203.0.113.9' })
  assert.deepEqual(inputsFrom(FINDING, []), {})
  const campaign: NewFinding = {
    ...FINDING,
    subject: { kind: 'service', value: 'shop' },
    sources: ['203.0.113.9', '203.0.113.10'],
  }
  assert.equal(inputsFrom(campaign, ['source']), undefined, 'which of them?')
  assert.deepEqual(inputsFrom({ ...campaign, sources: ['203.0.113.10'] }, ['source']), { source: '203.0.113.10' })
  const account: NewFinding = { ...FINDING, subject: { kind: 'account', value: 'ab'.repeat(16) }, sources: [] }
  assert.deepEqual(inputsFrom(account, ['service', 'account']), { service: 'shop', account: 'ab'.repeat(16) })
  assert.equal(inputsFrom(account, ['person']), undefined)
})

test('a channel that would tell in the clear, or has half of a password, is refused with its key', () => {
  const faultOf = (given: object): string | undefined => notifyFault(NotifySchema.parse([{ name: 'desk', ...given }])[0]!)?.[0]
  const mail = { kind: 'email', host: 'mail.example', from: 'a@example.com', to: ['b@example.com'] }
  const cases: readonly (readonly [object, string | undefined])[] = [
    [{ kind: 'webhook', url: 'https://desk.example/hook', secret: { env: 'DESK' } }, undefined],
    [{ kind: 'webhook', url: 'http://127.0.0.1:8080/hook', secret: { env: 'DESK' } }, undefined],
    [{ kind: 'webhook', url: 'http://desk.example/hook', secret: { env: 'DESK' } }, 'url'],
    [{ kind: 'webhook', url: 'file:///etc/passwd', secret: { env: 'DESK' } }, 'url'],
    [mail, undefined],
    [{ ...mail, tls: 'none' }, 'tls'],
    [{ ...mail, tls: 'none', host: '127.0.0.1' }, undefined],
    [{ ...mail, user: 'ringwall' }, 'user'],
  ]
  for (const [given, fault] of cases) assert.equal(faultOf(given), fault, JSON.stringify(given))
  assert.ok(
    !NotifySchema.safeParse([{ name: 'desk', kind: 'slack', url: 'https://hooks.example/T0/B0' }]).success,
    'its URL is a secret',
  )
})
