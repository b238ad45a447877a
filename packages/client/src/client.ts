/** The admin API as methods. Shapes come from its OpenAPI document; requests are signed in with the operator's key. */
import type { MintRequest, SignedMintRequest } from '@ringwall/identity/mint-request'
import { type DenialSubject, playId, type RingNode, type SignedTx, type TxBody, type TxContent } from '@ringwall/ring/tx'
import type { SignedOpenRequest } from '@ringwall/vault/open-request'
import type { SignedTransitRequest } from '@ringwall/vault/transit-request'
import {
  type AccessRequest,
  type Decision,
  type NodeEvent,
  OPERATIONS,
  type Operations,
  type PlaybookInputs,
} from './api.generated.ts'
import { type OperatorCredentials, OperatorSigner } from './context.ts'
import { ApiError, NodeUnreachable } from './errors.ts'
import { EventStreamParser } from './event-stream.ts'

export interface ClientOptions {
  /** Of the node's admin listener, e.g. `http://127.0.0.1:9081`. */
  readonly baseUrl: string
  /** Without: only the open operations. */
  readonly operator?: OperatorCredentials
  /** How long an answer may take, beyond what a call itself waits for; 10,000 unless given. */
  readonly timeoutMs?: number
  readonly fetch?: typeof fetch
}

export interface SubmitOptions {
  /** How long to wait for finality; 15,000 unless given. */
  readonly waitMs?: number
}

const TIMEOUT_MS = 10_000
const WAIT_MS = 15_000
const REPLAY_MS = 30_000
const TRAINING_MS = 300_000

type Name = keyof Operations
type Answer<N extends Name> = Operations[N]['answer']
type Query<N extends Name> = Operations[N]['query']

interface Call {
  readonly parameters?: Readonly<Record<string, string>>
  readonly query?: Readonly<Record<string, unknown>> | undefined
  readonly body?: unknown
  /** Fields of a form, in place of a JSON body. */
  readonly form?: Readonly<Record<string, string>>
  readonly timeoutMs?: number
}

export class RingwallClient {
  readonly baseUrl: string
  readonly #signer: OperatorSigner | undefined
  readonly #timeoutMs: number
  readonly #fetch: typeof fetch

  constructor({ baseUrl, operator, timeoutMs, fetch: given }: ClientOptions) {
    this.baseUrl = baseUrl.replace(/\/$/, '')
    this.#signer = operator === undefined ? undefined : new OperatorSigner(operator)
    this.#timeoutMs = timeoutMs ?? TIMEOUT_MS
    this.#fetch = given ?? ((input, init) => fetch(input, init))
  }

  status(): Promise<Answer<'status'>> {
    return this.#call('status')
  }

  nodes(): Promise<Answer<'nodes'>> {
    return this.#call('nodes')
  }

  check(): Promise<Answer<'check'>> {
    return this.#call('check')
  }

  policy(): Promise<Answer<'policy'>> {
    return this.#call('policy')
  }

  async policySchema(): Promise<unknown> {
    return (await this.#request('GET', '/v1/policy/schema', {})).json()
  }

  /** Invitations and devices, and where the nodes are found. */
  enrolment(): Promise<Answer<'enrolment'>> {
    return this.#call('enrolment')
  }

  /** Labels, holds and versions of nodes, releases, and how far updates are. */
  fleet(): Promise<Answer<'fleet'>> {
    return this.#call('fleet')
  }

  policyPlan(text: string): Promise<Answer<'policyPlan'>> {
    return this.#call('policyPlan', { body: { text } })
  }

  /** @param expectVersion Of the policy that the plan was made against: another one in force refuses it. */
  policyApply(text: string, expectVersion: number, options: SubmitOptions = {}): Promise<Answer<'submitSigned'>> {
    return this.submit({ type: 'policy.set', policy: text, expectVersion }, options)
  }

  /** Whether somebody may do something, as a request would be told. */
  access(question: AccessRequest): Promise<Answer<'access'>> {
    return this.#call('access', { body: question })
  }

  denials(): Promise<Answer<'denials'>> {
    return this.#call('denials')
  }

  model(): Promise<Answer<'model'>> {
    return this.#call('model')
  }

  /** It may take minutes. */
  modelTrain(): Promise<Answer<'modelTrain'>> {
    return this.#call('modelTrain', { timeoutMs: TRAINING_MS })
  }

  modelLabel(requestId: string, hostile: boolean): Promise<Answer<'modelLabel'>> {
    return this.#call('modelLabel', { body: { requestId, hostile } })
  }

  modelScore(requestId: string): Promise<Answer<'modelScore'>> {
    return this.#call('modelScore', { parameters: { requestId } })
  }

  /** Whose decisions the node takes in. */
  incidents(query?: Query<'incidents'>): Promise<Answer<'incidents'>> {
    return this.#call('incidents', { query })
  }

  playbooks(): Promise<Answer<'playbooks'>> {
    return this.#call('playbooks')
  }

  /** What each step would come to now. Changes nothing. */
  playbookRehearsal(playbook: string, inputs: PlaybookInputs): Promise<Answer<'playbookRehearsal'>> {
    return this.#call('playbookRehearsal', { body: { playbook, inputs } })
  }

  playbookRuns(query?: Query<'playbookRuns'>): Promise<Answer<'playbookRuns'>> {
    return this.#call('playbookRuns', { query })
  }

  playbookRun(id: string): Promise<Answer<'playbookRun'>> {
    return this.#call('playbookRun', { parameters: { id } })
  }

  playbookEvidence(id: string): Promise<Answer<'playbookEvidence'>> {
    return this.#call('playbookEvidence', { parameters: { id } })
  }

  /** @param key Of one key there is one run: a second time it is refused. @returns The id of the run. */
  async playbookStart(
    playbook: string,
    key: string,
    inputs: PlaybookInputs,
    reason: string,
    options: SubmitOptions = {},
  ): Promise<string> {
    await this.submit({ type: 'play.start', playbook, key, inputs, reason }, options)
    return playId(playbook, key)
  }

  playbookSay(
    what: 'approve' | 'cancel' | 'undo',
    run: string,
    reason: string,
    options: SubmitOptions = {},
  ): Promise<Answer<'submitSigned'>> {
    return this.submit({ type: `play.${what}`, run, reason }, options)
  }

  notifyChannels(): Promise<Answer<'notifyChannels'>> {
    return this.#call('notifyChannels')
  }

  notifyTest(name: string): Promise<Answer<'notifyTest'>> {
    return this.#call('notifyTest', { parameters: { name } })
  }

  incident(id: string): Promise<Answer<'incident'>> {
    return this.#call('incident', { parameters: { id } })
  }

  /** Signed, with receipts and proofs. */
  incidentEvidence(id: string): Promise<Answer<'incidentEvidence'>> {
    return this.#call('incidentEvidence', { parameters: { id } })
  }

  /** @param to An operator; undefined: whoever asks; null: nobody works on it. */
  incidentAssign(id: string, to: string | null | undefined, note: string): Promise<Answer<'incidentAssign'>> {
    return this.#call('incidentAssign', { parameters: { id }, body: { ...(to === undefined ? {} : { to }), note } })
  }

  incidentClose(id: string, note: string): Promise<Answer<'incidentClose'>> {
    return this.#call('incidentClose', { parameters: { id }, body: { note } })
  }

  feeds(): Promise<Answer<'feeds'>> {
    return this.#call('feeds')
  }

  /** Programs that enforce denials elsewhere, and when each last asked. */
  bouncers(): Promise<Answer<'bouncers'>> {
    return this.#call('bouncers')
  }

  denyAdd(subject: DenialSubject, ttlMs: number, reason: string, options: SubmitOptions = {}): Promise<Answer<'submitSigned'>> {
    return this.submit({ type: 'deny.add', subject, ttlMs, reason }, options)
  }

  denyRemove(id: string, reason: string, options: SubmitOptions = {}): Promise<Answer<'submitSigned'>> {
    return this.submit({ type: 'deny.remove', id, reason }, options)
  }

  nodeAdd(node: RingNode, reason: string, options: SubmitOptions = {}): Promise<Answer<'submitSigned'>> {
    return this.submit({ type: 'node.add', node, reason }, options)
  }

  /** @param path Percent-encoded: of that path and below it. */
  cachePurge(service: string, path: string, reason: string, options: SubmitOptions = {}): Promise<Answer<'submitSigned'>> {
    return this.submit({ type: 'cache.purge', service, path, reason }, options)
  }

  nodeRemove(id: string, reason: string, options: SubmitOptions = {}): Promise<Answer<'submitSigned'>> {
    return this.submit({ type: 'node.remove', id, reason }, options)
  }

  /** Disks that the ring opens, and nodes that were wiped. */
  disks(): Promise<Answer<'disks'>> {
    return this.#call('disks')
  }

  /** What waits for more operators to approve it. */
  approvals(): Promise<Answer<'approvals'>> {
    return this.#call('approvals')
  }

  /** @param id Of the transaction that waits. */
  approve(id: string, reason: string, options: SubmitOptions = {}): Promise<Answer<'submitSigned'>> {
    return this.submit({ type: 'tx.approve', id, reason }, options)
  }

  decisions(query: Query<'decisions'> = {}): Promise<Answer<'decisions'>> {
    return this.#call('decisions', { query })
  }

  receipt(requestId: string): Promise<Answer<'receipt'>> {
    return this.#call('receipt', { parameters: { requestId } })
  }

  explain(requestId: string): Promise<Answer<'explain'>> {
    return this.#call('explain', { parameters: { requestId } })
  }

  trace(traceId: string): Promise<Answer<'trace'>> {
    return this.#call('trace', { parameters: { traceId } })
  }

  ledger(query: Query<'ledger'> = {}): Promise<Answer<'ledger'>> {
    return this.#call('ledger', { query })
  }

  block(height: number): Promise<Answer<'block'>> {
    return this.#call('block', { parameters: { height: String(height) } })
  }

  events(query: Query<'events'> = {}): Promise<Answer<'events'>> {
    return this.#call('events', { query })
  }

  rules(query: Query<'rules'> = {}): Promise<Answer<'rules'>> {
    return this.#call('rules', { query })
  }

  rule(id: number, query: Query<'rule'> = {}): Promise<Answer<'rule'>> {
    return this.#call('rule', { parameters: { id: String(id) }, query })
  }

  /** What rules that only watch would refuse, and how much of it looks wrong. */
  estimate(query: Query<'estimate'> = {}): Promise<Answer<'estimate'>> {
    return this.#call('estimate', { query, timeoutMs: REPLAY_MS })
  }

  exceptions(): Promise<Answer<'exceptions'>> {
    return this.#call('exceptions')
  }

  /** The narrowest exceptions with which a recorded request would pass. */
  exceptionPropose(body: Operations['exceptionPropose']['body']): Promise<Answer<'exceptionPropose'>> {
    return this.#call('exceptionPropose', { body, timeoutMs: REPLAY_MS })
  }

  /** What exceptions would let through, of the requests that nodes recorded. */
  exceptionReplay(body: Operations['exceptionReplay']['body']): Promise<Answer<'exceptionReplay'>> {
    return this.#call('exceptionReplay', { body, timeoutMs: REPLAY_MS })
  }

  /** What services with an `api` were asked, on this node. */
  endpoints(): Promise<Answer<'endpoints'>> {
    return this.#call('endpoints')
  }

  /** The keys that the validators hold together. */
  keys(): Promise<Answer<'keys'>> {
    return this.#call('keys')
  }

  /** The key that the node which answers signs SAML assertions by. */
  samlKey(): Promise<Answer<'samlKey'>> {
    return this.#call('samlKey')
  }

  /** Programs on the machine of the node that answers, and the services that they are. */
  workloads(): Promise<Answer<'workloads'>> {
    return this.#call('workloads')
  }

  /** New shares of a key. */
  keyRefresh(
    reason: string,
    { key = 'signing', ...options }: SubmitOptions & { readonly key?: 'signing' | 'sealing' } = {},
  ): Promise<Answer<'submitSigned'>> {
    return this.submit({ type: 'key.refresh', key, reason }, options)
  }

  /** Another key. */
  keyRotate(
    reason: string,
    { key = 'signing', ...options }: SubmitOptions & { readonly key?: 'signing' | 'sealing' } = {},
  ): Promise<Answer<'submitSigned'>> {
    return this.submit({ type: 'key.rotate', key, reason }, options)
  }

  /** A token of a service. The request is signed with the operator's key: every holder of the ring's key checks that. */
  async tokenMint(want: Extract<MintRequest['want'], { type: 'token' }>): Promise<Answer<'tokenMint'>> {
    return this.#call('tokenMint', { body: { request: await this.#asked(want) } })
  }

  /** As `tokenMint`, of a service that signed the request itself. Needs no operator. */
  tokenMintSigned(request: SignedMintRequest): Promise<Answer<'tokenMint'>> {
    return this.#call('tokenMint', { body: { request } })
  }

  /** As `svidMint`, likewise: so a service renews its certificate. */
  svidMintSigned(request: SignedMintRequest): Promise<Answer<'svidMint'>> {
    return this.#call('svidMint', { body: { request } })
  }

  /** An X.509-SVID of a service. */
  async svidMint(want: Extract<MintRequest['want'], { type: 'svid' }>): Promise<Answer<'svidMint'>> {
    return this.#call('svidMint', { body: { request: await this.#asked(want) } })
  }

  /** Whether a token is good now, and what it says. */
  tokenIntrospect(token: string): Promise<Answer<'tokenIntrospect'>> {
    return this.#call('tokenIntrospect', { form: { token } })
  }

  #asked(want: MintRequest['want']): ReturnType<OperatorSigner['mintRequest']> {
    if (this.#signer === undefined) throw new ApiError(401, 'NO_OPERATOR', 'an operator’s key is needed to ask')
    return this.#signer.mintRequest(want)
  }

  /** What the vault's readers and writers need to know of the ring. Open. */
  vaultFacts(): Promise<Answer<'vaultFacts'>> {
    return this.#call('vaultFacts')
  }

  /** Secrets that this operator may read or write, without what is in them. */
  people(): Promise<Answer<'people'>> {
    return this.#call('people')
  }

  vaultSecrets(query: Query<'vaultSecrets'> = {}): Promise<Answer<'vaultSecrets'>> {
    return this.#call('vaultSecrets', { query })
  }

  /** Versions of a secret, and who had it opened with this node's share. */
  vaultHistory(query: Query<'vaultHistory'>): Promise<Answer<'vaultHistory'>> {
    return this.#call('vaultHistory', { query })
  }

  /** How the shards on this node stand, and the access keys of the ring. */
  vaultObjects(): Promise<Answer<'vaultObjects'>> {
    return this.#call('vaultObjects')
  }

  /** Buckets, and how the shards on every node stand, as the node that is asked hears it from the others. */
  vaultShards(): Promise<Answer<'vaultShards'>> {
    return this.#call('vaultShards')
  }

  /** Answers of holders, which only the asker can read. Needs no operator: the request is signed by who may ask. */
  vaultOpen(request: SignedOpenRequest): Promise<Answer<'vaultOpen'>> {
    return this.#call('vaultOpen', { body: { request } })
  }

  /** Leases of database users, of roles that this operator may use. */
  leases(): Promise<Answer<'leases'>> {
    return this.#call('leases')
  }

  /** Open. */
  lease(id: string): Promise<Answer<'lease'>> {
    return this.#call('lease', { parameters: { id } })
  }

  /** What the holder of a pass states, for the node that is asked to propose. */
  statement(content: TxContent): Promise<Answer<'statement'>> {
    return this.#call('statement', { body: { content }, timeoutMs: WAIT_MS })
  }

  /** Keys of the transit that this operator may use or manage. */
  transitKeys(): Promise<Answer<'transitKeys'>> {
    return this.#call('transitKeys')
  }

  /** What whoever uses a key has to know of it. Open. */
  transitKey(query: Query<'transitKey'>): Promise<Answer<'transitKey'>> {
    return this.#call('transitKey', { query })
  }

  /** As `vaultOpen`. */
  transitUse(request: SignedTransitRequest): Promise<Answer<'transitUse'>> {
    return this.#call('transitUse', { body: { request } })
  }

  /** A signature by a key of the transit, for whoever signed the request. */
  transitSignSigned(request: SignedMintRequest): Promise<Answer<'transitSign'>> {
    return this.#call('transitSign', { body: { request } })
  }

  /** Signs a request to open secrets with the operator's key; base64url. */
  signOpening(signed: Uint8Array): Promise<string> {
    if (this.#signer === undefined) throw new ApiError(401, 'NO_OPERATOR', 'an operator’s key is needed to ask')
    return this.#signer.signOpening(signed)
  }

  top(query: Query<'top'> = {}): Promise<Answer<'top'>> {
    return this.#call('top', { query })
  }

  /** @param onOpen Called once nothing is missed any more: what is listed from then on, and what streams, is all. */
  decisionStream(signal?: AbortSignal, onOpen?: () => void): AsyncIterable<Decision> {
    return this.#stream<Decision>('/v1/decisions/stream', signal, onOpen)
  }

  eventStream(signal?: AbortSignal, onOpen?: () => void): AsyncIterable<NodeEvent> {
    return this.#stream<NodeEvent>('/v1/events/stream', signal, onOpen)
  }

  /**
   * Signs a statement in the operator's name and proposes it.
   *
   * @returns When it is final; for a denial without a quorum, that it is enforced provisionally.
   * @throws {ApiError} With the ring's code and reason when refused; `NO_QUORUM` when it waits.
   */
  async submit(
    body: TxBody,
    { atMs, ...options }: SubmitOptions & { readonly atMs?: number } = {},
  ): Promise<Answer<'submitSigned'>> {
    if (this.#signer === undefined) throw new ApiError(401, 'NO_OPERATOR', 'an operator’s key is needed to propose')
    return this.submitSigned(await this.#signer.transaction(body, atMs), options)
  }

  /**
   * Signs several statements together, which costs whoever checks them far less. They are for `submitSigned`, in any order.
   *
   * @param bodies 1,024 at most.
   */
  async signTogether(bodies: readonly TxBody[]): Promise<readonly SignedTx[]> {
    if (this.#signer === undefined) throw new ApiError(401, 'NO_OPERATOR', 'an operator’s key is needed to propose')
    return this.#signer.transactions(bodies)
  }

  /**
   * Asks what the ring would say to a statement in the operator's name. Nothing is signed: nobody could propose it.
   *
   * @throws {ApiError} With the ring's code and reason when it would be refused.
   */
  async rehearse(body: TxBody): Promise<Answer<'rehearse'>> {
    if (this.#signer === undefined) throw new ApiError(401, 'NO_OPERATOR', 'an operator is needed to state something')
    return this.#call('rehearse', { body: { content: this.#signer.statement(body) } })
  }

  submitSigned(tx: SignedTx, { waitMs = WAIT_MS }: SubmitOptions = {}): Promise<Answer<'submitSigned'>> {
    return this.#call('submitSigned', { body: { tx, waitMs }, timeoutMs: waitMs + this.#timeoutMs })
  }

  async #call<N extends Name>(name: N, call: Call = {}): Promise<Answer<N>> {
    const [method, template] = OPERATIONS[name]
    const path = template.replace(/\{(\w+)\}/g, (_, parameter: string) => encodeURIComponent(call.parameters?.[parameter] ?? ''))
    const response = await this.#request(method, path, call)
    return (await response.json()) as Answer<N>
  }

  async #request(
    method: string,
    path: string,
    { query = {}, body, form, timeoutMs }: Call,
    signal?: AbortSignal,
  ): Promise<Response> {
    const url = new URL(`${this.baseUrl}${path}`)
    for (const [name, value] of Object.entries(query)) if (value !== undefined) url.searchParams.set(name, String(value))
    const headers = new Headers({ accept: 'application/json' })
    if (this.#signer !== undefined) headers.set('authorization', `Bearer ${await this.#signer.token()}`)
    if (body !== undefined) headers.set('content-type', 'application/json')
    if (form !== undefined) headers.set('content-type', 'application/x-www-form-urlencoded')
    const send = (): Promise<Response> =>
      this.#fetch(url, {
        method,
        headers,
        signal: signal ?? AbortSignal.timeout(timeoutMs ?? this.#timeoutMs),
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        ...(form === undefined ? {} : { body: new URLSearchParams(form).toString() }),
      })
    let response: Response
    try {
      // A kept connection may have been closed just now. Asking twice is safe: a transaction counts once, by its id.
      response = await send().catch((cause) => (wasClosed(cause) ? send() : Promise.reject(cause)))
    } catch (cause) {
      throw new NodeUnreachable(this.baseUrl, describeFailure(cause), { cause })
    }
    if (!response.ok) throw await problemOf(response, this.baseUrl)
    return response
  }

  async *#stream<T>(path: string, signal?: AbortSignal, onOpen?: () => void): AsyncIterable<T> {
    const given = signal ?? new AbortController().signal
    const response = await this.#request('GET', path, {}, given)
    onOpen?.()
    const parser = new EventStreamParser()
    const reader = (response.body as ReadableStream<Uint8Array>).getReader()
    try {
      for (;;) {
        const { done, value } = await reader.read()
        if (done) return
        for (const { data } of parser.push(value)) yield JSON.parse(data) as T
      }
    } catch (error) {
      if (!given.aborted) throw new NodeUnreachable(this.baseUrl, 'the stream broke off', { cause: error })
    } finally {
      reader.cancel().catch(() => {})
    }
  }
}

function wasClosed(cause: unknown): boolean {
  const code = ((cause as Error).cause as { code?: string } | undefined)?.code
  return code === 'UND_ERR_SOCKET' || code === 'ECONNRESET'
}

function describeFailure(cause: unknown): string {
  if (cause instanceof Error && cause.name === 'TimeoutError') return 'no answer in time'
  const code = ((cause as Error).cause as { code?: string } | undefined)?.code
  return code === 'ECONNREFUSED' ? 'nothing listens there' : (code ?? 'the connection failed')
}

async function problemOf(response: Response, baseUrl: string): Promise<Error> {
  try {
    const { code, detail, problems } = (await response.json()) as { code?: unknown; detail?: unknown; problems?: unknown }
    if (typeof code === 'string' && typeof detail === 'string') {
      return new ApiError(response.status, code, detail, Array.isArray(problems) ? problems : [])
    }
  } catch {
    // Falls through: whatever answered is no node.
  }
  return new NodeUnreachable(baseUrl, `something else answers there (HTTP ${response.status})`)
}
