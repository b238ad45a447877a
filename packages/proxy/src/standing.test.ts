/** What is under way and rests on a token: ended when the token is denied or the policy changes. */
import assert from 'node:assert/strict'
import { connect as connectH2 } from 'node:http2'
import { test } from 'node:test'
import type { Decision, Guard, GuardEnvironment, GuardRequest, Judgement } from '@ringwall/guard'
import { openSocket, testGuard, testProxy, until, upstreamServer } from './test-ring.ts'

/** Believes `Authorization` to be the subject, and refuses whom `denied` names when it is asked again. */
function tokenGuard(denied: Set<string>): Guard {
  const inner = testGuard()
  return {
    ...inner,
    async head(request: GuardRequest, environment: GuardEnvironment): Promise<Judgement> {
      const judgement = await inner.head(request, environment)
      const subject = request.headers.find(([name]) => name.toLowerCase() === 'authorization')?.[1]
      return subject === undefined ? judgement : { ...judgement, credential: { issuer: 'i', subject } }
    },
    review: ({ credential }, environment): Decision | undefined => {
      if (!denied.has(credential?.subject ?? '')) return undefined
      return {
        ...inner.access(REQUEST, undefined, environment),
        outcome: 'deny',
        status: 403,
        check: 'denial',
        rule: 'denial:d1',
      }
    },
  }
}

const REQUEST: GuardRequest = {
  method: 'GET',
  target: '/',
  httpVersion: '1.1',
  headers: [],
  remoteAddress: '127.0.0.1',
  host: 'a',
  path: '/',
}

/** Streams a word at once and never ends; what is asked at `/slow` is not answered. */
async function streaming(listeners?: readonly { readonly http2: true }[]) {
  const upstream = await upstreamServer((request, response) => {
    if (request.url === '/slow') return
    response.write('begun ')
  })
  const denied = new Set<string>()
  const options = {
    guard: tokenGuard(denied),
    ...(listeners === undefined ? {} : { listeners: listeners.map((one) => ({ host: '127.0.0.1', port: 0, ...one })) }),
  }
  const ring = await testProxy({ shop: { upstreams: [{ url: upstream.url }] } }, options)
  return { ...ring, upstream, denied }
}

async function ask(port: number, subject: string | undefined, path = '/') {
  const socket = await openSocket(port)
  const state = { text: '', closed: false }
  socket.on('data', (chunk) => {
    state.text += chunk
  })
  socket.on('close', () => {
    state.closed = true
  })
  const token = subject === undefined ? '' : `Authorization: ${subject}\r\n`
  socket.write(`GET ${path} HTTP/1.1\r\nHost: a\r\n${token}\r\n`)
  return { socket, state }
}

const subjectOf = (value: string) => ({ kind: 'subject', value }) as const

test('a response under way is cut when its token is denied; others, and those without one, go on', async () => {
  const { proxy, port, records, upstream, denied } = await streaming()
  const [alice, bob, nobody] = [await ask(port, 'alice'), await ask(port, 'bob'), await ask(port, undefined)]
  await until('all to have begun', () => [alice, bob, nobody].every(({ state }) => state.text.includes('begun')))
  assert.equal(proxy.cutCredentials([subjectOf('alice')]), 0, 'not before the denial is in force')
  denied.add('alice')
  denied.add('')
  assert.equal(proxy.cutCredentials([subjectOf('bob')]), 0)
  assert.equal(proxy.cutCredentials([{ ...subjectOf('alice'), issuer: 'other' }]), 0)
  assert.equal(proxy.cutCredentials([{ ...subjectOf('alice'), issuer: 'i' }]), 1)
  await until('it to be cut', () => alice.state.closed)
  assert.deepEqual([bob.state.closed, nobody.state.closed], [false, false])
  assert.equal(proxy.stats().streamsCut, 1)
  const cut = records.find(({ rule }) => rule === 'denial:d1')
  assert.deepEqual([cut?.outcome, cut?.check, cut?.status], ['deny', 'denial', 403])
  await proxy.stop(0)
  upstream.close()
})

test('a request that is not answered yet gets 403, and its upstream is let go', async () => {
  const { proxy, port, upstream, denied } = await streaming()
  const { state } = await ask(port, 'alice', '/slow')
  await until('the upstream to be asked', () => upstream.seen.length === 1)
  denied.add('alice')
  assert.equal(proxy.cutCredentials([subjectOf('alice')]), 1)
  await until('the answer', () => /^HTTP\/1\.1 403 [\s\S]*x-request-id: n1-/.test(state.text))
  await until('the upstream to be let go', () => upstream.seen[0]!.socket.destroyed)
  assert.equal(proxy.cutCredentials([subjectOf('alice')]), 0, 'nothing is left of it')
  await proxy.stop(0)
  upstream.close()
})

test('a token that is denied while it is verified opens nothing', async () => {
  const { proxy, port, upstream, denied } = await streaming()
  denied.add('alice')
  const { state } = await ask(port, 'alice')
  await until('the answer', () => state.text.startsWith('HTTP/1.1 403 '))
  assert.equal(upstream.seen.length, 0)
  await proxy.stop(0)
  upstream.close()
})

test('HTTP/2: the stream of a denied token is reset, its connection goes on', async () => {
  const { proxy, port, upstream, denied } = await streaming([{ http2: true }])
  const session = connectH2(`http://127.0.0.1:${port}`)
  const open = (authorization: string) => {
    const stream = session.request({ ':path': '/', authorization })
    const state = { text: '', closed: false }
    stream.on('data', (chunk) => {
      state.text += chunk
    })
    stream.on('error', () => undefined)
    stream.on('close', () => {
      state.closed = true
    })
    return state
  }
  const [alice, bob] = [open('alice'), open('bob')]
  await until('both to have begun', () => [alice, bob].every(({ text }) => text.includes('begun')))
  denied.add('alice')
  assert.equal(proxy.cutCredentials([subjectOf('alice')]), 1)
  await until('it to be reset', () => alice.closed)
  assert.deepEqual([bob.closed, session.closed], [false, false])
  session.destroy()
  await proxy.stop(0)
  upstream.close()
})

test('many denials at once end what they are about, and nothing else', async () => {
  const { proxy, port, upstream, denied } = await streaming()
  const [alice, bob] = [await ask(port, 'alice'), await ask(port, 'bob')]
  await until('both to have begun', () => [alice, bob].every(({ state }) => state.text.includes('begun')))
  denied.add('alice')
  const many = Array.from({ length: 40 }, (_, n) => subjectOf(n === 39 ? 'alice' : `user-${n}`))
  assert.equal(proxy.cutCredentials(many), 1)
  await until('it to be cut', () => alice.state.closed)
  assert.equal(bob.state.closed, false)
  await proxy.stop(0)
  upstream.close()
})

test('a new policy judges everything that is open, in slices', async () => {
  const { proxy, port, upstream, denied } = await streaming()
  const all = await Promise.all(Array.from({ length: 250 }, (_, n) => ask(port, n % 2 === 0 ? 'alice' : 'bob')))
  await until('all to have begun', () => all.every(({ state }) => state.text.includes('begun')))
  assert.equal(await proxy.reviewAll(), 0)
  denied.add('alice')
  assert.equal(await proxy.reviewAll(), 125)
  await until('them to be cut', () => all.every(({ state }, n) => state.closed === (n % 2 === 0)))
  assert.equal(proxy.stats().streamsCut, 125)
  await proxy.stop(0)
  upstream.close()
})
