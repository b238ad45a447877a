import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import type { PersonRequest } from '@ringwall/identity'
import type { PortalRequest } from '@ringwall/proxy'
import { parsePolicyDocument, type View } from '@ringwall/ring'
import fc from 'fast-check'
import { SignalState, SUBJECTS_MAX } from './signal-state.ts'
import { SignalStreams } from './signal-streams.ts'

const root = mkdtempSync(join(tmpdir(), 'ringwall-signals-'))
after(() => rmSync(root, { recursive: true, force: true }))

const T0 = Date.now() - 60_000
const ID = (number: number): string => hash('sha256', String(number)).slice(0, 32)

const change = fc.oneof(
  fc.tuple(fc.constant('status'), fc.constantFrom('enabled', 'paused', 'disabled'), fc.nat(50)),
  fc.tuple(fc.constant('subject'), fc.boolean(), fc.nat(50)),
  fc.tuple(fc.constant('ack'), fc.nat(20), fc.nat(50)),
  fc.tuple(fc.constant('change'), fc.constantFrom('create', 'revoke'), fc.nat(50)),
)

test('property: whichever order nodes hear of what receivers did, and however often, they come to know the same', () => {
  fc.assert(
    fc.property(fc.array(change, { maxLength: 12 }), fc.array(change, { maxLength: 12 }), (left, right) => {
      const states = [left, right].map((changes, node) => {
        const state = new SignalState()
        for (const [index, [kind, value, step]] of changes.entries()) {
          // No two nodes say different things of one moment.
          const atMs = T0 + step * 1_000 + node * 100 + index
          if (kind === 'status') state.setStatus('audit', value as 'paused', atMs)
          else if (kind === 'subject') state.setSubject('audit', 'person:ann', value as boolean, atMs)
          else if (kind === 'ack') state.acknowledge('audit', ID(value as number), T0)
          else state.change({ kind: 'credentials', atMs, change: value as 'create', credential: 'password', person: 'ann' })
        }
        return state
      })
      const merged = [states, states.toReversed(), [...states, ...states]].map((order) => {
        const into = new SignalState()
        for (const one of order)
          for (const summary of one.summaries(true)) assert.ok(into.merge(JSON.parse(JSON.stringify(summary)), T0 + 60_000))
        return JSON.stringify([
          into.status('audit'),
          into.isTold('audit', 'person:ann'),
          Array.from({ length: 21 }, (_, number) => into.isAcknowledged('audit', ID(number))),
          into
            .changes()
            .map((fact) => JSON.stringify(fact))
            .sort(),
        ])
      })
      assert.equal(new Set(merged).size, 1)
    }),
    { numRuns: 60 },
  )
})

test('property: whatever a peer says, it is merged or refused, and nothing grows beyond its bound', () => {
  const state = new SignalState()
  fc.assert(
    fc.property(
      fc.oneof(
        fc.json().map((text) => JSON.parse(text) as unknown),
        fc.object(),
      ),
      (value) => {
        state.merge(value, T0)
      },
    ),
  )
  for (let sub = 0; sub < 1_000; sub += 1) assert.equal(state.setSubject('audit', `person:p${sub}`, true, T0), sub < SUBJECTS_MAX)
  const ahead = {
    stream: 'x',
    status: { status: 'disabled', atMs: T0 + 3_600_000 },
    subjects: [],
    verification: null,
    acks: [],
    changes: [],
  }
  assert.ok(state.merge(ahead, T0))
  assert.equal(state.status('x'), 'enabled', 'a word of a time to come')
})

const KEY = 'k'.repeat(43)

function streams(
  delivery: 'poll' | 'push',
  answers: (number | Error)[] = [],
  file = join(root, `s${Math.random()}`),
  near: readonly string[] = [],
) {
  const endpoint = delivery === 'push' ? ', endpoint: "https://rp.example/events", authorizationVariable: RP_KEY' : ''
  const document = parsePolicyDocument(
    `version: 1\nservices: { app: { upstreams: [{ url: "http://127.0.0.1:1" }], people: {} } }\nopenid: { service: app, issuer: "https://login.example", streams: [{ name: audit, audience: aud, keyHash: "sha256:${hash('sha256', KEY)}", delivery: ${delivery}${endpoint} }] }\n`,
  )
  assert.ok(document.ok, JSON.stringify(document))
  const denial = (number: number, name: string) => ({
    id: ID(number),
    subject: { kind: 'issued-before', subject: name, value: '2027-01-01T00:00:00Z' },
    issuer: 'operator:ada',
    reason: 'x',
    issuedAtMs: T0 + number,
    expiresAtMs: T0 + 3_600_000,
    height: 7,
  })
  const denials = [
    denial(2, 'person:bob'),
    denial(1, 'person:ann'),
    denial(3, 'urn:machine'),
    { ...denial(4, 'person:cat'), height: undefined },
  ]
  const view = { policy: document.policy, denials: { list: () => denials } } as unknown as View
  const sent: string[] = []
  const signed: PersonRequest[] = []
  const one = new SignalStreams({
    ring: 'r',
    self: 'n1',
    view: () => view,
    version: () => 1,
    mint: async (asked) => {
      signed.push(asked)
      return `set-${signed.length}`
    },
    http: async (_, form) => {
      const next = answers.shift() ?? 202
      if (next instanceof Error) throw next
      sent.push(`${form?.headers.authorization} ${form?.body} ${next}`)
      return { status: next, body: '{"err":"invalid_request"}' }
    },
    secret: (name) => `secret of ${name}`,
    fabric: { broadcast: () => {}, links: () => near.map((id) => ({ id, connected: true })) as never },
    file,
    disk: undefined,
    log: () => {},
  })
  const call = async (
    path: string,
    body?: object,
  ): Promise<{ readonly status: number; readonly value: Record<string, unknown> }> => {
    const headers = [
      ['authorization', `Bearer ${KEY}`],
      ['content-type', 'application/json'],
    ]
    const request = {
      method: body === undefined ? 'GET' : 'POST',
      target: path,
      headers,
      body: Buffer.from(JSON.stringify(body ?? '')),
    }
    const answer = await one.answer(request as unknown as PortalRequest, path, T0 + 10_000)
    assert.ok(answer)
    return { status: answer.status, value: answer.body === '' ? {} : (JSON.parse(answer.body) as Record<string, unknown>) }
  }
  return { one, call, sent, signed, file }
}

test('what a receiver acknowledged is not told again, also after a restart; what is provisional or no person’s never is', async () => {
  const { one, call, signed, file } = streams('poll')
  await one.start()
  const first = await call('/.ringwall/signals/poll', { maxEvents: 1 })
  assert.equal(first.value.moreAvailable, true)
  const all = await call('/.ringwall/signals/poll', {})
  const ids = Object.keys(all.value.sets as object)
  assert.equal(ids.length, 2)
  assert.equal(signed.length, 2, 'an event is signed once')
  assert.deepEqual((await call('/.ringwall/signals/poll', { ack: [ids[0]] })).value, { sets: { [ids[1]!]: 'set-2' } })
  await one.stop()
  const again = streams('poll', [], file)
  await again.one.start()
  assert.deepEqual(
    Object.keys((await again.call('/.ringwall/signals/poll', { setErrs: { [ids[1]!]: { err: 'x' } } })).value.sets as object),
    [],
  )
  await again.one.stop()
})

test('events are pushed in order with what the receiver wants to see; it fails, and they wait; what it refuses is told once', async () => {
  const wait = async (until: () => boolean): Promise<void> => {
    for (const end = Date.now() + 20_000; !until(); ) {
      assert.ok(Date.now() < end, 'it is not pushed')
      await new Promise((wake) => setTimeout(wake, 50))
    }
  }
  const { one, sent } = streams('push', [new Error('refused'), 202, 400])
  await one.start()
  await wait(() => sent.length === 2)
  assert.deepEqual(sent, ['secret of RP_KEY set-1 202', 'secret of RP_KEY set-2 400'])
  await one.stop()
})

test('of nodes that see one another one pushes', async () => {
  const counts = await Promise.all(
    ['n1', 'n2', 'n3'].map(async (_, index) => {
      const near = index === 0 ? [] : Array.from({ length: 40 }, (_, node) => `n${node + 2}`)
      const { one, sent } = streams('push', [], undefined, near)
      await one.start()
      await new Promise((wake) => setTimeout(wake, 2_500))
      await one.stop()
      return sent.length
    }),
  )
  assert.deepEqual(counts, [2, 0, 0])
})
