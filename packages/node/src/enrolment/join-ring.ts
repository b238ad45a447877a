/** A machine becomes a node of a ring that it has an invitation to: files, start, join. */
import { randomBytes } from 'node:crypto'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { askToJoin, greetRing, type Invited, parseInvitation, type WantedNode, type Welcome } from '@ringwall/enroll'
import type { RingNode } from '@ringwall/ring'
import { encodeBase64url } from '@ringwall/ring/tx'
import { formatHostPort } from '../address.ts'
import { type Profile, readNodeConfig } from '../config.ts'
import { StartError } from '../errors.ts'
import { initNode } from '../init-node.ts'
import { rawPublicKey, readPrivateKey } from '../keys.ts'
import { startNode } from '../node.ts'
import type { RunningNode } from '../running-node.ts'

const FABRIC_PORT = 7_081
/** A whole fleet may come at once, and a node takes in only so many at a time. */
const PATIENCE_MS = 120_000
const TRY_AGAIN_MS = { least: 500, most: 8_000 } as const

/** What may be left open: then it is as the invitation says, or by default. */
export interface JoinWishes {
  readonly id?: string | undefined
  readonly profile?: Profile | undefined
  readonly region?: string | undefined
  readonly roles?: RingNode['roles'] | undefined
  readonly directory?: string | undefined
  /** HOST:PORT each. */
  readonly fabric?: string | undefined
  readonly traffic: string
  readonly admin: string
  /** Of a device: how tpm2-tools reach its TPM, and the log of its start. */
  readonly tpm?: string | undefined
  readonly tpmLog?: string | undefined
  readonly caseFile?: string | undefined
  readonly caseClosed?: string | undefined
}

export interface JoiningNode {
  readonly node: RunningNode
  readonly directory: string
  readonly entry: RingNode
  /** Resolves once the ring has it. */
  readonly joined: Promise<{ readonly height: number | undefined }>
}

/**
 * @param line As `ringwall node invite` printed it.
 * @throws {StartError} Also for what the invitation does not allow. @throws {EnrollError} When the ring cannot be reached, or says no: then no
 * files are left.
 */
export async function joinRing(line: string, wishes: JoinWishes): Promise<JoiningNode> {
  const { ring, privateKey, peers } = parseInvitation(line)
  const invited: Invited = { ring, privateKey, peers }
  return becomeNode(invited, await greetRing(invited), wishes)
}

/** @param head Of a device: the newest entry of its voucher. */
export async function becomeNode(invited: Invited, welcome: Welcome, wishes: JoinWishes, head?: string): Promise<JoiningNode> {
  const known = head === undefined ? undefined : brokenOff(wishes.directory)
  const id = known ?? wishes.id ?? `n-${randomBytes(4).toString('hex')}`
  const directory = wishes.directory ?? id
  const fabric = wishes.fabric ?? formatHostPort({ host: welcome.localAddress.replace(/^::ffff:/, ''), port: FABRIC_PORT })
  const region = wishes.region ?? welcome.region ?? welcome.nodeRegion
  const roles = wishes.roles ?? welcome.roles
  if (known === undefined && existsSync(directory))
    throw new StartError('CONFIG_INVALID', `${directory} is there already; name a folder that is not`)
  const { profile, traffic, admin, tpm, tpmLog, caseFile, caseClosed } = wishes
  if (known === undefined)
    makeFiles(welcome, { id, profile, region, directory, fabric, traffic, admin, tpm, tpmLog, caseFile, caseClosed })
  try {
    const config = readNodeConfig(join(directory, 'node.yaml'))
    const own = readPrivateKey(config.key)
    const entry: RingNode = { address: fabric, id, publicKey: encodeBase64url(rawPublicKey(own)), region, roles }
    const wanted: WantedNode = { node: entry, privateKey: own, ...(head === undefined ? {} : { head }) }
    // Whatever the ring has against it is heard before anything is started.
    if (known === undefined) await askPatiently(invited, wanted, false)
    const node = await startNode(config)
    // The others wait for a validator from the block on that adds it: by then it listens.
    return { node, directory, entry, joined: askPatiently(invited, wanted, true) }
  } catch (error) {
    if (known === undefined) rmSync(directory, { recursive: true, force: true })
    throw error
  }
}

/** As `askToJoin`; what another moment may answer otherwise is asked again, at moments that differ from one device to the next. */
export async function askPatiently(
  invited: Invited,
  wanted: WantedNode,
  isFinal: boolean,
  patienceMs = PATIENCE_MS,
): Promise<{ readonly height: number | undefined }> {
  const untilMs = performance.now() + patienceMs
  for (let waitMs: number = TRY_AGAIN_MS.least; ; waitMs = Math.min(TRY_AGAIN_MS.most, waitMs * 2)) {
    try {
      return await askToJoin(invited, wanted, isFinal)
    } catch (error) {
      const { code } = error as { readonly code?: string }
      const isPassing = code === 'RING_UNREACHABLE' || code === 'NO_QUORUM' || code === 'RECEPTION_BUSY'
      if (!isPassing || performance.now() > untilMs) throw error
      await new Promise((wake) => setTimeout(wake, waitMs * (0.5 + Math.random())))
    }
  }
}

/** The id of a device's node that was made and may have joined: it asks again, as the same. */
function brokenOff(directory: string | undefined): string | undefined {
  const file = join(directory ?? '', 'node.yaml')
  return directory !== undefined && existsSync(file) ? readNodeConfig(file).id : undefined
}

interface Files {
  readonly id: string
  readonly profile: Profile | undefined
  readonly region: string
  readonly directory: string
  readonly fabric: string
  readonly traffic: string
  readonly admin: string
  readonly tpm: string | undefined
  readonly tpmLog: string | undefined
  readonly caseFile: string | undefined
  readonly caseClosed: string | undefined
}

function makeFiles({ genesisText }: Welcome, files: Files): void {
  const passing = mkdtempSync(join(tmpdir(), 'ringwall-join-'))
  try {
    const genesis = join(passing, 'genesis.json')
    writeFileSync(genesis, genesisText, { mode: 0o600 })
    initNode({ ...files, genesis })
  } finally {
    rmSync(passing, { recursive: true, force: true })
  }
}
