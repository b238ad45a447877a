import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { runUp } from './up.ts'

test('a port in use is one line that names it, and no node is started', async (t) => {
  const data = mkdtempSync(join(tmpdir(), 'ringwall-up-'))
  t.after(() => rmSync(data, { recursive: true, force: true }))
  const other = createServer()
  t.after(() => other.close())
  // Below the ports that the kernel hands out, where another test's connection could take the ring's first one.
  const port = await listenBelow(other, 32_000)
  const options = { to: 'http://127.0.0.1:9', nodes: 4, data, ports: port - 2 }
  await assert.rejects(runUp(options), {
    code: 'PORT_IN_USE',
    message: new RegExp(
      `^127\\.0\\.0\\.1:${port} is in use by another program; stop that, or move the ring: ringwall up --ports ${port + 98}$`,
    ),
  })
  assert.equal(existsSync(join(data, 'n1', 'output.log')), false)
})

test('options that cannot be are refused before anything is written', async () => {
  const good = { to: 'http://127.0.0.1:9', nodes: 4, data: '/nonexistent/ringwall', ports: 8_080 }
  for (const [bad, says] of [
    [{ nodes: 0 }, /--nodes 0: expected a whole number from 1 to 10/],
    [{ ports: 80 }, /--ports 80: expected a base/],
    [{ to: 'localhost:3000' }, /--to "localhost:3000": expected http:\/\/HOST:PORT/],
    [{ to: 'http://a/path' }, /without a path/],
  ] as const)
    await assert.rejects(runUp({ ...good, ...bad }), says)
})

async function listenBelow(server: Server, highest: number): Promise<number> {
  for (let port = highest; port > 1_024; port -= 17) {
    const taken = await new Promise<boolean>((settle) => {
      server.once('error', () => settle(true))
      server.listen(port, '127.0.0.1', () => settle(false))
    })
    if (!taken) return port
  }
  throw new Error('every port is taken')
}
