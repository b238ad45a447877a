/**
 * `npm run e2e:vault-theft`: what a thief makes of the disks and the memory of some of a ring's nodes. Plants canaries in the vault of a real ring
 * of four processes (3 of 4 open), has them read, copies each node's data folder and all of its process's memory, and gives the copies of any
 * two, then of any three nodes to one and the same attack:
 *
 * - looks for the canaries themselves, as text, hex and base64;
 * - takes shares of the sealing key, from disk by the node's own key file, from memory by the form that they have there;
 * - takes what was sealed, from blocks and snapshots on disk and from memory, deleted secrets too;
 * - makes partial decryptions with all shares that it has, combines them, and tries the result on everything.
 *
 * Two nodes are to give nothing and three everything: so the attack can succeed, and its failure says something. In the end the vault is emptied and
 * its key replaced: then all four nodes together are to give nothing, neither from disk nor from what memory they then have.
 */
import { randomBytes } from 'node:crypto'
import { closeSync, cpSync, mkdtempSync, openSync, readdirSync, readFileSync, readSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { combineUnproven, KeyShare, makeBarePartial, PublicKey, readCapsule, ThresholdError } from '@ringwall/threshold'
import { readSecretLabel, unsealSecret, VaultError } from '@ringwall/vault'
import { filesOf, openStolen } from './disk-thief.ts'
import { eventually, TestRing } from './local-ring.ts'
import { openVault, VaultClient } from './vault-client.ts'

const CANARIES = 24
const NODES = [1, 2, 3, 4] as const
const READ_BYTES = 1024 * 1024
const PAGE_BYTES = 4_096
const NOTHING = Buffer.alloc(READ_BYTES)
/** How every canary begins, in each form that is looked for. */
const BEGINNING = 'canary-'
const MARKS = [
  Buffer.from(BEGINNING),
  Buffer.from(Buffer.from(BEGINNING).toString('hex')),
  Buffer.from(Buffer.from(BEGINNING).toString('base64').slice(0, 9)),
  Buffer.from(BEGINNING, 'utf16le'),
]
/** A share with its key has some 700 bytes in a ring of four. */
const SHARE_BYTES_MAX = 20_000
const SHARE_OPENING = Buffer.concat([Buffer.from('RWT1'), Buffer.of(9)])
const PUT = /"body":\{"capsule":"([A-Za-z0-9_-]+)","ciphertext":"([A-Za-z0-9_-]+)","expectVersion":[0-9]+,"name":"([^"]{1,200})"/g
const HELD = /\{"capsule":"([A-Za-z0-9_-]{200,3000})","ciphertext":"([A-Za-z0-9_-]+)"\}/g

const out = (text: string): void => void process.stdout.write(`${text}\n`)

interface Loot {
  readonly node: number
  readonly shares: readonly KeyShare[]
  /** `capsule ciphertext`, base64url. */
  readonly sealed: ReadonlySet<string>
  /** Canaries that lay there in the clear. */
  readonly inTheClear: ReadonlySet<string>
  readonly bytes: number
}

class Sack {
  readonly shares = new Map<string, KeyShare>()
  readonly sealed = new Set<string>()
  readonly inTheClear = new Set<string>()
  readonly #canaries: readonly string[]
  bytes = 0

  constructor(canaries: readonly string[]) {
    this.#canaries = canaries
  }

  /** Goes through bytes of disk or memory. */
  search(bytes: Buffer): void {
    this.bytes += bytes.length
    const isNear = MARKS.some((mark) => bytes.includes(mark))
    for (const canary of isNear ? this.#canaries : []) {
      const plain = Buffer.from(canary)
      // Without its last characters, which depend on what follows; UTF-16 is how programs hold text.
      const forms = [plain, plain.toString('hex'), plain.toString('base64').slice(0, 40), Buffer.from(canary, 'utf16le')]
      if (forms.some((form) => bytes.includes(form))) this.inTheClear.add(canary)
    }
    for (let at = bytes.indexOf(SHARE_OPENING); at >= 0; at = bytes.indexOf(SHARE_OPENING, at + 1))
      this.#share(bytes.subarray(at))
    if (!bytes.includes('"ciphertext":"')) return
    const found = bytes.toString('latin1')
    for (const [, capsule, ciphertext] of [...found.matchAll(PUT), ...found.matchAll(HELD)])
      this.sealed.add(`${capsule} ${ciphertext}`)
  }

  /** opening(37) length(4) key index(2) secret(32). */
  #share(bytes: Buffer): void {
    if (bytes.length < 45) return
    const length = 37 + 4 + bytes.readUInt32BE(37) + 2 + 32
    if (length > SHARE_BYTES_MAX || length > bytes.length) return
    try {
      const share = KeyShare.decode(Uint8Array.from(bytes.subarray(0, length)))
      this.take(share)
    } catch (error) {
      if (!(error instanceof ThresholdError)) throw error
    }
  }

  take(share: KeyShare): void {
    if (share.publicKey.suite === 'ristretto255') this.shares.set(`${share.publicKey.name} ${share.index}`, share)
  }
}

async function robDisk(sack: Sack, ring: string, node: number, folder: string): Promise<void> {
  const disk = await openStolen(folder, ring, `n${node}`)
  for await (const { name, raw, opened } of filesOf(folder, disk)) {
    sack.search(raw)
    if (opened !== undefined) sack.search(opened)
    for (const called of ['sealing share', 'share']) {
      const share = name.endsWith('.sealed') ? disk.small.open(called, raw) : undefined
      // The ceremony's number, then the share.
      if (share !== undefined) sack.take(KeyShare.decode(share.subarray(4)))
    }
  }
}

/** Is any page from here on there at all? What was only reserved reads as zeros. */
function isThere(pagemap: number, at: number, bytes: number): boolean {
  const entries = Buffer.alloc(Math.ceil(bytes / PAGE_BYTES) * 8)
  try {
    const read = readSync(pagemap, entries, 0, entries.length, Math.floor(at / PAGE_BYTES) * 8)
    // In memory, or swapped out.
    for (let i = 7; i < read; i += 8) if ((entries[i] as number) >= 0x40) return true
    return read < entries.length
  } catch {
    return true
  }
}

/** All that the kernel lets be read of the process. */
function robMemory(sack: Sack, pid: number): void {
  const memory = openSync(`/proc/${pid}/mem`, 'r')
  const pagemap = openSync(`/proc/${pid}/pagemap`, 'r')
  // What lies across two reads is in one of them.
  const overlap = 15 * PAGE_BYTES
  try {
    for (const line of readFileSync(`/proc/${pid}/maps`, 'utf8').split('\n')) {
      const found = /^([0-9a-f]+)-([0-9a-f]+) r/.exec(line)
      if (found === null || line.endsWith('[vvar]') || line.endsWith('[vsyscall]')) continue
      const [from, to] = [Number.parseInt(found[1] as string, 16), Number.parseInt(found[2] as string, 16)]
      let at = from
      while (at < to) {
        const length = Math.min(READ_BYTES, to - at)
        if (!isThere(pagemap, at, length)) {
          at += length === READ_BYTES ? length - overlap : length
          continue
        }
        const buffer = Buffer.allocUnsafe(length)
        let read = 0
        try {
          read = readSync(memory, buffer, 0, buffer.length, at)
        } catch {
          // Guard pages and the like.
        }
        if (read > 0 && !NOTHING.subarray(0, read).equals(buffer.subarray(0, read))) sack.search(buffer.subarray(0, read))
        if (read < buffer.length || at + read >= to) break
        at += read - overlap
      }
    }
  } finally {
    closeSync(memory)
    closeSync(pagemap)
  }
}

/** Secrets that come of it all. */
function attack(loots: readonly Loot[]): { readonly found: ReadonlySet<string>; readonly shares: number } {
  const found = new Set(loots.flatMap(({ inTheClear }) => [...inTheClear]))
  const sealed = new Set(loots.flatMap((loot) => [...loot.sealed]))
  const epochs = new Map<string, Map<number, KeyShare>>()
  for (const share of loots.flatMap(({ shares }) => shares)) {
    const held = epochs.get(share.publicKey.name) ?? new Map<number, KeyShare>()
    epochs.set(share.publicKey.name, held.set(share.index, share))
  }
  let most = 0
  for (const shares of epochs.values()) {
    const list = [...shares.values()]
    most = Math.max(most, list.length)
    if (list.length < 2) continue
    const { publicKey } = list[0] as KeyShare
    // The threshold is no lock on a thief's own program: it combines whatever there is.
    const count = Math.min(list.length, publicKey.threshold)
    const lax = new PublicKey({
      suite: publicKey.suite,
      purpose: publicKey.purpose,
      epoch: publicKey.epoch,
      members: publicKey.members,
      threshold: count,
      commitments: publicKey.commitments.slice(0, count),
    })
    for (const one of sealed) {
      const [capsuleText = '', ciphertext = ''] = one.split(' ')
      try {
        const capsule = readCapsule(lax, Buffer.from(capsuleText, 'base64url'))
        const values = list.slice(0, count).map((share) => ({ index: share.index, value: makeBarePartial(share, capsule) }))
        const key = combineUnproven(lax, capsule, values)
        const secret = unsealSecret(key, capsule.label, Buffer.from(ciphertext, 'base64url'))
        if (readSecretLabel(capsule.label) !== undefined) found.add(Buffer.from(secret).toString())
      } catch (error) {
        if (!(error instanceof ThresholdError) && !(error instanceof VaultError)) throw error
      }
    }
  }
  return { found, shares: most }
}

function subsets(size: number, from: readonly Loot[]): readonly (readonly Loot[])[] {
  if (size === 0) return [[]]
  return from.flatMap((loot, at) => subsets(size - 1, from.slice(at + 1)).map((rest) => [loot, ...rest]))
}

/** Copies disk and memory of every node, and goes through them once. */
async function rob(
  ring: TestRing,
  name: string,
  canaries: readonly string[],
  how: 'disk' | 'memory' | 'both',
): Promise<readonly Loot[]> {
  const folder = mkdtempSync(join(tmpdir(), 'ringwall-theft-'))
  try {
    const loots: Loot[] = []
    for (const node of NODES) {
      const sack = new Sack(canaries)
      if (how !== 'memory') {
        cpSync(join(ring.data, `n${node}`), join(folder, `n${node}`), { recursive: true })
        await robDisk(sack, name, node, join(folder, `n${node}`))
      }
      if (how !== 'disk') robMemory(sack, await ring.pid(node))
      loots.push({ node, shares: [...sack.shares.values()], sealed: sack.sealed, inTheClear: sack.inTheClear, bytes: sack.bytes })
    }
    return loots
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

let failures = 0

function verdict(what: string, loots: readonly Loot[], size: number, canaries: readonly string[], expected: number): void {
  for (const some of subsets(size, loots)) {
    const { found, shares } = attack(some)
    const count = canaries.filter((canary) => found.has(canary)).length
    const isRight = count === expected
    if (!isRight) failures += 1
    const nodes = some.map(({ node }) => `n${node}`).join(' ')
    const mb = Math.round(some.reduce((sum, { bytes }) => sum + bytes, 0) / 1_048_576)
    out(
      `${what.padEnd(32)} ${nodes.padEnd(12)} ${String(mb).padStart(5)} MB, ${shares} shares of one epoch, ${String(count).padStart(2)} of ${canaries.length} canaries${isRight ? '' : `   WRONG: ${expected} expected`}`,
    )
  }
}

const ring = await TestRing.start()
try {
  await openVault(ring)
  const vault = new VaultClient(ring)
  const { ring: name } = await ring.client(1).status()
  const secrets = Array.from(
    { length: CANARIES },
    (_, i) => [`shop/canary${i}`, `${BEGINNING}${randomBytes(24).toString('hex')}`] as const,
  )
  const canaries = secrets.map(([, canary]) => canary)
  for (const [path, canary] of secrets) await vault.put(path, canary, 0)
  for (const node of NODES) {
    const there = new VaultClient(ring, `n${node}`)
    for (const [path, canary] of secrets)
      await eventually(`${path} opens by n${node}`, async () => (await there.get(path)).toString() === canary)
  }
  // An eighth of them deleted: blocks of before still hold them.
  for (const [path] of secrets.slice(0, CANARIES / 8))
    await ring.client(1).submit({ type: 'vault.delete', name: path, versions: [], reason: 'theft' })

  for (const how of ['disk', 'memory', 'both'] as const) {
    const loots = await rob(ring, name, canaries, how)
    const missing = loots.filter(({ shares }) => shares.length === 0).map(({ node }) => `n${node}`)
    if (missing.length > 0) {
      failures += 1
      out(`no share of the sealing key was found on ${missing.join(', ')}: this attack shows nothing`)
    }
    verdict(`${how === 'both' ? 'disk and memory' : how} of two nodes`, loots, 2, canaries, 0)
    if (how === 'memory') {
      // Of deleted secrets memory need not hold the sealed bytes any more.
      verdict(`${how} of three nodes`, loots, 3, canaries.slice(CANARIES / 8), CANARIES - CANARIES / 8)
    } else verdict(`${how === 'both' ? 'disk and memory' : how} of three nodes`, loots, 3, canaries, CANARIES)
  }

  for (const [path] of secrets.slice(CANARIES / 8))
    await ring.client(1).submit({ type: 'vault.delete', name: path, versions: [], reason: 'theft' })
  const client = ring.client(1)
  const before = (await client.keys()).keys[1]?.publicKey
  await client.keyRotate('theft', { key: 'sealing' })
  await eventually(
    'another sealing key',
    async () => {
      const now = (await client.keys()).keys[1]
      return now?.publicKey !== before && now?.ceremony === null
    },
    40_000,
  )
  for (const node of NODES)
    await eventually(`n${node} has it`, async () => (await ring.client(node).keys()).keys[1]?.publicKey !== before)
  await eventually('old shares are gone', () =>
    NODES.every((node) => readdirSync(join(ring.data, `n${node}`, 'keys', 'sealing')).join() === 'share.sealed'),
  )
  const left = await rob(ring, name, canaries, 'disk')
  verdict('disk of all, key replaced', left, 4, canaries, 0)
  const remains = await rob(ring, name, canaries, 'memory')
  verdict('memory of all, key replaced', remains, 4, canaries, 0)
} finally {
  await ring.destroy()
}
if (failures > 0) {
  out(`${failures} outcomes are not as they should be`)
  process.exitCode = 1
} else out('two nodes give nothing, three everything, and none anything once the key is replaced')
