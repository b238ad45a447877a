import assert from 'node:assert/strict'
import { test } from 'node:test'
import { areTrailers, requestOf } from './h2-request.ts'

const BOUNDS = { requestLineBytesMax: 1_024 }
const fields = (path: string, ...more: readonly string[]): string[] => [
  ...[':method', 'GET', ':scheme', 'http', ':path', path, ':authority', 'a'],
  ...more,
]
/** With which status it is refused; undefined: it is not. 0: a stream error. */
function refusal(list: readonly string[]): number | undefined {
  const request = requestOf(list, true, BOUNDS)
  if (typeof request === 'string') return 0
  return 'refused' in request.head ? request.head.status : undefined
}

test('a :path holds what a target of HTTP/1.1 may: visible ASCII, and no reading of its own for bytes above', () => {
  assert.equal(refusal(fields('/caf%C3%A9?q=%E9')), undefined)
  for (const path of ['/caf\xc3\xa9/x', '/caf\xe9', '/?q=\xe9', '/\x80', '/a b', '/#a', '/a\\b'])
    assert.equal(refusal(fields(path)), 400, path)
  for (const path of ['/\x01', 'a', 'http://a/', '*', '']) assert.equal(refusal(fields(path)), 0, JSON.stringify(path))
})

test('one host: a Host field beside :authority says the same, and neither may hold anything but a host', () => {
  assert.equal(refusal(fields('/', 'host', 'A')), undefined)
  assert.equal(refusal(fields('/', 'host', 'b')), 0)
  assert.equal(refusal([':method', 'GET', ':scheme', 'http', ':path', '/', ':authority', 'a@b']), 400)
  assert.equal(refusal([':method', 'GET', ':scheme', 'http', ':path', '/', ':authority', '']), 400)
  assert.equal(refusal([':method', 'GET', ':scheme', 'http', ':path', '/']), 400)
  assert.equal(refusal([':method', 'GET', ':scheme', 'http', ':path', '/', 'host', 'a']), undefined)
})

test('fields of connections are malformed, in trailers too', () => {
  for (const name of ['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade']) {
    assert.equal(refusal(fields('/', name, 'x')), 0, name)
    assert.equal(areTrailers([name, 'x']), false, name)
  }
  assert.equal(refusal(fields('/', 'te', 'trailers')), undefined)
  assert.equal(refusal(fields('/', 'te', 'trailers, deflate')), 0)
})
