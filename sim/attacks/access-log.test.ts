import assert from 'node:assert/strict'
import { test } from 'node:test'
import { logLine } from './access-log.ts'

test('a line is as nginx writes it in its combined format, and says neither account nor session nor handshake', () => {
  const line = logLine({
    atMs: Date.UTC(2_026, 5, 1, 7, 5, 9),
    node: 0,
    source: '203.0.113.9',
    ja4: 't13d0312h1_tool5f',
    method: 'POST',
    path: '/login',
    status: 401,
    bytes: 700,
    account: 'eve@example.test',
    session: 'secret',
    who: -1,
  })
  assert.match(
    line,
    /^203\.0\.113\.9 - - \[01\/Jun\/2026:07:05:09 \+0000\] "POST \/login HTTP\/1\.1" 401 700 "-" "Mozilla\/5\.0 [^"]+"$/,
  )
  assert.ok(!/eve|secret|tool/.test(line))
})
