/**
 * The keys of passes, among nodes: each makes its own and tells the others over their links, so that a proof of work that was brought to
 * one node is believed by all. On disk they are sealed by the node's own key: a node that starts again opens what it sealed before. One that the
 * ring lets go takes what it sealed with it.
 */
import type { Fabric } from '@ringwall/fabric'
import {
  type Challenges,
  currentPassKeys,
  livingPassKeys,
  PASS_KEY_BYTES,
  PASS_KEY_ID_BYTES,
  PASS_KEYS_MAX,
  type PassKey,
} from '@ringwall/proxy'
import type { View } from '@ringwall/ring'
import { every } from './in-step.ts'
import type { Seal } from './signing/sealed-file.ts'

const TICK_MS = 1_000
/** Also when nothing has changed: what a link lost is made up for. */
const TELL_MS = 60_000
const MESSAGE_BYTES_MAX = 8_192
const KEY_ID = new RegExp(`^[0-9a-f]{${PASS_KEY_ID_BYTES * 2}}$`)
const KEY = /^[A-Za-z0-9_-]{43}$/

/** Of the file, within its seal. */
const SEALED_NAME = 'pass-keys'

export interface PassKeysOptions {
  readonly fabric: Pick<Fabric, 'send' | 'broadcast' | 'onMessage'>
  readonly view: () => View
  /** All that may be opened by, the one to seal with first. */
  readonly onKeys: (keys: readonly PassKey[]) => void
  /** Where its own keys stay. */
  readonly file: string
  readonly seal: Pick<Seal, 'read' | 'write'>
  readonly log: (line: string) => void
}

export class PassKeys {
  readonly #options: PassKeysOptions
  readonly #stopTicking: () => void
  #own: readonly PassKey[]
  readonly #others = new Map<string, readonly PassKey[]>()
  #toldAtMs = Number.NEGATIVE_INFINITY

  /** A file that cannot be opened is begun anew: those whose pass was sealed by its keys do some work again. */
  static async open(options: PassKeysOptions): Promise<PassKeys> {
    let kept: readonly PassKey[] | undefined
    try {
      const bytes = await options.seal.read(options.file, SEALED_NAME)
      kept = bytes === undefined ? undefined : decodePassKeys(bytes)
    } catch (error) {
      options.log(`${options.file} is begun anew: ${(error as Error).message}`)
    }
    return new PassKeys(options, kept ?? [])
  }

  private constructor(options: PassKeysOptions, kept: readonly PassKey[]) {
    this.#options = options
    this.#own = currentPassKeys(livingPassKeys(kept, Date.now()), Date.now())
    if (this.#own !== kept) this.#write()
    options.fabric.onMessage('passes', (from, payload) => this.#heard(from, payload))
    this.#stopTicking = every(TICK_MS, () => this.#tick())
    options.onKeys(this.keys)
  }

  get keys(): readonly PassKey[] {
    return [...this.#own, ...[...this.#others.values()].flat()]
  }

  /** A link is there. */
  tell(id: string): void {
    this.#options.fabric.send(id, 'passes', encodePassKeys(this.#own))
  }

  stop(): void {
    this.#stopTicking()
  }

  #tick(): void {
    const nowMs = Date.now()
    const own = currentPassKeys(this.#own, nowMs)
    let changed = own !== this.#own
    if (changed) {
      this.#own = own
      this.#write()
    }
    const members = new Set(this.#options.view().nodes.map(({ id }) => id))
    for (const [id, keys] of this.#others) {
      const living = members.has(id) ? livingPassKeys(keys, nowMs) : []
      if (living === keys) continue
      changed = true
      if (living.length === 0) this.#others.delete(id)
      else this.#others.set(id, living)
    }
    if (changed) this.#options.onKeys(this.keys)
    const atMs = performance.now()
    if (!changed && atMs - this.#toldAtMs < TELL_MS) return
    this.#toldAtMs = atMs
    this.#options.fabric.broadcast('passes', encodePassKeys(own))
  }

  #write(): void {
    const { seal, file, log } = this.#options
    seal
      .write(file, SEALED_NAME, encodePassKeys(this.#own))
      .catch((error: Error) => log(`${file} cannot be written: ${error.message}`))
  }

  /** One that starts anew has forgotten what it sealed with before; the others have not. */
  #heard(from: string, payload: Uint8Array): void {
    const told = decodePassKeys(payload)
    if (told === undefined || !this.#options.view().nodes.some(({ id }) => id === from)) return
    const known = this.#others.get(from) ?? []
    const news = told.filter(({ id }) => !known.some((key) => key.id === id))
    const keys = livingPassKeys([...news, ...known].slice(0, PASS_KEYS_MAX), Date.now())
    if (news.length === 0 || keys.length === 0) return
    this.#others.set(from, keys)
    this.#options.onKeys(this.keys)
  }
}

export function usePassKeys(challenges: Challenges, keys: readonly PassKey[]): void {
  const [sealing, ...others] = keys
  if (sealing !== undefined) challenges.use(sealing, others)
}

export function encodePassKeys(keys: readonly PassKey[]): Uint8Array {
  return Buffer.from(
    JSON.stringify(keys.map(({ id, bytes, madeAtMs }) => [id, Buffer.from(bytes).toString('base64url'), madeAtMs])),
  )
}

/** Undefined when they are not what they should be. */
export function decodePassKeys(bytes: Uint8Array): readonly PassKey[] | undefined {
  if (bytes.length > MESSAGE_BYTES_MAX) return undefined
  let given: unknown
  try {
    given = JSON.parse(Buffer.from(bytes).toString('utf8'))
  } catch {
    return undefined
  }
  if (!Array.isArray(given) || given.length > PASS_KEYS_MAX) return undefined
  const keys: PassKey[] = []
  for (const one of given) {
    if (!Array.isArray(one) || one.length !== 3) return undefined
    const [id, text, madeAtMs] = one as unknown[]
    if (typeof id !== 'string' || !KEY_ID.test(id) || typeof text !== 'string' || !KEY.test(text)) return undefined
    const key = Buffer.from(text, 'base64url')
    if (key.length !== PASS_KEY_BYTES || !Number.isSafeInteger(madeAtMs)) return undefined
    keys.push({ id, bytes: key, madeAtMs: madeAtMs as number })
  }
  return keys
}
