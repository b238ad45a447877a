/**
 * How a node receives those who come with an invitation or as a device. Who they are is the key that they showed in the TLS handshake; what they
 * may become is what the ring's state says of that key. The node carries their join in, and decides nothing.
 */
import type { TLSSocket } from 'node:tls'
import { goneDevice, type Refusal, type RingState, type TxBody } from '@ringwall/ring'
import { encodeBase64url } from '@ringwall/ring/tx'
import { type GuestAnswer, serveGuest } from './guest-channel.ts'

/** Joins that are on their way at once. */
const JOINING_MAX = 64

/** What the reception needs of its node. */
export interface ReceptionDesk {
  readonly ring: string
  /** As text. */
  readonly genesis: string
  readonly region: string
  state(): RingState
  /** By this node's clock, Unix milliseconds. */
  nowMs(): number
  /** What the ring would say, had this node signed it. */
  rehearse(body: TxBody): Refusal | undefined
  /** In the node's own name: its height once it is final. A refusal is an answer; rejects when nothing is agreed in time. */
  propose(body: TxBody): Promise<{ readonly height: number } | Refusal>
  /** Somebody was sent away. */
  onRefused(from: string, refusal: Refusal): void
}

type Request = Readonly<Record<string, unknown>>

const UNKNOWN: Refusal = {
  code: 'ISSUER_UNKNOWN',
  reason:
    'the ring expects nobody with this key: the invitation is another ring’s, was forgotten, or the device is not registered (ringwall device register)',
}

export class Reception {
  readonly #desk: ReceptionDesk
  #joining = 0

  constructor(desk: ReceptionDesk) {
    this.#desk = desk
  }

  /** @param key That the guest proved to hold, raw. */
  receive(socket: TLSSocket, key: Uint8Array): void {
    const from = `${socket.remoteAddress}:${socket.remotePort}`
    const guest = encodeBase64url(key)
    serveGuest(socket, async (request) => {
      const answer = await this.answer(guest, request)
      if ('error' in answer) this.#desk.onRefused(from, answer.error as Refusal)
      return answer
    })
  }

  async answer(guest: string, request: Request): Promise<GuestAnswer> {
    const expected = this.#expected(guest)
    if (expected === undefined) return { error: UNKNOWN }
    const device = this.#desk.state().enrolment.deviceWithKey(guest)
    if (device?.status === 'removed' || device?.status === 'transferred') return { error: goneDevice(device) }
    if (request.ask === 'welcome') return { ok: { ...this.#welcome(), ...expected } }
    const body = joinOf(guest, expected, request)
    if (body === undefined)
      return { error: { code: 'GUEST_MESSAGE', reason: 'expected welcome, rehearse or join, with the node that is to be' } }
    if (request.ask === 'rehearse') {
      const refusal = this.#desk.rehearse(body)
      return refusal === undefined ? { ok: {} } : { error: refusal }
    }
    return this.#join(body)
  }

  #expected(guest: string): Request | undefined {
    const { enrolment } = this.#desk.state()
    const invitation = enrolment.invitation(guest, this.#desk.nowMs())
    if (invitation !== undefined) return { by: 'invitation', roles: invitation.roles, region: invitation.region }
    const device = enrolment.deviceWithKey(guest)
    if (device === undefined) return undefined
    return { by: 'device', serial: device.serial, head: device.head, roles: device.roles, region: device.region }
  }

  #welcome(): Request {
    const { ring, genesis, region } = this.#desk
    return { ring, genesis, nodeRegion: region, atMs: this.#desk.nowMs() }
  }

  async #join(body: TxBody): Promise<GuestAnswer> {
    const { node } = body as { readonly node: { readonly id: string; readonly publicKey: string } }
    // Asked again by one who did not hear the answer.
    if (this.#desk.state().node(node.id)?.publicKey === node.publicKey) return { ok: { id: node.id } }
    if (this.#joining >= JOINING_MAX)
      return {
        error: { code: 'RECEPTION_BUSY', reason: `${JOINING_MAX} joins are under way at this node; try again in a moment` },
      }
    this.#joining += 1
    try {
      const outcome = await this.#desk.propose(body)
      return 'height' in outcome ? { ok: { id: node.id, height: outcome.height } } : { error: outcome }
    } catch {
      const reason = 'the ring did not agree in time: too few of its validators answer; try again in a moment'
      return { error: { code: 'NO_QUORUM', reason } }
    } finally {
      this.#joining -= 1
    }
  }
}

/** The statement that a request asks for; its shape is checked where all statements are. */
function joinOf(guest: string, expected: Request, request: Request): TxBody | undefined {
  if (request.ask !== 'rehearse' && request.ask !== 'join') return undefined
  const { node, own, proof, atMs, head } = request
  if (typeof node !== 'object' || node === null) return undefined
  const said =
    expected.by === 'invitation'
      ? { type: 'node.join', invitation: guest, node, own, proof }
      : { type: 'device.join', serial: expected.serial, atMs, head, node, own, proof }
  return said as unknown as TxBody
}
