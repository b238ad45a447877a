/**
 * `npm run e2e:sidecar`: two sidecars, as processes of their own, beside a ring of real processes: programs that know nothing of certificates call each
 * other through them and through a node, while certificates are replaced. Prints a line for each thing that holds; ends with 1 when one does not.
 *
 * Needs Linux.
 */
import assert from 'node:assert/strict'
import type { ChildProcess } from 'node:child_process'
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { makePair } from '../packages/proxy/src/test-certificates.ts'
import { CLI, eventually, NODE_FLAGS, TestRing } from './local-ring.ts'
import { ask, fail, load, type Running, report, run, startProgram } from './sidecar-scene.ts'

const WAIT_MS_MAX = 90_000
/** Beside the base of a ring: none of its nodes has them. */
const [NODE_TLS, BILLING_IN, SHOP_OUT, SHOP_TO_NODE, BILLING_TO_NODE] = [51, 52, 53, 54, 55] as const
const LOAD_MS = 75_000

if (process.platform !== 'linux') {
  process.stdout.write('skipped: the Workload API needs Linux\n')
  process.exit(0)
}

const children: ChildProcess[] = []
const program = await startProgram()
const { url, seen } = program

function sidecar(file: string): Running {
  const running = run(process.execPath, [...NODE_FLAGS, CLI, 'sidecar', '--config', file])
  children.push(running.child)
  return running
}

const ring = await TestRing.start()
try {
  const client = ring.client(1)
  await eventually('there is a key', async () => (await client.keys()).keys[0]?.state === 'ready', WAIT_MS_MAX)
  const { ring: name } = await client.status()
  const socket = join(ring.data, 'workload.sock')
  const uid = process.geteuid?.() ?? 0
  const file = join(ring.data, 'sidecars.yaml')
  const workload = `{ nodes: [n1], unix: [{ uid: ${uid} }], ttl: 1m }`
  const policy = (callers: string): string => `version: 1
workloads:
  billing: ${workload}
  shop: ${workload}
services:
  app: { upstreams: [{ url: "${url}" }], waf: { mode: "off" }, callers: [${callers}] }
`
  writeFileSync(file, policy('service/shop'))
  const applied = ring.cli('policy', 'apply', file, '--yes')
  assert.equal(applied.code, 0, applied.stderr)
  const pair = await makePair(['app.example'])
  const [certificate, key] = ['server.pem', 'server.key'].map((one) => join(ring.data, one)) as [string, string]
  writeFileSync(certificate, pair.certificate)
  writeFileSync(key, pair.key, { mode: 0o600 })
  const config = join(ring.data, 'n1', 'node.yaml')
  const traffic = [
    { address: `127.0.0.1:${ring.traffic(1)}` },
    { address: `127.0.0.1:${ring.base + NODE_TLS}`, tls: { certificate, key, clientCertificates: 'ask' } },
  ]
  await ring.kill(1)
  writeFileSync(config, readFileSync(config, 'utf8').replace(/^ {2}traffic: .*$/m, `  traffic: ${JSON.stringify(traffic)}`))
  appendFileSync(config, `workloadApi: { socket: ${socket} }\n`)
  await ring.restart(1)

  const [billingFile, shopFile] = ['billing.yaml', 'shop.yaml'].map((one) => join(ring.data, one)) as [string, string]
  const inbound = `inbound: [{ listen: "127.0.0.1:${ring.base + BILLING_IN}", to: "${url}", callers: [service/shop] }]`
  const toNode = `{ listen: "127.0.0.1:PORT", to: "https://127.0.0.1:${ring.base + NODE_TLS}", name: app.example, authorities: ${certificate} }`
  const ofBilling = `outbound: [${toNode.replace('PORT', String(ring.base + BILLING_TO_NODE))}]`
  writeFileSync(billingFile, `workloadApi: unix://${socket}\nservice: billing\n${inbound}\n${ofBilling}\n`)
  const outbound = `outbound: [{ listen: "127.0.0.1:${ring.base + SHOP_OUT}", to: "https://127.0.0.1:${ring.base + BILLING_IN}", is: service/billing }, ${toNode.replace('PORT', String(ring.base + SHOP_TO_NODE))}]`
  writeFileSync(shopFile, `workloadApi: unix://${socket}\nservice: shop\n${outbound}\n`)
  const [billing, shop] = [sidecar(billingFile), sidecar(shopFile)]
  await eventually('both are ready', () => [billing, shop].every(({ text }) => /^ready/m.test(text)), WAIT_MS_MAX).catch(
    (error: Error) => {
      throw new Error(`${error.message}: ${billing.text} ${shop.text}`)
    },
  )
  assert.equal(await ask(ring.base + SHOP_OUT), 200)
  assert.equal(seen.at(-1)?.['x-ringwall-peer'], `spiffe://${name}/service/shop`)
  report('a program calls another through two sidecars, which hears who calls')

  assert.equal(await ask(ring.base + SHOP_TO_NODE), 200)
  assert.equal(seen.at(-1)?.['x-ringwall-peer'], `spiffe://${name}/service/shop`)
  assert.equal(await ask(ring.base + BILLING_TO_NODE), 403)
  assert.equal(await ask(ring.traffic(1)), 401)
  report('through a node: who is named in callers gets through, another service gets 403, nobody 401')

  const figure = await load(program, ring.base + SHOP_OUT, LOAD_MS)
  report('certificates of a minute are replaced under load, and no request fails', figure)

  const denied = client.denyAdd({ kind: 'subject', value: `spiffe://${name}/service/shop` }, 600_000, 'stolen')
  await eventually('it is the service no more', () => shop.text.includes('is the service no more'), WAIT_MS_MAX)
  await denied
  assert.equal(await ask(ring.base + SHOP_OUT), 502)
  report('a denied service loses its certificate, and its sidecar lets nothing out')
} catch (error) {
  fail(error)
} finally {
  for (const child of children) child.kill('SIGKILL')
  program.stop()
  await ring.destroy()
}
