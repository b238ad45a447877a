import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { freePort } from '../../../tools/free-ports.ts'
import { RINGWALL } from './test-command.ts'

test('protect serves on when nobody reads its output any more, says so once, and ends well', async (t) => {
  const data = mkdtempSync(join(tmpdir(), 'ringwall-cli-output-'))
  t.after(() => rmSync(data, { recursive: true, force: true }))
  const upstream = createServer((_, response) => response.end('hello')).listen(0, '127.0.0.1')
  await once(upstream, 'listening')
  const port = await freePort()
  const url = `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`
  const args = [...RINGWALL, 'protect', url, '--listen', `127.0.0.1:${port}`, '--data', data]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  t.after(() => child.kill('SIGKILL'))
  const exited = once(child, 'exit') as Promise<[number | null, string | null]>
  let [out, err] = ['', '']
  child.stderr.on('data', (chunk: Buffer) => {
    err += chunk.toString()
  })
  const ready = new Promise<void>((settle) => {
    child.stdout.on('data', (chunk: Buffer) => {
      out += chunk.toString()
      if (out.includes('ready in')) settle()
    })
  })
  await Promise.race([ready, exited])
  assert.match(out, /ready in/)
  child.stdout.destroy()

  assert.equal(await (await fetch(`http://127.0.0.1:${port}/`)).text(), 'hello')
  upstream.closeAllConnections()
  upstream.close()
  await once(upstream, 'close')
  // Each of these is an event, which wants to be written.
  while (!/nobody reads the output/.test(err)) {
    const answer = await fetch(`http://127.0.0.1:${port}/`)
    assert.equal(answer.status, 502)
    await answer.text()
    await new Promise((wake) => setTimeout(wake, 20))
  }
  assert.equal((await fetch(`http://127.0.0.1:${port}/`)).status, 502)
  assert.equal(err.match(/nobody reads the output/g)?.length, 1)
  child.kill('SIGTERM')
  assert.deepEqual(await exited, [0, null])
})
