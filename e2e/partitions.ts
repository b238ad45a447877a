/**
 * `npm run e2e:partitions`: four nodes on hosts of their own (network namespaces), cut apart and healed. Linux, root, and iproute2.
 *
 * Checks, each printed with what was seen: cut 2|2, cut 3|1, and a link that carries one way only. Whoever is cut off goes on
 * enforcing, denials of either side are enforced at once on that side and everywhere after healing, grants wait for a quorum.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { ApiError, parseContext, RingwallClient } from '@ringwall/client'
import {
  APP_PORT,
  address,
  buildNetwork,
  cut,
  cutOneWay,
  HOST,
  heal,
  NODE_MAIN,
  nameOf,
  POLICY,
  status,
  tearDown,
  whyNot,
  writeRing,
} from './namespaces.ts'

const NODES = [1, 2, 3, 4] as const
const SETTLE_MS_MAX = 30_000

let failures = 0

/** Waits until it holds, and prints how long that took. */
async function expect(what: string, holds: () => Promise<boolean> | boolean): Promise<void> {
  const began = performance.now()
  for (;;) {
    if (await Promise.resolve(holds()).catch(() => false)) {
      process.stdout.write(`  good  ${what} (${((performance.now() - began) / 1_000).toFixed(1)} s)\n`)
      return
    }
    if (performance.now() - began > SETTLE_MS_MAX) {
      failures += 1
      process.stdout.write(`  BAD   ${what}: not within ${SETTLE_MS_MAX / 1_000} s\n`)
      return
    }
    await sleep(100)
  }
}

const all = async (nodes: readonly number[], source: string, wanted: number): Promise<boolean> =>
  (await Promise.all(nodes.map((node) => status(node, source)))).every((seen) => seen === wanted)

async function main(): Promise<void> {
  const reason = whyNot()
  if (reason !== undefined) {
    process.stdout.write(`skipped: ${reason}\n`)
    return
  }
  const root = mkdtempSync(join(tmpdir(), 'ringwall-partitions-'))
  const children: ChildProcess[] = []
  buildNetwork(NODES)
  const app = createServer((_, response) => response.end('fine\n')).listen(APP_PORT, HOST)
  try {
    const context = parseContext(writeRing(root, NODES).context)
    const client = (node: number): RingwallClient =>
      new RingwallClient({ baseUrl: `http://${address(node)}:9080`, operator: context })
    for (const node of NODES) {
      const flags = ['--disable-warning=ExperimentalWarning', NODE_MAIN, '--config', join(root, `n${node}`, 'node.yaml')]
      children.push(spawn('ip', ['netns', 'exec', nameOf(node), process.execPath, ...flags], { stdio: 'ignore' }))
    }
    const deny = (node: number, source: string) =>
      client(node).denyAdd({ kind: 'ip', value: source }, 600_000, 'test', { waitMs: 1_500 })
    const certain = async (node: number, source: string): Promise<boolean> =>
      (await client(node).denials()).denials.some(
        ({ subject, height }) => 'value' in subject && subject.value === source && height !== null,
      )
    const grant = async (node: number, text: string): Promise<'agreed' | string> => {
      const { version } = await client(node).policy()
      try {
        await client(node).policyApply(text, version, { waitMs: 2_000 })
        return 'agreed'
      } catch (error) {
        return error instanceof ApiError ? error.code : String(error)
      }
    }

    process.stdout.write('whole ring\n')
    await expect('all four serve', () => all(NODES, '198.51.100.1', 200))
    await deny(1, '203.0.113.1')
    await expect('a denial made on n1 holds on all four', () => all(NODES, '203.0.113.1', 403))

    process.stdout.write('cut 2|2\n')
    cut([1, 2], [3, 4])
    await expect('each side knows that it has no quorum', async () => (await client(1).status()).ledger.reachable.length <= 2)
    await deny(1, '203.0.113.2').catch(() => undefined)
    await deny(3, '203.0.113.3').catch(() => undefined)
    await expect('what was certain before is enforced on both sides', () => all(NODES, '203.0.113.1', 403))
    await expect('a denial made on n1 holds on n1 and n2', () => all([1, 2], '203.0.113.2', 403))
    await expect('and not on the other side', () => all([3, 4], '203.0.113.2', 200))
    await expect('a denial made on n3 holds on n3 and n4', () => all([3, 4], '203.0.113.3', 403))
    const waiting = await grant(2, `${POLICY}# wanted while cut\n`)
    await expect(`a grant waits and says so (${waiting})`, () => waiting === 'NO_QUORUM')
    await sleep(12_000)
    await expect('after longer than a denial may stay unconfirmed it still holds', () => all([1, 2], '203.0.113.2', 403))
    heal(NODES)
    await expect(
      'healed: both denials hold on all four',
      async () => (await all(NODES, '203.0.113.2', 403)) && all(NODES, '203.0.113.3', 403),
    )
    await expect('and are certain', async () => (await certain(4, '203.0.113.2')) && certain(1, '203.0.113.3'))

    process.stdout.write('cut 3|1\n')
    cut([1, 2, 3], [4])
    await deny(1, '203.0.113.4')
    await expect('three agree: a denial is certain there', () => certain(2, '203.0.113.4'))
    const agreed = await grant(1, `${POLICY}# agreed by three\n`)
    await expect(`three agree: a grant passes (${agreed})`, () => agreed === 'agreed')
    await deny(4, '203.0.113.5').catch(() => undefined)
    await expect(
      'the one cut off enforces what it knows, and what it is told',
      async () => (await all([4], '203.0.113.3', 403)) && all([4], '203.0.113.5', 403),
    )
    await expect('it serves on', () => all([4], '198.51.100.1', 200))
    heal(NODES)
    await expect(
      'healed: it catches up, and its denial holds on all four',
      async () => (await all(NODES, '203.0.113.4', 403)) && (await all(NODES, '203.0.113.5', 403)) && certain(4, '203.0.113.4'),
    )
    await expect('all four have the policy that three agreed on', async () =>
      (await Promise.all(NODES.map((node) => client(node).policy()))).every(({ text }) => text.includes('agreed by three')),
    )

    process.stdout.write('one way: what n1 sends to n2 and n3 vanishes\n')
    cutOneWay(1, 2)
    cutOneWay(1, 3)
    await deny(2, '203.0.113.6')
    await expect(
      'a denial made on n2 is certain on n3 and n4',
      async () => (await certain(3, '203.0.113.6')) && certain(4, '203.0.113.6'),
    )
    await deny(1, '203.0.113.7').catch(() => undefined)
    await expect('a denial made on n1 reaches all by the way that is left', () => all(NODES, '203.0.113.7', 403))
    heal(NODES)
    await expect(
      'healed: all hold everywhere',
      async () => (await all(NODES, '203.0.113.6', 403)) && all(NODES, '203.0.113.7', 403),
    )
    await expect('and all four are at one height', async () => {
      const heights = await Promise.all(NODES.map(async (node) => (await client(node).status()).ledger.height))
      return Math.max(...heights) - Math.min(...heights) <= 1
    })
  } finally {
    for (const child of children) child.kill('SIGTERM')
    app.close()
    app.closeAllConnections()
    await sleep(1_500)
    for (const child of children) child.kill('SIGKILL')
    tearDown(NODES)
    if (failures === 0) rmSync(root, { recursive: true, force: true })
    else process.stdout.write(`the nodes' files are in ${root}\n`)
  }
  process.stdout.write(failures === 0 ? 'all good\n' : `${failures} bad\n`)
  process.exitCode = failures === 0 ? 0 : 1
}

await main()
