/** Tokens on a ring of four real processes: revoked at one node, dead on all, open WebSockets too; and one policy of access on all. */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { bearer, ISSUER, issuerYaml, openWebSocket, token, webSocketEcho } from '../packages/cli/src/test-tokens.ts'
import { ask, eventually, TestRing } from './local-ring.ts'

const ALL = [1, 2, 3, 4]
const application = createServer((_, response) => response.end('hello'))
application.on('upgrade', (request, socket) => webSocketEcho(request, socket))

let ring: TestRing
before(async () => {
  ring = await TestRing.start()
  await new Promise<void>((settle) => application.listen(0, '127.0.0.1', settle))
  apply('')
})
after(async () => {
  await ring?.destroy()
  application.close()
})

function apply(authorization: string): void {
  const url = `http://127.0.0.1:${(application.address() as AddressInfo).port}`
  const service = `version: 1\nservices:\n  chat:\n    upstreams: [{ url: "${url}" }]\n    waf: { mode: "off" }\n`
  const file = join(ring.data, 'wanted.yaml')
  writeFileSync(file, `${service}${authorization}${issuerYaml()}`)
  const told = ring.cli('policy', 'apply', file, '--yes')
  assert.equal(told.code, 0, told.stderr)
}

const statusAt = async (node: number, text: string | undefined, path = '/'): Promise<number> =>
  (await ask(ring.traffic(node), path, text === undefined ? {} : { headers: bearer(text) })).status

/** A policy is in force on a node once it has applied the block. */
async function everywhere(what: string, holds: (node: number) => Promise<boolean>): Promise<void> {
  await Promise.all(ALL.map((node) => eventually(`n${node}: ${what}`, () => holds(node))))
}

test('01 a session revoked at one node is dead on all four, its open WebSockets with it; another session goes on', async () => {
  const [stolen, mine] = [token({ sub: 'ann', sid: 's-1' }), token({ sub: 'ann', sid: 's-2' })]
  await everywhere('tokens are believed', async (node) => (await statusAt(node, stolen)) === 200)
  const cut = await Promise.all(ALL.map((node) => openWebSocket(ring.traffic(node), stolen)))
  const kept = await Promise.all(ALL.map((node) => openWebSocket(ring.traffic(node), mine)))
  const told = ring.cli('session', 'revoke', 's-1', '--issuer', ISSUER, '--reason', 'stolen')
  assert.equal(told.code, 0, told.stderr)
  await Promise.all(cut.map(({ closed }) => closed))
  for (const node of ALL) assert.deepEqual([await statusAt(node, stolen), await statusAt(node, mine)], [401, 200])
  // RFC 6750 section 3.1: its client is to get another.
  const { headers, body } = await ask(ring.traffic(1), '/', { headers: bearer(stolen) })
  assert.match(String(headers['www-authenticate']), /^Bearer error="invalid_token", DPoP error="invalid_token"/)
  assert.match(body, /code: revoked/)
  assert.ok(kept.every((one) => one.isOpen()))
  for (const { socket } of kept) socket.close()
})

test('02 who signs in again after a moment gets in, on every node', async () => {
  const nowS = Math.floor(Date.now() / 1_000)
  const [old, fresh] = [token({ sub: 'bob', iat: nowS - 60 }), token({ sub: 'bob', iat: nowS + 30 })]
  const told = ring.cli('identity', 'revoke', 'bob', '--issued-before', 'now')
  assert.equal(told.code, 0, told.stderr)
  await everywhere('the old is refused', async (node) => (await statusAt(node, old)) === 401)
  for (const node of ALL) assert.equal(await statusAt(node, fresh), 200)
  const listed = ring.cli('deny', 'ls', '--node', 'n4')
  assert.match(listed.stdout, /issued-before +\S+Z bob/)
})

test('03 one policy of access holds on all nodes, and ends what it does not allow', async () => {
  const staff = token({ sub: 'eve', groups: ['staff'] })
  const open = await Promise.all(ALL.map((node) => openWebSocket(ring.traffic(node), staff)))
  apply(`    authorization:
      policies: |
        @id("reads") permit (principal in Group::"staff", action == Action::"GET", resource);
        @id("no-chat") forbid (principal, action, resource) when { resource.path like "/chat*" };
`)
  await Promise.all(open.map(({ closed }) => closed))
  await everywhere('the policy is in force', async (node) => (await statusAt(node, undefined)) === 401)
  for (const node of ALL) {
    assert.deepEqual([await statusAt(node, staff), await statusAt(node, staff, '/chat')], [200, 403])
    const can = ring.cli('can', 'eve', 'GET', 'chat/chat', '--group', 'staff', '--explain', '--node', `n${node}`)
    assert.match(can.stdout, new RegExp(`authorization:no-chat[\\s\\S]*on n${node}`))
  }
  const { headers } = await ask(ring.traffic(3), '/chat', { headers: bearer(staff) })
  const why = ring.cli('explain', String(headers['x-request-id']), '--node', 'n1')
  assert.match(why.stdout, /node +n3 in [\s\S]*because +the policy no-chat of chat forbids it/)
})
