/**
 * The proofs that ACME servers are to find at names just now. Whichever node a validation meets has to show it, so each node tells the
 * others of its own and waits for their word before it asks for the validation.
 *
 * Nothing in them is secret. A node that was taken over could have the others prove names for it: see docs/traffic.md.
 */
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import type { Fabric } from '@ringwall/fabric'
import type { AcmeAnswer } from '@ringwall/proxy'
import { z } from 'zod'
import type { Proof } from './client.ts'
import { challengeCertificate } from './x509.ts'

/** A validation takes seconds; whoever dies meanwhile withdraws nothing. */
const PROOF_MS_MAX = 600_000
const PROOFS_OF_ONE_MAX = 100
const PAYLOAD_BYTES_MAX = 2_048
const TELL_MS_MAX = 2_000
const SWEEP_MS = 30_000
/** How long a node that has just started waits for its links before it has a name verified. */
const LINKS_MS_MAX = 15_000
const LOOK_MS = 200

const Told = z.strictObject({
  what: z.enum(['present', 'withdraw']),
  name: z
    .string()
    .max(253)
    .regex(/^(?!-)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*$/),
  token: z.string().regex(/^[A-Za-z0-9_-]{1,256}$/),
  thumbprint: z.string().regex(/^[A-Za-z0-9_-]{43}$/),
})

interface Known {
  readonly from: string
  readonly untilMs: number
  readonly answer: AcmeAnswer
}

export class Proofs {
  readonly #fabric: Pick<Fabric, 'request' | 'onRequest' | 'links'>
  readonly #self: string
  readonly #show: (all: readonly AcmeAnswer[]) => void
  readonly #known = new Map<string, Known>()
  readonly #timer: NodeJS.Timeout
  #key: { readonly object: KeyObject; readonly pem: string } | undefined

  /** @param show Hands all of them to whoever takes traffic. */
  constructor(self: string, fabric: Pick<Fabric, 'request' | 'onRequest' | 'links'>, show: (all: readonly AcmeAnswer[]) => void) {
    this.#self = self
    this.#fabric = fabric
    this.#show = show
    fabric.onRequest('acme', async (from, payload) => {
      this.#told(from, payload)
      return new Uint8Array(0)
    })
    this.#timer = setInterval(() => this.#sweep(), SWEEP_MS)
    this.#timer.unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  /** Resolves when all other nodes are linked, or that has taken long enough: some may be down. */
  async ready(stopping: AbortSignal): Promise<void> {
    const untilMs = performance.now() + LINKS_MS_MAX
    while (performance.now() < untilMs && !stopping.aborted && this.#fabric.links().some(({ connected }) => !connected))
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
  }

  /** Resolves when all nodes that are linked have it, or have had long enough. */
  async present(proof: Proof): Promise<void> {
    this.#add(this.#self, proof)
    await this.#tell('present', proof)
  }

  withdraw(proof: Proof): void {
    if (this.#known.delete(keyOf(this.#self, proof))) this.#changed()
    void this.#tell('withdraw', proof)
  }

  async #tell(what: 'present' | 'withdraw', { name, token, keyAuthorization }: Proof): Promise<void> {
    const thumbprint = keyAuthorization.slice(keyAuthorization.lastIndexOf('.') + 1)
    const payload = Buffer.from(JSON.stringify({ what, name, token, thumbprint }))
    const others = this.#fabric.links().filter(({ connected }) => connected)
    // One that does not answer is not waited for: the validation may well meet another.
    await Promise.allSettled(others.map(({ id }) => this.#fabric.request(id, 'acme', payload, TELL_MS_MAX)))
  }

  #told(from: string, payload: Uint8Array): void {
    if (payload.length > PAYLOAD_BYTES_MAX) throw new Error('a proof that is too long')
    const { what, name, token, thumbprint } = Told.parse(JSON.parse(Buffer.from(payload).toString('utf8')))
    const proof = { name, token, keyAuthorization: `${token}.${thumbprint}` }
    if (what === 'present') this.#add(from, proof)
    else if (this.#known.delete(keyOf(from, proof))) this.#changed()
  }

  #add(from: string, { name, token, keyAuthorization }: Omit<Proof, 'type'>): void {
    if (this.#known.has(keyOf(from, { name, token }))) return
    let count = 0
    for (const known of this.#known.values()) if (known.from === from) count++
    if (count >= PROOFS_OF_ONE_MAX) throw new Error(`more than ${PROOFS_OF_ONE_MAX} proofs at once`)
    const nowMs = Date.now()
    this.#key ??= newKey()
    const certificate = challengeCertificate(name, keyAuthorization, this.#key.object, nowMs)
    const answer = { name, token, keyAuthorization, certificate, key: this.#key.pem }
    this.#known.set(keyOf(from, answer), { from, untilMs: nowMs + PROOF_MS_MAX, answer })
    this.#changed()
  }

  #sweep(): void {
    const nowMs = Date.now()
    let changed = false
    for (const [key, { untilMs }] of this.#known) if (untilMs <= nowMs) changed = this.#known.delete(key) || changed
    if (changed) this.#changed()
  }

  #changed(): void {
    this.#show([...this.#known.values()].map(({ answer }) => answer))
  }
}

function keyOf(from: string, { name, token }: Pick<Proof, 'name' | 'token'>): string {
  return `${from} ${name} ${token}`
}

export function newKey(): { readonly object: KeyObject; readonly pem: string } {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return { object: privateKey, pem: privateKey.export({ format: 'pem', type: 'pkcs8' }) as string }
}
