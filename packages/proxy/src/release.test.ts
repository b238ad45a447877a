/** Every judgement that the guard gave is given back, once, however the request ends. */
import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { test } from 'node:test'
import type { Guard, Judgement } from '@ringwall/guard'
import { rawExchange, testGuard, testProxy, until, upstreamServer } from './test-ring.ts'

test('a request that is answered, refused, broken, given up, or judged after its client has left', async (t) => {
  const upstream = await upstreamServer((request, response) => {
    if (request.url === '/cut-off') request.socket.destroy()
    else if (request.url !== '/hangs') response.end('ok')
  })
  t.after(() => upstream.close())
  const inner = testGuard()
  const given = new Set<Judgement>()
  const back: Judgement[] = []
  const paths = new Set<string>()
  let slow: (() => void) | undefined
  const guard: Guard = {
    ...inner,
    head: async (request, environment) => {
      const judgement = await inner.head(request, environment)
      if (request.path === '/slow')
        await new Promise<void>((settle) => {
          slow = settle
        })
      given.add(judgement)
      paths.add(request.path)
      return judgement
    },
    release: (judgement) => {
      back.push(judgement)
    },
  }
  const { proxy, port } = await testProxy({ shop: { upstreams: [{ url: upstream.url }] } }, { guard })
  t.after(() => proxy.stop(100))
  const ask = (path: string, method = 'GET', more = '', body = ''): string =>
    `${method} ${path} HTTP/1.1\r\nHost: a\r\n${more}\r\n${body}`
  await rawExchange(port, ask('/'), 100)
  await rawExchange(port, ask('/denied'), 100)
  await rawExchange(port, ask('/cut-off', 'POST', 'Content-Length: 1\r\n', 'x'), 100)
  await rawExchange(port, ask('/', 'POST', 'Transfer-Encoding: chunked\r\n', 'zz\r\n'), 100)
  const leave = async (text: string, when: () => boolean): Promise<void> => {
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => {})
    socket.write(text)
    await until('it to be under way', when)
    socket.destroy()
    await until('it to be noticed', () => proxy.stats().activeRequests === 0)
  }
  await leave(ask('/hangs'), () => proxy.stats().activeRequests === 1)
  await leave(ask('/slow'), () => slow !== undefined)
  slow!()
  await until('the last one to be judged', () => paths.has('/slow') && back.length >= given.size)
  assert.deepEqual([...paths].sort(), ['/', '/cut-off', '/denied', '/hangs', '/slow'])
  assert.equal(back.length, given.size)
  assert.deepEqual(new Set(back), given)
})
