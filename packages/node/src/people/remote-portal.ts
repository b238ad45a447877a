/** The pages where people log in, for a thread that takes traffic: the node makes them. */
import type { Portal, PortalAnswer, PortalRequest, RenewedSession } from '@ringwall/proxy'
import type { FromWorker } from '../worker-messages.ts'

/** Under way at once. */
const WAITING_MAX = 512
const ANSWER_MS_MAX = 30_000

type Answer = PortalAnswer | RenewedSession | undefined

export class RemotePortal implements Portal {
  readonly #say: (message: FromWorker) => void
  readonly #waiting = new Map<number, (answer: Answer) => void>()
  #next = 1

  constructor(say: (message: FromWorker) => void) {
    this.#say = say
  }

  async answer(request: PortalRequest): Promise<PortalAnswer> {
    const answer = await this.#ask((id) => ({ kind: 'portal', id, request }))
    if (answer === undefined || !('status' in answer)) throw new Error('the node has no answer')
    return answer
  }

  async renew(token: string): Promise<RenewedSession | undefined> {
    const answer = await this.#ask((id) => ({ kind: 'renew', id, token }))
    return answer !== undefined && 'token' in answer ? answer : undefined
  }

  answered(id: number, answer: Answer): void {
    this.#waiting.get(id)?.(answer)
  }

  #ask(message: (id: number) => FromWorker): Promise<Answer> {
    if (this.#waiting.size >= WAITING_MAX) return Promise.resolve(undefined)
    const id = this.#next
    this.#next += 1
    return new Promise((settle) => {
      const end = (answer: Answer): void => {
        clearTimeout(late)
        this.#waiting.delete(id)
        settle(answer)
      }
      const late = setTimeout(() => end(undefined), ANSWER_MS_MAX)
      late.unref()
      this.#waiting.set(id, end)
      this.#say(message(id))
    })
  }
}
