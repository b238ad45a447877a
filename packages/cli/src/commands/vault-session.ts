/** Who uses the vault, by which nodes, and what several of them agree on about the ring's sealing key: one of them may lie. */
import { createPublicKey, type KeyObject, verify } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { type VaultFacts as Facts, NodeUnreachable, RingwallClient } from '@ringwall/client'
import { decodeBase64url, EncodingInvalid } from '@ringwall/ring/tx'
import { PublicKey, ThresholdError } from '@ringwall/threshold'
import {
  type AskNode,
  type OpenedSecrets,
  openSecrets,
  type Reader,
  type SecretWanted,
  VaultError,
  type VaultFacts,
} from '@ringwall/vault'
import { UsageError } from '../errors.ts'
import { readContext } from '../session.ts'
import { nodeUrls, readIdentity, signIdentity } from './identity.ts'

/** A hand-over of the key reaches nodes one after the other, and takes holders a moment. */
const TRIES = 8
const PAUSE_MS = 400

type Clients = readonly [RingwallClient, ...RingwallClient[]]

export interface VaultSession {
  readonly ring: string
  /** Those whose word on the sealing key counts; the preferred one first. */
  readonly clients: Clients
  /** Those of them that anything else is asked of, in this order: no other stands in for one that an operator names. */
  readonly asked: Clients
  readonly reader: Reader
}

export interface OperatorOptions {
  readonly context?: string
  /** Ids of the context, or URLs. */
  readonly node?: string | readonly string[]
}

/** An operator, by the nodes of its context. `--node` is asked alone; of the sealing key the others are heard, too. */
export function operatorSession({ context: file, node }: OperatorOptions): VaultSession {
  const context = readContext(file)
  const named = [node ?? []].flat().map((one) => {
    const given = URL.parse(one)?.href
    // One node in two spellings would have two votes on the sealing key.
    const known = context.nodes.find(({ id, url }) => id === one || (given !== undefined && URL.parse(url)?.href === given))
    if (known !== undefined) return known.url
    if (given !== undefined) return one
    throw new UsageError(`--node ${one}: the context lists ${context.nodes.map(({ id }) => id).join(', ')}; a URL works too`)
  })
  const urls = new Set([...named, ...context.nodes.map(({ url }) => url)])
  const [first, ...others] = [...urls].map((baseUrl) => new RingwallClient({ baseUrl, operator: context }))
  if (first === undefined) throw new UsageError('the context lists no node')
  const sign = (message: Uint8Array): Promise<string> => first.signOpening(message)
  const askedToo = named.length === 0 ? others : others.slice(0, new Set(named).size - 1)
  return {
    ring: context.ring,
    clients: [first, ...others],
    asked: [first, ...askedToo],
    reader: { issuer: `operator:${context.name}`, certificate: '', sign },
  }
}

/** A service, by its certificate and the nodes it is told. */
export function serviceSession(directory: string, nodes: readonly string[]): VaultSession {
  const identity = readIdentity(directory)
  const clients = nodeUrls(nodes).map((baseUrl) => new RingwallClient({ baseUrl })) as [RingwallClient, ...RingwallClient[]]
  const certificate = identity.certificate.raw.toString('base64url')
  const sign = async (message: Uint8Array): Promise<string> => signIdentity(identity, message)
  return { ring: identity.ring, clients, asked: clients, reader: { issuer: `service:${identity.name}`, certificate, sign } }
}

/** Of so many, how many may not all lie: more than two thirds. */
export function quorumOf(count: number): number {
  return count - Math.floor((count - 1) / 3)
}

/**
 * What each of the session's nodes says.
 * @throws Whatever kept the one that --node names from answering: no other stands in for it.
 */
export async function heardFrom<T>(
  { clients, asked }: VaultSession,
  ask: (client: RingwallClient) => Promise<T>,
): Promise<readonly PromiseSettledResult<T>[]> {
  const answers = await Promise.allSettled(clients.map(ask))
  // They are the first of `clients`.
  const ofAsked = answers.slice(0, asked.length)
  const [failed] = ofAsked.filter((answer) => answer.status === 'rejected')
  if (asked.length < clients.length && ofAsked.every(({ status }) => status === 'rejected')) throw failed?.reason
  return answers
}

/**
 * What more than two thirds of the named nodes say of the sealing key and its holders.
 * @throws {VaultError} VAULT_TRUST when they do not agree; {NodeUnreachable} when too few answer, or not the one that --node names.
 */
export async function agreedFacts(session: VaultSession): Promise<VaultFacts & { readonly answering: Clients }> {
  const { clients, asked, ring } = session
  const needed = quorumOf(clients.length)
  let reason: Error = new VaultError('VAULT_TRUST', 'no node was asked')
  for (let tries = 0; tries < TRIES; tries += 1) {
    if (tries > 0) await delay(PAUSE_MS)
    const answers = await heardFrom(session, (client) => client.vaultFacts())
    const heard = answers.flatMap((answer) => (answer.status === 'fulfilled' && answer.value.ring === ring ? [answer.value] : []))
    if (heard.length < needed) {
      const why = answers.flatMap((answer) => (answer.status === 'rejected' ? [(answer.reason as Error).message] : []))
      reason = new NodeUnreachable(
        `the vault: ${needed} of ${clients.length} named nodes are to agree on the sealing key, ${heard.length} answer for this ring`,
        why.join('; ') || 'others are of another ring',
      )
      continue
    }
    const [first, ...others] = asked.filter((_, at) => {
      const answer = answers[at]
      return answer?.status === 'fulfilled' && answer.value.ring === ring
    })
    if (first === undefined) throw new VaultError('VAULT_TRUST', `${asked[0].baseUrl} is a node of another ring`)
    const groups = [...Map.groupBy(heard, (facts) => JSON.stringify([facts.publicKey, facts.nodes])).values()]
    const agreeing = groups.find((group) => group.length >= needed)?.[0]
    if (agreeing !== undefined) return { ...parseFacts(agreeing), answering: [first, ...others] }
    reason = new VaultError(
      'VAULT_TRUST',
      'the named nodes contradict one another about the sealing key; see ringwall key show sealing',
    )
  }
  throw reason
}

/** @throws {VaultError} */
function parseFacts({ ring, publicKey, nodes }: Facts): VaultFacts {
  if (publicKey === null)
    throw new VaultError(
      'VAULT_TRUST',
      'the ring has no sealing key: it makes one when the policy opens the vault (vault.rules); see ringwall key ls',
    )
  const keys = new Map<string, KeyObject>()
  for (const { id, publicKey: x } of nodes)
    keys.set(id, createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' }))
  try {
    return {
      ring,
      publicKey: PublicKey.decode(decodeBase64url(publicKey)),
      verify: (party, message, signature) => {
        const key = keys.get(party)
        return key !== undefined && verify(null, message, key, signature)
      },
    }
  } catch (error) {
    if (!(error instanceof ThresholdError) && !(error instanceof EncodingInvalid)) throw error
    throw new VaultError('VAULT_TRUST', `the sealing key cannot be read: ${error.message}`)
  }
}

export function waysToAsk(clients: readonly RingwallClient[]): readonly AskNode[] {
  return clients.map((client) => (request) => client.vaultOpen(request))
}

/** Opens secrets; asks again, with what the ring then says, while holders are busy with a hand-over of the key. */
export async function readSecrets(session: VaultSession, wanted: readonly SecretWanted[]): Promise<OpenedSecrets> {
  for (let tries = 1; ; tries += 1) {
    const facts = await agreedFacts(session)
    try {
      return await openSecrets(facts, session.reader, wanted, waysToAsk(facts.answering))
    } catch (error) {
      const mayPass = error instanceof VaultError && (error.code === 'VAULT_SHORT' || error.code === 'VAULT_CORRUPT')
      if (!mayPass || tries >= TRIES) throw error
      await delay(PAUSE_MS)
    }
  }
}
