/**
 * Passwords, checked in bounded time and memory: each takes some 100 ms and 64 MiB off the main thread, a few at a time, and who asks most waits for
 * themselves. Whether there is such a person shows neither in the answer nor in the time that it takes.
 */
import { createHmac, type KeyObject, randomBytes } from 'node:crypto'
import { PASSWORD_COST, PASSWORD_SALT_BYTES, passwordKey, publicHalf } from '@ringwall/identity'
import type { PasswordCost, PersonCredential } from '@ringwall/ring'
import { Attempts } from './attempts.ts'

/** At a time; each takes 64 MiB and some threads. */
const RUNNING_MAX = 2
/** That wait, of all and of one source. */
const WAITING_MAX = 32
const WAITING_PER_SOURCE_MAX = 4
/** Failures of one name within the window, on this node. */
const FAILURES_MAX = 10
const WINDOW_MS = 300_000

export class PasswordsBusy extends Error {
  override readonly name = 'PasswordsBusy'
  readonly code = 'PASSWORDS_BUSY'
}

export type PasswordDerivation = (password: string, salt: Uint8Array, cost: PasswordCost) => Promise<KeyObject>

type PasswordCredential = Extract<PersonCredential, { kind: 'password' }>

export class Passwords {
  readonly #derive: PasswordDerivation
  /** For names that nobody has: the same salt each time. */
  readonly #unknown = randomBytes(32)
  readonly #waiting: { readonly source: string; readonly begin: () => void }[] = []
  readonly #failures = new Attempts(FAILURES_MAX, WINDOW_MS)
  #running = 0

  constructor(derive: PasswordDerivation = passwordKey) {
    this.#derive = derive
  }

  /**
   * The key, if the password is the one; undefined otherwise. It takes as long when there is no such person or they have no password.
   *
   * @throws {PasswordsBusy} When too many wait.
   */
  async check(
    name: string,
    password: string,
    held: PasswordCredential | undefined,
    source: string,
  ): Promise<KeyObject | undefined> {
    const salt =
      held === undefined
        ? createHmac('sha256', this.#unknown).update(name).digest().subarray(0, PASSWORD_SALT_BYTES)
        : Buffer.from(held.salt, 'base64url')
    const key = await this.#inTurn(source, () => this.#derive(password, salt, held?.cost ?? PASSWORD_COST))
    return publicHalf(key) === held?.publicKey ? key : undefined
  }

  /** @throws {PasswordsBusy} */
  async enrol(password: string, source: string): Promise<PasswordCredential> {
    const salt = randomBytes(PASSWORD_SALT_BYTES)
    const key = await this.#inTurn(source, () => this.#derive(password, salt, PASSWORD_COST))
    return { cost: PASSWORD_COST, kind: 'password', publicKey: publicHalf(key), salt: salt.toString('base64url') }
  }

  /** Seconds until the name may be tried again, on this node; 0: now. Whether anybody has it does not matter. */
  waitS(name: string, nowMs: number): number {
    return this.#failures.waitS(name, nowMs)
  }

  failed(name: string, nowMs: number): void {
    this.#failures.add(name, nowMs)
  }

  succeeded(name: string): void {
    this.#failures.forget(name)
  }

  async #inTurn<T>(source: string, work: () => Promise<T>): Promise<T> {
    if (this.#running >= RUNNING_MAX) {
      const own = this.#waiting.filter((one) => one.source === source).length
      if (this.#waiting.length >= WAITING_MAX || own >= WAITING_PER_SOURCE_MAX)
        throw new PasswordsBusy('too many passwords are being checked: try again')
      await new Promise<void>((begin) => this.#waiting.push({ source, begin }))
    } else this.#running += 1
    try {
      return await work()
    } finally {
      const next = this.#waiting.shift()
      if (next === undefined) this.#running -= 1
      else next.begin()
    }
  }
}
