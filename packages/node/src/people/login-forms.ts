/**
 * Forms of the pages where people log in: each holds a seal that says when it was made, for which service and page, and for which browser, by
 * a cookie that no other site can read or set. Nothing is remembered. Any node takes what another made: the keys are those of passes, from which
 * these are derived.
 */
import { createHmac, createSecretKey, hkdfSync, type KeyObject, randomBytes, timingSafeEqual } from 'node:crypto'
import { LOGIN_MS_MAX } from '@ringwall/identity'
import type { PassKey } from '@ringwall/proxy'

const INFO = 'ringwall login forms 1'
const BROWSER = /^[A-Za-z0-9_-]{22}$/
const FORM = /^([0-9a-f]{12})\.(\d{13,15})\.([A-Za-z0-9_-]{22})\.([A-Za-z0-9_-]{43})$/
const SKEW_MS = 5_000

export interface FormOccasion {
  /** Unix milliseconds. */
  readonly atMs: number
  /** 16 random bytes, base64url. */
  readonly nonce: string
}

interface Sealer {
  readonly id: string
  readonly key: KeyObject
}

export class LoginForms {
  #sealers: readonly Sealer[] = []

  /** @param keys Of passes; the one to seal with first. */
  use(keys: readonly PassKey[]): void {
    const before = new Map(this.#sealers.map((sealer) => [sealer.id, sealer]))
    this.#sealers = keys.map(
      ({ id, bytes }) => before.get(id) ?? { id, key: createSecretKey(Buffer.from(hkdfSync('sha256', bytes, '', INFO, 32))) },
    )
  }

  /** What a browser is known by while it logs in: its own if it has one. */
  browser(shown: string | undefined): string {
    return shown !== undefined && BROWSER.test(shown) ? shown : randomBytes(16).toString('base64url')
  }

  issue(purpose: string, browser: string, nowMs: number): { readonly text: string; readonly occasion: FormOccasion } {
    const [sealer] = this.#sealers
    if (sealer === undefined) throw new Error('bug: no key to seal forms with')
    const occasion = { atMs: nowMs, nonce: randomBytes(16).toString('base64url') }
    const seal = sealOf(sealer, purpose, browser, occasion).toString('base64url')
    return { text: `${sealer.id}.${occasion.atMs}.${occasion.nonce}.${seal}`, occasion }
  }

  /** What follows from a form that was issued, and that only nodes know: 43 characters of base64url. */
  secret(text: string): string {
    const [, id] = FORM.exec(text) ?? []
    const sealer = this.#sealers.find((one) => one.id === id)
    if (sealer === undefined) throw new Error('bug: a secret of a form that is none of ours')
    return createHmac('sha256', sealer.key).update(`secret\n${text}`).digest('base64url')
  }

  /** Undefined: it is none of ours, another's, another page's, or too old. */
  open(text: string, purpose: string, browser: string | undefined, nowMs: number): FormOccasion | undefined {
    const [, id, at, nonce, seal] = FORM.exec(text) ?? []
    const sealer = this.#sealers.find((one) => one.id === id)
    if (sealer === undefined || nonce === undefined || seal === undefined || browser === undefined || !BROWSER.test(browser))
      return undefined
    const occasion = { atMs: Number(at), nonce }
    if (nowMs - occasion.atMs > LOGIN_MS_MAX || occasion.atMs - nowMs > SKEW_MS) return undefined
    const held = Buffer.from(seal, 'base64url')
    if (held.toString('base64url') !== seal || !timingSafeEqual(held, sealOf(sealer, purpose, browser, occasion)))
      return undefined
    return occasion
  }
}

function sealOf({ key }: Sealer, purpose: string, browser: string, { atMs, nonce }: FormOccasion): Buffer {
  return createHmac('sha256', key).update(`${purpose}\n${browser}\n${atMs}\n${nonce}`).digest()
}
