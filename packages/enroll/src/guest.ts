/** The side of who comes: finds a node of the ring that it may believe, and asks to be let in. */
import { type KeyObject, sign } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import { callAsGuest, FabricError } from '@ringwall/fabric'
import { deviceJoinBytes, type GenesisDocument, genesisHash, invitedBytes, parseGenesis, type RingNode } from '@ringwall/ring'
import { encodeBase64url, RingError } from '@ringwall/ring/tx'
import { GuestMessageInvalid, JoinRefused, RingUnreachable } from './errors.ts'
import { askAsGuest } from './guest-channel.ts'
import type { RingAddress } from './invitation.ts'

const CALL_MS_MAX = 5_000
const JOIN_MS_MAX = 25_000
/** What only another node, or a later try, may answer otherwise. */
const PASSING: ReadonlySet<string> = new Set(['RECEPTION_BUSY', 'NO_QUORUM', 'INTERNAL', 'ISSUER_UNKNOWN', 'GUEST_MESSAGE'])

export interface Invited {
  /** That the other side must prove to be of. */
  readonly ring: string
  readonly peers: readonly RingAddress[]
  /** The one-time key, or the device's. */
  readonly privateKey: KeyObject
}

export interface Welcome {
  readonly genesis: GenesisDocument
  /** As received. */
  readonly genesisText: string
  readonly by: 'invitation' | 'device'
  readonly serial: string | undefined
  /** Of the chain of owners, as the ring knows it. */
  readonly head: string | undefined
  readonly roles: RingNode['roles']
  /** The only one that it may stand in. */
  readonly region: string | undefined
  /** Of the node that answered. */
  readonly nodeRegion: string
  readonly atMs: number
  /** Own address, as it was used to reach the ring. */
  readonly localAddress: string
}

export interface WantedNode {
  readonly node: RingNode
  readonly privateKey: KeyObject
  /** Of a device: the newest entry of the chain that it holds. */
  readonly head?: string
}

/**
 * Asks one node after another until one answers for the ring.
 *
 * @throws {JoinRefused} When the ring does not expect this key. @throws {RingUnreachable} Naming who was tried, and why not.
 */
export async function greetRing(invited: Invited): Promise<Welcome> {
  return withNode(invited, async (socket) => {
    const answer = await askAsGuest(socket, { ask: 'welcome' }, CALL_MS_MAX)
    if ('error' in answer) throw new JoinRefused(answer.error.code, answer.error.reason)
    return welcomeOf(answer.ok, invited.ring, socket.localAddress ?? '')
  })
}

/** Has the ring say what it thinks of a join, or (with `isFinal`) join. @throws As `greetRing`. */
export async function askToJoin(
  invited: Invited,
  wanted: WantedNode,
  isFinal: boolean,
): Promise<{ readonly height: number | undefined }> {
  return withNode(invited, async (socket) => {
    const greeting = await askAsGuest(socket, { ask: 'welcome' }, CALL_MS_MAX)
    if ('error' in greeting) throw new JoinRefused(greeting.error.code, greeting.error.reason)
    const welcome = welcomeOf(greeting.ok, invited.ring, '')
    const request = { ask: isFinal ? 'join' : 'rehearse', ...signedJoin(invited, wanted, welcome) }
    const answer = await askAsGuest(socket, request, isFinal ? JOIN_MS_MAX : CALL_MS_MAX)
    if ('error' in answer) throw new JoinRefused(answer.error.code, answer.error.reason)
    return { height: typeof answer.ok.height === 'number' ? answer.ok.height : undefined }
  })
}

function signedJoin(
  { ring, privateKey }: Invited,
  { node, privateKey: own, head = '' }: WantedNode,
  { by, serial, atMs }: Welcome,
) {
  const said = by === 'device' ? { atMs, head } : {}
  const bytes =
    by === 'device'
      ? deviceJoinBytes(ring, { atMs, head, node, serial: serial ?? '' })
      : invitedBytes(ring, encodeBase64url(rawKeyOf(privateKey)), node)
  const signed = (key: KeyObject): string => encodeBase64url(sign(null, bytes, key))
  return { ...said, node, own: signed(own), proof: signed(privateKey) }
}

function rawKeyOf(privateKey: KeyObject): Uint8Array {
  const { x } = privateKey.export({ format: 'jwk' })
  return Buffer.from(x ?? '', 'base64url')
}

async function withNode<T>({ peers, privateKey }: Invited, run: (socket: TLSSocket) => Promise<T>): Promise<T> {
  const tried: string[] = []
  let refused: JoinRefused | undefined
  for (const { address, key } of peers) {
    const colon = address.lastIndexOf(':')
    const host = address.slice(0, colon).replace(/^\[|\]$/g, '')
    let socket: TLSSocket | undefined
    try {
      const port = Number(address.slice(colon + 1))
      socket = await callAsGuest({ host, port, key: Buffer.from(key, 'base64url'), privateKey, timeoutMs: CALL_MS_MAX })
      return await run(socket)
    } catch (error) {
      if (error instanceof JoinRefused && !PASSING.has(error.code)) throw error
      if (error instanceof JoinRefused) refused = error
      else if (!(error instanceof FabricError || error instanceof GuestMessageInvalid || error instanceof RingError)) throw error
      tried.push(error instanceof FabricError ? error.message : `${address}: ${(error as Error).message}`)
    } finally {
      socket?.destroy()
    }
  }
  if (refused !== undefined && tried.length === 1) throw refused
  throw refused?.code === 'ISSUER_UNKNOWN'
    ? refused
    : new RingUnreachable(`no node of the ring lets this one in: ${tried.join('; ')}`)
}

/** @throws {GuestMessageInvalid} When it is not a welcome of the ring that was expected. */
function welcomeOf(said: Readonly<Record<string, unknown>>, ring: string, localAddress: string): Welcome {
  const { genesis: text, by, serial, head, roles, region, nodeRegion, atMs } = said
  if (typeof text !== 'string' || typeof atMs !== 'number' || !Number.isSafeInteger(atMs) || typeof nodeRegion !== 'string')
    throw new GuestMessageInvalid('the welcome is malformed')
  const genesis = parseGenesis(text)
  if (genesisHash(genesis) !== ring) throw new GuestMessageInvalid('the node answers with the genesis document of another ring')
  const known = Array.isArray(roles)
    ? roles.filter((role): role is RingNode['roles'][number] => role === 'validator' || role === 'edge')
    : []
  if ((by !== 'invitation' && by !== 'device') || known.length === 0) throw new GuestMessageInvalid('the welcome is malformed')
  const optional = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined)
  return {
    genesis,
    genesisText: text,
    by,
    serial: optional(serial),
    head: optional(head),
    roles: known,
    region: optional(region),
    nodeRegion,
    atMs,
    localAddress,
  }
}
