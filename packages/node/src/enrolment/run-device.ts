/** `ringwall node --device DIR`: from power on to a node that serves, without anybody there; the same command every time. */

import { randomBytes } from 'node:crypto'
import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  DeviceInvalid,
  findByDns,
  findOnLink,
  greetRing,
  type Invited,
  JoinRefused,
  readDeviceFolder,
  type Welcome,
} from '@ringwall/enroll'
import { StartError } from '../errors.ts'
import { verifySignature } from '../keys.ts'
import { runNode } from '../run-node.ts'
import { becomeNode, type JoiningNode, type JoinWishes } from './join-ring.ts'
import { runJoining } from './run-join.ts'

/** Beside the device's files: those of the node that it is. */
const NODE_FOLDER = 'node'
const JOINED_FILE = 'joined'
const SERIAL_CHARS_SHOWN = 22
const SEARCH_MS = { least: 1_000, most: 30_000 } as const

export type DeviceWishes = Pick<
  JoinWishes,
  'profile' | 'fabric' | 'traffic' | 'admin' | 'id' | 'tpm' | 'tpmLog' | 'caseFile' | 'caseClosed'
> & {
  /** Whose name servers may say where the ring is; those that the machine searches unless given. */
  readonly domains?: readonly string[] | undefined
}

/** @returns The exit code. */
export async function runDevice(directory: string, wishes: DeviceWishes): Promise<number> {
  const beganAtMs = performance.now()
  const home = join(directory, NODE_FOLDER)
  const joined = join(home, JOINED_FILE)
  if (existsSync(joined)) return runNode(join(home, 'node.yaml'))
  return runJoining(async () => {
    const joining = await joinAsDevice(directory, home, wishes)
    await joining.joined.catch(async (error: { readonly code?: string }) => {
      await joining.node.stop()
      // What it was is spent: it comes again as another node.
      if (error.code === 'NODE_ID_USED' || error.code === 'NODE_KEY_USED') rmSync(home, { recursive: true, force: true })
      throw error
    })
    writeFileSync(joined, '', { mode: 0o600 })
    return joining
  }, beganAtMs)
}

async function joinAsDevice(directory: string, home: string, wishes: DeviceWishes): Promise<JoiningNode> {
  const { privateKey, voucher, head } = readDeviceFolder(directory, verifySignature, Date.now())
  const { invited, welcome } = await untilFound(
    { ring: voucher.ring, peers: shuffled(voucher.addresses), privateKey },
    wishes.domains,
  )
  if (welcome.by !== 'device' || welcome.serial !== voucher.serial)
    throw new JoinRefused('DEVICE_UNKNOWN', `the ring knows this key, but not as the device ${voucher.serial}`)
  if (welcome.head !== head)
    throw new DeviceInvalid(
      'VOUCHER_SUPERSEDED',
      `the ring knows another voucher of ${voucher.serial}; put the newest on the device`,
    )
  const slug = voucher.serial
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, SERIAL_CHARS_SHOWN)
  const id = wishes.id ?? `${slug}-${randomBytes(4).toString('hex')}`
  try {
    return await becomeNode(invited, welcome, { ...wishes, id, directory: home }, head)
  } catch (error) {
    // Files of a try that the ring never heard of, or that it has refused for good.
    if (!(error instanceof StartError) && existsSync(home)) rmSync(home, { recursive: true, force: true })
    throw error
  }
}

/** Devices of one voucher's nodes, powered on together, do not all come to the first of them. */
function shuffled<T>(all: readonly T[]): readonly T[] {
  return all
    .map((one) => [Math.random(), one] as const)
    .sort(([a], [b]) => a - b)
    .map(([, one]) => one)
}

/** A device has nobody to start it again: it goes on looking. What the ring says is final. */
export async function untilFound(
  vouched: Invited,
  domains: readonly string[] | undefined,
  say: (line: string) => void = (line) => void process.stderr.write(`ringwall: ${line}\n`),
): Promise<{ readonly invited: Invited; readonly welcome: Welcome }> {
  for (let waitMs: number = SEARCH_MS.least; ; waitMs = Math.min(SEARCH_MS.most, waitMs * 2)) {
    try {
      return await firstThatAnswers(vouched, () => elsewhere(vouched, domains))
    } catch (error) {
      if ((error as { readonly code?: string }).code !== 'RING_UNREACHABLE') throw error
      say(`${(error as Error).message}; looking again in about ${waitMs / 1_000} s`)
      await new Promise((wake) => setTimeout(wake, waitMs * (0.5 + Math.random())))
    }
  }
}

/** Where the voucher says, and where others say when nobody answers there. */
async function firstThatAnswers(
  vouched: Invited,
  others: () => Promise<Invited>,
): Promise<{ readonly invited: Invited; readonly welcome: Welcome }> {
  try {
    return { invited: vouched, welcome: await greetRing(vouched) }
  } catch (error) {
    if ((error as { readonly code?: string }).code !== 'RING_UNREACHABLE') throw error
    const invited = await others()
    if (invited.peers.length === 0) throw error
    return { invited, welcome: await greetRing(invited) }
  }
}

/** By DNS and on the link; each address may be that of any node that the voucher names, and of no other. */
async function elsewhere(vouched: Invited, domains: readonly string[] | undefined): Promise<Invited> {
  const [named, near] = await Promise.all([findByDns(domains), findOnLink()])
  const peers = [...near, ...named].flatMap((address) => vouched.peers.map((peer) => ({ ...peer, address })))
  return { ...vouched, peers }
}
