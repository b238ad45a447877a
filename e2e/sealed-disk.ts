/**
 * `npm run e2e:sealed-disk`: what a thief makes of a node's disk, and what its owner can still do about it. A real ring of four processes, whose disks the ring
 * opens; canaries in its policy, traces and secrets. The thief has the folder of a node, all its key files, and the program's own code.
 *
 *  1. control: the same search finds all canaries on a disk in the clear, and on one that the key file opens;
 *  2. of a disk that the ring opens it finds none;
 *  3. a restart, timed;
 *  4. a node that was removed is refused, with a code, a reason and what to do;
 *  5. a node that was wiped while it was off: the image of before does not open, not even on the same machine;
 *  6. a node that is wiped while it serves erases itself, timed, and its receipt verifies;
 *  7. SIGKILL at random moments while the disk is sealed and handed to the ring: nothing that was acknowledged is lost.
 *
 *  8. all nodes off at once: none opens a disk by itself; two of three operators open those of three, and the ring the fourth.
 *
 * Exit 0: all as it should be.
 */
import { execFileSync } from 'node:child_process'
import { createPublicKey, verify } from 'node:crypto'
import { cpSync, existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { wipeReceiptBytes } from '@ringwall/ring'
import { decodeBase64url } from '@ringwall/ring/tx'
import { ask, eventually, TestRing } from './local-ring.ts'
import { imageOf, plant, remove, ringName, sealByRing, search, timedRestart, tryStart } from './sealed-disk-scene.ts'
import { VaultClient } from './vault-client.ts'

/** With commas: clear, attack, off, black; all of them unless given. */
const { PARTS } = process.env
const KILLS = Number(process.env.KILLS ?? 12)
const CANARIES = { policy: 'canary-policy-51c2', trace: 'canary-trace-0be7' }
const SECRET = 'canary-secret-f00d'
const RESTART_MS_MAX = 10_000
const WIPE_MS_MAX = 5_000
const VAULT = "  rules:\n    - path: shop\n      read: ['operator:*']\n      write: ['operator:*']\n"

let failures = 0
function row(what: string, figure: string, isMet: boolean): void {
  if (!isMet) failures += 1
  process.stdout.write(`${isMet ? 'met  ' : 'SHORT'}  ${what}: ${figure}\n`)
}

const seconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`

/** CPU seconds that a process took so far, and its children none. */
function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) / Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }))
}

async function inTheClear(): Promise<void> {
  const ring = await TestRing.start({ extra: ['--seal', 'off'] })
  let image: string | undefined
  try {
    await plant(ring, CANARIES)
    await ring.kill(4)
    image = imageOf(ring, 4)
    const { canaries, files } = await search(image, ringName(ring), 4, Object.values(CANARIES))
    row('control: canaries found on a disk in the clear', `${canaries.size} of 2, in ${files} files`, canaries.size === 2)
  } finally {
    remove(...(image === undefined ? [] : [image]))
    await ring.destroy()
  }
}

/** What the ring acknowledged that is on no disk: denials that an operator proposes while a node is killed over and over. */
async function killed(ring: TestRing, node: number): Promise<void> {
  const acknowledged: string[] = []
  let isOver = false
  const proposing = (async () => {
    for (let i = 0; !isOver; i += 1) {
      const address = `203.0.${Math.floor(i / 250) % 250}.${(i % 250) + 1}`
      await ring
        .client(1)
        .denyAdd({ kind: 'ip', value: address }, 3_600_000, 'kill run')
        .then(
          (answer) => 'height' in answer && acknowledged.push(address),
          () => {},
        )
      await sleep(40)
    }
  })()
  let handed = 0
  await ring.end(node)
  for (let kill = 0; kill < KILLS; kill += 1) {
    // A folder that only its key file opens, so that the node seals it anew and hands it to the ring once more.
    ring.start(node, kill % 3 === 0 ? 'local' : 'ring')
    await sleep(Math.random() * 4_000)
    await ring.end(node)
    if (readFileSync(join(ring.data, `n${node}`, 'disk.json'), 'utf8').includes('"local": null')) handed += 1
  }
  ring.start(node, 'ring')
  await eventually(`n${node} is ready`, async () => (await ask(ring.base + 1_000 + node, '/readyz')).status === 200, 60_000)
  isOver = true
  await proposing
  await sleep(1_000)
  const { denials } = await ring.client(node).denials()
  const held = new Set(denials.map(({ subject }) => ('value' in subject ? subject.value : '')))
  const lost = acknowledged.filter((address) => !held.has(address))
  row(
    `SIGKILL at ${KILLS} random moments of starting, sealing and handing over`,
    `${acknowledged.length} acknowledged, ${lost.length} lost; ${handed} times the ring had the key`,
    lost.length === 0 && acknowledged.length > 0,
  )
}

async function underAttack(): Promise<void> {
  const ring = await TestRing.start({ extra: ['--seal', 'ring'] })
  const images: string[] = []
  try {
    const name = ringName(ring)
    const all = Object.values(CANARIES)
    await plant(ring, CANARIES)
    const before = imageOf(ring, 4)
    images.push(before)
    const control = await search(before, name, 4, all)
    row('control: canaries found where the key file opens the disk', `${control.canaries.size} of 2`, control.canaries.size === 2)
    await sealByRing(ring)
    const client = ring.client(1)
    const { text, version } = await client.policy()
    await client.policyApply(text + VAULT, version)
    const vault = new VaultClient(ring, 'n1')
    await eventually('the vault takes secrets', async () => vault.put('shop/canary', SECRET, 0).then(() => true))
    await eventually('it opens', async () => (await vault.get('shop/canary')).toString() === SECRET)

    await ring.kill(4)
    const taken = imageOf(ring, 4)
    images.push(taken)
    const found = await search(taken, name, 4, [...all, SECRET])
    row(
      'canaries found on a disk that the ring opens',
      `${found.canaries.size} of 3, in ${found.files} files, ${found.bytes} bytes`,
      found.canaries.size === 0,
    )
    const restartMs = await timedRestart(ring, 4)
    const cpu = cpuSeconds(await ring.pid(4))
    row('a restart, until it serves again', `${seconds(restartMs)}, ${cpu.toFixed(1)} s of CPU`, restartMs < RESTART_MS_MAX)
    await eventually('n4 opens secrets', async () => (await new VaultClient(ring, 'n4').get('shop/canary')).toString() === SECRET)

    await killed(ring, 4)

    // Reachable.
    const wipeBegan = performance.now()
    const wiped = ring.cli('node', 'wipe', 'n4', '--reason', 'stolen')
    const receipt = await (async () => {
      for (;;) {
        const wipe = (await client.disks()).wipes.find(({ id }) => id === 'n4')
        if (wipe?.receipt != null) return { wipe, receipt: wipe.receipt, ms: wipe.receipt.atMs - wipe.atMs }
        if (performance.now() - wipeBegan > 15_000) return undefined
        await sleep(100)
      }
    })()
    if (receipt === undefined) row('wiped while it serves', `no receipt: ${wiped.stderr}`, false)
    else {
      const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: receipt.wipe.publicKey }, format: 'jwk' })
      const { atMs, files, bytes, signature } = receipt.receipt
      const isGood = verify(null, wipeReceiptBytes(name, 'n4', { atMs, files, bytes }), key, decodeBase64url(signature))
      row(
        'wiped while it serves, until all is erased',
        `${seconds(receipt.ms)} after the block, ${files} files`,
        receipt.ms < WIPE_MS_MAX,
      )
      row('its receipt, verified', isGood ? 'signed by its key' : 'of another', isGood)
      await sleep(1_500)
      const left = readdirSync(join(ring.data, 'n4'))
      const gone =
        !left.includes('node.key') && !left.includes('disk.json') && !existsSync(join(ring.data, 'n4', 'ledger', 'blocks.log'))
      row('what is left of its folder', left.join(', '), gone)
    }
    rmSync(join(ring.data, 'n4'), { recursive: true, force: true })
    cpSync(taken, join(ring.data, 'n4'), { recursive: true })
    const again = await tryStart(join(ring.data, 'n4', 'node.yaml'), 30_000)
    row(
      'the image of before, started on the same machine',
      again.said.trim().split('\n').at(-1) ?? '',
      again.code === 1 && /DISK_GONE/.test(again.said),
    )
  } finally {
    remove(...images)
    await ring.destroy()
  }
}

/** Switched off, then wiped; removed, then started: with rings of their own, as three of four must be left to agree. */
async function whileOff(): Promise<void> {
  for (const [what, verb] of [
    ['wiped while it was off', 'wipe'],
    ['removed while it was off', 'rm'],
  ] as const) {
    const other = await TestRing.start({ extra: ['--seal', 'ring'] })
    try {
      await plant(other, CANARIES)
      await sealByRing(other)
      await other.kill(4)
      const image = imageOf(other, 4)
      const done = other.cli('node', verb, 'n4', '--reason', 'stolen')
      const dead = await search(image, ringName(other), 4, Object.values(CANARIES))
      const { code, said } = await tryStart(join(other.data, 'n4', 'node.yaml'), 30_000)
      row(`${what}: canaries on the image of before`, `${dead.canaries.size} of 2`, done.code === 0 && dead.canaries.size === 0)
      row(`${what}: started again`, said.trim().split('\n').at(-1) ?? '', code === 1 && /DISK_GONE/.test(said))
      row(`${what}: the others`, `${(await ask(other.traffic(1), '/')).status}`, (await other.client(1).status()).pid > 0)
      remove(image)
    } finally {
      await other.destroy()
    }
  }
}

async function blackStart(): Promise<void> {
  const other = await TestRing.start({ extra: ['--seal', 'ring'] })
  try {
    await plant(other, CANARIES)
    const shares = join(other.data, 'shares')
    const made = other.cliAlone('node', 'recovery', '--operators', '3', '--needed', '2', '--directory', shares)
    await sealByRing(other, made.stdout.trim())
    await other.stop()
    const image = imageOf(other, 1)
    // The thief has one operator's share besides.
    cpSync(join(shares, 'share-1'), join(image, 'share-1'))
    const stolen = await search(image, ringName(other), 1, Object.values(CANARIES))
    row(
      'black start: canaries for a thief with a disk and one operator’s share',
      `${stolen.canaries.size} of 2`,
      stolen.canaries.size === 0,
    )
    remove(image)
    for (let node = 1; node <= 4; node += 1) other.start(node, 'ring')
    const ready = async (node: number): Promise<boolean> =>
      ask(other.base + 1_000 + node, '/readyz').then(
        ({ status }) => status === 200,
        () => false,
      )
    await sleep(8_000)
    const early = await Promise.all([1, 2, 3, 4].map(ready))
    row('black start: nodes that serve by themselves', `${early.filter(Boolean).length} of 4`, !early.includes(true))
    const began = performance.now()
    const unlock = (node: number, share: number) =>
      other.cliAlone(
        'node',
        'unlock',
        '--config',
        join(other.data, `n${node}`, 'node.yaml'),
        '--share',
        join(shares, `share-${share}`),
      )
    const said = [1, 2, 3].flatMap((node) => [unlock(node, 1), unlock(node, 3)].map(({ stderr }) => stderr.trim()))
    const isSaid = said.every((line, at) => (at % 2 === 0 ? /waits for 1 more operator/ : /is open/).test(line))
    row('black start: two operators, a command each a node', said.slice(0, 2).join('; '), isSaid)
    for (let node = 1; node <= 4; node += 1) await eventually(`n${node} is ready`, () => ready(node), 90_000)
    row('black start: all four serve again', seconds(performance.now() - began), true)
  } finally {
    await other.destroy()
  }
}
const parts = { clear: inTheClear, attack: underAttack, off: whileOff, black: blackStart }
for (const [name, part] of Object.entries(parts)) if (PARTS === undefined || PARTS.split(',').includes(name)) await part()
process.exitCode = failures === 0 ? 0 : 1
