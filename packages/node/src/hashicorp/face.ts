/**
 * Paths that clients of HashiCorp's Vault know (its HTTP API, KV version 2 and transit), for services with a pass. Unlike with Ringwall's own commands
 * the node that is asked combines what holders answer: it sees what is read, written and decrypted.
 */
import { publicKeyOf, type TxBody } from '@ringwall/ring'
import { dataAnswer, type FaceAnswer, FaceError, objectOf, parseBody } from './answers.ts'
import { type FaceNode, faceErrorOf, faultOf } from './face-node.ts'
import { kv } from './kv.ts'
import { type HeldPass, parsePassText } from './pass-text.ts'
import { transit } from './transit.ts'

export interface FaceCall {
  /** With LIST among them. */
  readonly method: string
  readonly path: string
  readonly query: URLSearchParams
  /** `X-Vault-Token`, or a bearer token; undefined for none. */
  readonly token: string | undefined
  /** @param name In lower case. */
  header(name: string): string | undefined
  /** Of the body. @throws {ApiProblem} */
  text(): Promise<string>
}

const KV = /^\/v1\/secret\/(data|metadata|delete|undelete|destroy)(?:\/([^?]*?))?\/?$/
const TRANSIT = /^\/v1\/transit\/(encrypt|decrypt|rewrap|sign|verify|hmac|keys)\/(.+?)\/?$/
const OTHERS = /^\/v1\/(sys|auth|secret)\//
/** Algorithms that clients may name after a key; there is one. */
const ALGORITHM = /\/(sha2-(224|256|384|512)|sha3-(224|256|384|512)|none)$/

/** Headers that promise what is not there, and what they may say all the same. */
const UNTAKEN: readonly (readonly [name: string, why: string, allowed: RegExp])[] = [
  ['x-vault-wrap-ttl', 'answers are not wrapped: the secret itself would come', /^0?s?$/],
  ['x-vault-namespace', 'there are no namespaces: it would be another secret of the same name', /^(?:root)?\/?$/],
]

/** @throws {FaceError} 400 */
function refuseUntaken(call: FaceCall): void {
  for (const [name, why, allowed] of UNTAKEN)
    if (!allowed.test(call.header(name)?.trim() ?? '')) throw new FaceError(400, `${name} is not taken: ${why}`)
}

export interface FaceOptions extends FaceNode {
  readonly version: string
  isReady(): boolean
  proposeInOwnName(body: TxBody, waitMs: number): Promise<unknown>
}

export class HashicorpFace {
  readonly #node: FaceOptions

  constructor(node: FaceOptions) {
    this.#node = node
  }

  /** Is it one of its paths? Ringwall's own are others. */
  takes(method: string, path: string): boolean {
    if (path === '/v1/transit/keys') return method === 'LIST'
    return KV.test(path) || TRANSIT.test(path) || OTHERS.test(path)
  }

  async answer(call: FaceCall): Promise<FaceAnswer> {
    try {
      return await this.#answer({
        ...call,
        method: call.query.get('list') === 'true' && call.method === 'GET' ? 'LIST' : call.method,
      })
    } catch (error) {
      const { status, message } = faceErrorOf(error, call.path.startsWith('/v1/transit/') ? 400 : 404)
      return { status, json: { errors: [message] } }
    }
  }

  async #answer(call: FaceCall): Promise<FaceAnswer> {
    const { method, path, query } = call
    const body = async (): Promise<unknown> => parseBody(await call.text(), 'plain')
    if (path === '/v1/sys/health' || path === '/v1/sys/seal-status') return this.#health(path)
    if (/^\/v1\/auth\/approle\/login$/.test(path) && (method === 'POST' || method === 'PUT')) return this.#login(await body())
    // Before anything that depends on the path: whose pass is not good learns nothing from it.
    const held = this.#held(call.token)
    refuseUntaken(call)
    const secret = KV.exec(path)
    if (secret !== null) {
      const [, part = '', name = ''] = secret
      const keeping = async (): Promise<unknown> => parseBody(await call.text(), 'kept')
      return kv(this.#node, held, { method, part, path: decoded(name), query, body: keeping })
    }
    if (path === '/v1/transit/keys') return transit(this.#node, held, { method, verb: 'keys', name: '', body })
    const key = TRANSIT.exec(path)
    if (key !== null) {
      const [, verb = '', name = ''] = key
      return transit(this.#node, held, {
        method,
        verb,
        name: decoded(name).replace(verb === 'keys' ? /$^/ : ALGORITHM, ''),
        body,
      })
    }
    return this.#system(held, method, path)
  }

  #held(token: string | undefined): HeldPass {
    const held = token === undefined ? undefined : parsePassText(this.#node.ring, token)
    if (held === undefined)
      throw new FaceError(403, 'permission denied: X-Vault-Token must be a pass of this ring; ringwall vault pass makes one')
    const fault = faultOf(this.#node, held)
    if (fault !== undefined) throw new FaceError(403, `permission denied: ${fault}`)
    return held
  }

  #health(path: string): FaceAnswer {
    const publicKey = publicKeyOf(this.#node.state().sealingKey)
    const ready = this.#node.isReady() && publicKey !== undefined
    const json = {
      initialized: true,
      sealed: !ready,
      standby: false,
      performance_standby: false,
      server_time_utc: Math.floor(Date.now() / 1_000),
      version: this.#node.version,
      cluster_id: this.#node.ring,
      t: publicKey?.threshold ?? 0,
      n: publicKey?.members.length ?? 0,
      progress: 0,
      type: 'threshold',
    }
    return { status: ready || path.endsWith('seal-status') ? 200 : 503, json }
  }

  /** A secret id is a pass: it is given back as the token. */
  #login(body: unknown): FaceAnswer {
    const { role_id: role, secret_id: secret } = objectOf(body, 'the body')
    const held = typeof secret === 'string' ? parsePassText(this.#node.ring, secret) : undefined
    if (held === undefined || role !== held.read.service)
      throw new FaceError(400, 'invalid role or secret ID: role_id is the service, secret_id a pass of it (ringwall vault pass)')
    const fault = faultOf(this.#node, held)
    if (fault !== undefined) throw new FaceError(400, `invalid role or secret ID: ${fault}`)
    return { status: 200, json: { data: null, auth: { ...about(held), client_token: secret } } }
  }

  async #system(held: HeldPass, method: string, path: string): Promise<FaceAnswer> {
    if (path === '/v1/auth/token/lookup-self') {
      const { service, expiresAtMs, credential } = held.read
      const ttl = Math.max(0, Math.floor((expiresAtMs - Date.now()) / 1_000))
      const display = `service-${service}`
      return dataAnswer({
        accessor: credential.tokenId,
        creation_time: Math.floor((credential.issuedAtMs ?? 0) / 1_000),
        display_name: display,
        expire_time: new Date(expiresAtMs).toISOString(),
        id: '',
        meta: { service },
        policies: [display],
        renewable: false,
        ttl,
        type: 'service',
      })
    }
    if (path === '/v1/auth/token/revoke-self' && (method === 'POST' || method === 'PUT')) {
      await this.#node.proposeInOwnName({ type: 'token.revoke', token: held.pass.token }, 8_000)
      return { status: 204 }
    }
    if (path.startsWith('/v1/sys/internal/ui/mounts/') && method === 'GET') {
      const isTransit = path.startsWith('/v1/sys/internal/ui/mounts/transit')
      return dataAnswer(
        isTransit
          ? { path: 'transit/', type: 'transit', options: null }
          : { path: 'secret/', type: 'kv', options: { version: '2' } },
      )
    }
    throw new FaceError(404, `no handler for ${path.slice(0, 100)}`)
  }
}

function about({ read: { service, expiresAtMs, credential } }: HeldPass): Readonly<Record<string, unknown>> {
  const lease = Math.max(0, Math.floor((expiresAtMs - Date.now()) / 1_000))
  const policies = [`service-${service}`]
  const accessor = credential.tokenId
  return {
    accessor,
    policies,
    token_policies: policies,
    metadata: { service },
    lease_duration: lease,
    renewable: false,
    entity_id: service,
    token_type: 'service',
    orphan: true,
  }
}

function decoded(name: string): string {
  try {
    return decodeURIComponent(name).replace(/\/$/, '')
  } catch {
    throw new FaceError(400, 'a percent-encoding in the path is broken')
  }
}
