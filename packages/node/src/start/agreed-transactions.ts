/** What transactions of a block mean at this node: denials are enforced or lifted, answers forgotten, and people told what was agreed. */
import {
  type Denial,
  type DenialSubject,
  denialOf,
  denialOfReuse,
  isEnrolmentStatement,
  isFleetStatement,
  type Person,
  type RingState,
} from '@ringwall/ring'
import { parseTx, subjectId, type TxBody, type TxContent, txId } from '@ringwall/ring/tx'
import { summarizeEnrolment } from '../enrolment/summary.ts'
import type { EventKind } from '../events.ts'
import { summarizeFleet } from '../fleet/summary.ts'
import { describeSubject } from '../subject-text.ts'
import type { BlockParts } from './block-reactions.ts'

/** One transaction, in the states before and after its block. */
interface Agreed {
  readonly content: TxContent
  readonly before: RingState
  readonly state: RingState
  /** Ids of denials that the block lifted. */
  readonly lifted: string[]
  readonly confirmed: Denial[]
}

type Body<K extends TxBody['type']> = Extract<TxBody, { type: K }>

export class AgreedTransactions {
  readonly #parts: Omit<BlockParts, 'late'>

  constructor(parts: Omit<BlockParts, 'late'>) {
    this.#parts = parts
  }

  show(txs: readonly Uint8Array[], before: RingState, state: RingState): void {
    const confirmed: Denial[] = []
    const lifted: string[] = []
    for (const bytes of txs) {
      const { content } = parseTx(bytes)
      const body = this.#agreedBody(content, txs, before, state)
      if (body !== undefined) this.#show(body, { content, before, state, lifted, confirmed })
    }
    const { early } = this.#parts.agreement
    early.confirm(confirmed)
    early.lift(lifted)
  }

  /** What this transaction brought into force; undefined while it waits for operators. */
  #agreedBody(content: TxContent, txs: readonly Uint8Array[], before: RingState, state: RingState): TxBody | undefined {
    const { body, issuer } = content
    const nowMs = Date.now()
    this.#parts.watches.insiders.operated(issuer, body.type, content.atMs)
    const id = body.type === 'tx.approve' ? body.id : txId(content)
    const waits = this.#parts.agreement.application.approvals(state, nowMs).find((waiting) => waiting.id === id)
    if (waits !== undefined) {
      const missing = waits.needed - waits.signedBy.length
      const what = `${waits.content.body.type} of ${waits.content.issuer}`
      this.#tell('approval', 'info', `${what} waits for ${missing} more: ringwall approve ${id.slice(0, 16)}`)
      return undefined
    }
    if (body.type !== 'tx.approve') return body
    this.#tell('approval', 'info', `${issuer} approved ${id.slice(0, 16)}: ${body.reason}`)
    // What it let pass; unknown when it came into the state in this same block.
    return before.approvals.get(id, 0)?.content.body ?? bodyIn(txs, id) ?? body
  }

  #show(body: TxBody, agreed: Agreed): void {
    const { issuer } = agreed.content
    if (body.type === 'deny.add') this.#denied(body, agreed)
    else if (body.type === 'deny.remove') this.#lifted(body, agreed)
    else if (body.type === 'deny.withdraw') this.#withdrawn(body, agreed)
    else if (body.type === 'person.reset' || body.type === 'person.remove') this.#ended(body, agreed)
    else if (body.type === 'person.put') this.#put(body, agreed)
    else if (body.type === 'person.enrol') this.#enrolled(body, agreed)
    else if (body.type === 'token.use') this.#used(agreed)
    else if (body.type === 'token.revoke') this.#revoked(agreed)
    else if (body.type === 'cache.purge') this.#purged(body, agreed)
    else if (body.type === 'node.add') this.#tell('node', 'info', `${body.node.id} joins, by ${issuer}: ${body.reason}`)
    else if (body.type === 'node.wipe') this.#tell('node', 'warn', `${body.id} is wiped, by ${issuer}: ${body.reason}`)
    else if (body.type === 'node.remove') this.#tell('node', 'warn', `${body.id} leaves, by ${issuer}: ${body.reason}`)
    else if (body.type === 'attest.quote') return
    else if (isFleetStatement(body)) this.#tell('node', 'info', `${summarizeFleet(body)}; by ${issuer}`)
    else if (isEnrolmentStatement(body)) this.#tell('node', 'info', `${summarizeEnrolment(body)}; by ${issuer}`)
    else if (body.type === 'evidence') this.#evicted(body, agreed)
  }

  #tell(kind: EventKind, level: 'info' | 'warn', line: string): void {
    this.#parts.ground.events.add(kind, level, line)
  }

  #cut(subject: DenialSubject): void {
    this.#parts.denials.cut(subject)
  }

  #denied(body: Body<'deny.add'>, { content: { issuer }, state, confirmed }: Agreed): void {
    const id = subjectId(body.subject)
    const what = describeSubject(body.subject)
    const certain = state.denial(id)
    if (certain === undefined) {
      const { nodes } = this.#parts.agreement.application.corroboration(state)
      const said = state.pending.get(id)?.statements.length ?? 0
      this.#tell('denial', 'info', `${what}: ${issuer} says ${body.reason}; ${said} of ${nodes} nodes say so`)
      return
    }
    confirmed.push(certain)
    this.#cut(body.subject)
    this.#tell('denial', 'info', `${what} denied by ${issuer}: ${body.reason}`)
  }

  #lifted(body: Body<'deny.remove'>, { content: { issuer }, lifted }: Agreed): void {
    lifted.push(body.id)
    this.#tell('denial', 'info', `denial ${body.id} lifted by ${issuer}`)
  }

  #withdrawn(body: Body<'deny.withdraw'>, { content: { issuer }, state, lifted }: Agreed): void {
    const isGone = state.denial(body.id) === undefined && state.pending.get(body.id) === undefined
    if (isGone) lifted.push(body.id)
    const end = isGone ? ', and it is lifted' : ''
    this.#tell('denial', 'info', `${issuer} takes back its word on ${body.id}${end}: ${body.reason}`)
  }

  #ended(body: Body<'person.reset' | 'person.remove'>, { content, before, state, confirmed }: Agreed): void {
    const denial = denialOf(content, undefined)
    if (denial === undefined) return
    confirmed.push(state.denial(denial.id) ?? denial)
    this.#cut(denial.subject)
    const { signals } = this.#parts.people
    for (const kind of kindsOf(before.people.get(body.name))) signals.changed(body.name, 'revoke', kind, content.atMs)
    const what = body.type === 'person.reset' ? 'is to enrol anew' : 'is gone'
    this.#tell('person', 'info', `${body.name} ${what}, by ${content.issuer}: ${body.reason}`)
  }

  #put(body: Body<'person.put'>, { content: { issuer } }: Agreed): void {
    const groups = body.groups.join(', ') || 'none'
    this.#tell('person', 'info', `${body.name}, groups ${groups}, by ${issuer}: ${body.reason}`)
  }

  #enrolled(body: Body<'person.enrol'>, { content }: Agreed): void {
    const { kind } = body.credential
    if (kind !== 'outside') this.#parts.people.signals.changed(body.name, 'create', kind, content.atMs)
    this.#tell('person', 'info', `${body.name} enrolled a ${kind} by an invitation, through ${content.issuer}`)
  }

  #used({ content, before, state, confirmed }: Agreed): void {
    const [use, reuse] = [denialOf(content, undefined), denialOfReuse(content, undefined)]
    if (use === undefined || reuse === undefined) return
    confirmed.push(state.denial(use.id) ?? use)
    const ended = state.denial(reuse.id)
    if (ended === undefined || before.denial(reuse.id) !== undefined) return
    confirmed.push(ended)
    this.#cut(ended.subject)
    this.#tell('denial', 'warn', `${describeSubject(ended.subject)} is over: ${ended.reason}`)
  }

  #revoked({ content, state, confirmed }: Agreed): void {
    const denial = denialOf(content, undefined)
    if (denial === undefined) return
    confirmed.push(state.denial(denial.id) ?? denial)
    this.#cut(denial.subject)
    this.#tell('denial', 'info', `${describeSubject(denial.subject)} ${denial.reason}, shown by ${content.issuer}`)
  }

  #purged(body: Body<'cache.purge'>, { content: { issuer } }: Agreed): void {
    this.#parts.traffic.proxy.purge(body.service, body.path)
    this.#tell('cache', 'info', `${issuer} had the answers of ${body.service}${body.path} forgotten: ${body.reason}`)
  }

  #evicted(body: Body<'evidence'>, { content: { issuer } }: Agreed): void {
    const what = `signed two contradicting statements in round ${body.round}`
    this.#tell('node', 'warn', `${body.validator} is evicted: it ${what}; shown by ${issuer}`)
    this.#parts.watches.conduct.seen(body.validator, 'equivocation', `in round ${body.round}, shown by ${issuer}`)
  }
}

/** Of what somebody shows to this ring alone, each once. */
function kindsOf(person: Person | undefined): readonly ('passkey' | 'password')[] {
  const kinds = new Set(person?.credentials.map(({ kind }) => kind))
  return (['passkey', 'password'] as const).filter((kind) => kinds.has(kind))
}

/** The statement of the transaction with this id. */
function bodyIn(txs: readonly Uint8Array[], id: string): TxBody | undefined {
  return txs.map((bytes) => parseTx(bytes).content).find((content) => txId(content) === id)?.body
}
