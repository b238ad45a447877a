/**
 * `npm run bench:keys`: what tokens and certificates of the ring cost. Starts a real ring of four local processes (3 of 4 sign) and asks one
 * node's admin API over loopback, as any client does; the figures hold HTTP, the operator's signature, its checks by the holders and the links
 * between nodes. Verification is measured in this process, on one core.
 */
import { generateKeyPairSync, sign } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseContext, RingwallClient } from '@ringwall/client'
import { createTokenVerifier } from '@ringwall/identity'
import { svidProofBytes } from '@ringwall/identity/mint-request'
import { TestRing } from '../e2e/local-ring.ts'

const ROUNDS = Number(process.env.ROUNDS ?? 100)
const BURST = Number(process.env.BURST ?? 200)
const AT_ONCE = 16

function line(name: string, times: readonly number[], unit: string): void {
  const sorted = [...times].sort((a, b) => a - b)
  const at = (part: number): string => (sorted[Math.floor((sorted.length - 1) * part)] as number).toFixed(2).padStart(8)
  process.stdout.write(`${name.padEnd(48)}p50 ${at(0.5)} ${unit}  p99 ${at(0.99)} ${unit}  n ${times.length}\n`)
}

/** CPU time of a process so far, milliseconds; 0 where the kernel does not say. */
function cpuOf(pid: number): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
    return (Number(fields[11]) + Number(fields[12])) * 10
  } catch {
    return 0
  }
}

const ring = await TestRing.start()
try {
  const context = parseContext(readFileSync(join(ring.data, 'operator.json'), 'utf8'))
  const client = new RingwallClient({ baseUrl: context.nodes[0]?.url as string, operator: context })
  const pids = await Promise.all([1, 2, 3, 4].map((node) => ring.pid(node)))
  const cpu = (): number => pids.reduce((sum, pid) => sum + cpuOf(pid), 0)
  for (;;) {
    const { keys } = await client.keys()
    if (keys[0]?.state === 'ready' && keys[0].ceremony === null) break
    await sleep(100)
  }
  const token = (): ReturnType<RingwallClient['tokenMint']> =>
    client.tokenMint({ type: 'token', service: 'bench', audience: 'shop', ttlS: 300, claims: {} })
  process.stdout.write(
    `${cpus()[0]?.model}, ${cpus().length} cores, Node ${process.versions.node}; 3 of 4 sign, all on this machine\n\n`,
  )

  for (let i = 0; i < 10; i += 1) await token()
  await sleep(3_000)
  const minted: number[] = []
  for (let i = 0; i < ROUNDS; i += 1) {
    const began = performance.now()
    await token()
    minted.push(performance.now() - began)
    // One at a time and not without pause: what a service sees that asks now and then.
    await sleep(100)
  }
  line('token/one at a time, ten a second at most', minted, 'ms')

  const before = cpu()
  const began = performance.now()
  let left = BURST
  const lone: number[] = []
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      while (left > 0) {
        left -= 1
        const at = performance.now()
        await token()
        lone.push(performance.now() - at)
      }
    }),
  )
  const seconds = (performance.now() - began) / 1_000
  line(`token/${AT_ONCE} at a time without pause`, lone, 'ms')
  process.stdout.write(
    `${''.padEnd(48)}${(BURST / seconds).toFixed(1)} tokens/s; ${((cpu() - before) / BURST).toFixed(1)} ms of CPU a token, of all four nodes\n`,
  )

  const { ring: name } = await client.status()
  await sleep(3_000)
  const certified: number[] = []
  for (let i = 0; i < ROUNDS; i += 1) {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519')
    const spki = publicKey.export({ format: 'der', type: 'spki' }).toString('base64url')
    const proof = sign(null, svidProofBytes(name, { of: 'service', name: 'bench', publicKey: spki }), privateKey)
    const at = performance.now()
    await client.svidMint({
      type: 'svid',
      of: 'service',
      name: 'bench',
      publicKey: spki,
      proof: proof.toString('base64url'),
      ttlS: 3_600,
    })
    certified.push(performance.now() - at)
    await sleep(100)
  }
  line('X.509-SVID/one at a time, ten a second at most', certified, 'ms')

  const key = (await client.keys()).keys[0]?.publicKey as string
  const tokens: string[] = []
  for (let i = 0; i < 64; i += 1) tokens.push((await token()).token)
  const first: number[] = []
  const cached: number[] = []
  for (let round = 0; round < 40; round += 1) {
    const verifier = createTokenVerifier({ issuers: [], ring: { ring: name, keys: [key] } })
    for (const text of tokens) {
      const at = performance.now()
      await verifier.verify(text, Date.now())
      first.push((performance.now() - at) * 1_000)
    }
    const nowMs = Date.now()
    for (let i = 0; i < 20; i += 1) {
      const at = performance.now()
      for (const text of tokens) verifier.verify(text, nowMs)
      cached.push(((performance.now() - at) * 1_000) / tokens.length)
    }
  }
  line('verify a token/first time', first, 'us')
  line('verify a token/again', cached, 'us')
} finally {
  await ring.destroy()
}
