/** What the admin API does with the vault: shows what secrets there are, and has them opened for whoever signs for it. */
import { isLive, mayUseVault, OBJECT_VERSIONS_MAX, publicKeyOf, type SecretVersion } from '@ringwall/ring'
import { encodeBase64url } from '@ringwall/ring/tx'
import { type OpenAnswer, parseSignedOpenRequest, VaultError } from '@ringwall/vault'
import { z } from 'zod'
import type { RunningNode } from '../running-node.ts'
import { OpenRefused, type SignedAsk } from '../vault/vault-service.ts'
import type { Call, Operation } from './http.ts'
import { ApiProblem } from './problem.ts'

const OPENINGS_SHOWN = 100

/** What a node answers to who asks the holders for something. */
export async function answeredBy(node: RunningNode, call: Call, parse: (value: unknown) => SignedAsk): Promise<OpenAnswer> {
  const parsed = Body.safeParse(await call.body())
  if (!parsed.success) throw new ApiProblem(400, 'BAD_BODY', 'expected an object with `request`: what is asked for, signed')
  let signed: SignedAsk
  try {
    signed = parse(parsed.data.request)
  } catch (error) {
    if (error instanceof VaultError) throw new ApiProblem(400, error.code, error.message)
    throw error
  }
  try {
    return await node.vault.open(signed)
  } catch (error) {
    if (error instanceof OpenRefused) throw new ApiProblem(STATUSES[error.code], error.code, error.message)
    throw error
  }
}

export function vaultOperations(node: RunningNode): readonly Operation[] {
  return [
    // Open: there is nothing secret in it.
    { method: 'GET', path: '/v1/vault', open: true, run: () => ({ json: facts(node) }) },
    // Open: each request is signed by who may ask, and every holder of the key checks that.
    {
      method: 'POST',
      path: '/v1/vault/open',
      open: true,
      run: async (call) => ({ json: await answeredBy(node, call, parseSignedOpenRequest) }),
    },
    { method: 'GET', path: '/v1/vault/secrets', run: (call) => ({ json: secrets(node, call) }) },
    { method: 'GET', path: '/v1/vault/objects', run: () => ({ json: objects(node) }) },
    { method: 'GET', path: '/v1/vault/shards', run: async () => ({ json: await shards(node) }) },
    { method: 'GET', path: '/v1/vault/history', run: async (call) => ({ json: await history(node, call) }) },
  ]
}

function facts(node: RunningNode): unknown {
  const publicKey = publicKeyOf(node.ledger.state().sealingKey)
  const { ring, height, nodes } = node.view()
  return {
    ring,
    height,
    node: node.config.id,
    publicKey: publicKey === undefined ? null : encodeBase64url(publicKey.encode()),
    nodes: nodes
      .filter(({ id }) => publicKey?.indexOf(id) !== undefined)
      .map(({ id, publicKey: key }) => ({ id, publicKey: key })),
  }
}

function objects(node: RunningNode): unknown {
  const accessKeys = node.ledger.state().objects.accessKeys()
  return {
    node: node.config.id,
    ...node.objects.status(),
    accessKeys: accessKeys.map(({ id, identity, by, atMs }) => ({ id, identity, by, atMs })),
  }
}

/** Of every node: each is asked how its own shards stand. */
async function shards(node: RunningNode): Promise<unknown> {
  const { objects: held } = node.ledger.state()
  const bytes = node.objects.healer.bucketBytes
  const standings = await node.queries.shards()
  const links = new Map(node.fabric.links().map((link) => [link.id, link]))
  return {
    versions: held.size,
    versionsMax: OBJECT_VERSIONS_MAX,
    buckets: held.buckets().map(({ name, held: versions, data, shards: all, residency, versioning }) => {
      return {
        name,
        versions,
        bytes: bytes === undefined ? null : (bytes.get(name) ?? 0),
        data,
        shards: all,
        residency,
        versioning,
      }
    }),
    nodes: node.view().nodes.map(({ id, region }) => {
      const standing = standings.get(id) ?? null
      const reason = standing === null ? (links.get(id)?.reason ?? 'does not answer') : null
      return { id, region, self: id === node.config.id, reason, standing }
    }),
  }
}

const Body = z.strictObject({ request: z.unknown() })
const STATUSES: Readonly<Record<OpenRefused['code'], number>> = {
  OPEN_OTHER_RING: 422,
  OPEN_STALE: 422,
  OPEN_CLOSED: 503,
  OPEN_ISSUER: 401,
  OPEN_NOT_ENTITLED: 403,
  OPEN_UNKNOWN: 404,
  OPEN_ENDED: 404,
  OPEN_BUSY: 503,
}

function stateOf(version: SecretVersion, nowMs: number): string {
  if (version.end !== null) return version.end.why
  if (!isLive(version, nowMs)) return 'expired'
  return version.hiddenAtMs === undefined ? 'live' : 'hidden'
}

function secrets(node: RunningNode, { query, operator }: Call): unknown {
  const path = query.get('path') ?? ''
  const { vault: rules } = node.view().policy
  const nowMs = Date.now()
  const asker = { kind: 'operator', name: operator } as const
  return {
    secrets: node.ledger
      .state()
      .vault.list()
      .flatMap(({ name, versions }) => {
        if (path !== '' && name !== path && !name.startsWith(`${path}/`)) return []
        const mayRead = mayUseVault(rules, asker, 'read', name)
        const mayWrite = mayUseVault(rules, asker, 'write', name)
        const newest = versions.at(-1)
        if (newest === undefined || (!mayRead && !mayWrite)) return []
        const { version, sealedAtMs, expiresAtMs, by } = newest
        return [
          {
            name,
            version,
            state: stateOf(newest, nowMs),
            sealedAtMs,
            expiresAtMs: expiresAtMs === 0 ? null : expiresAtMs,
            by,
            live: versions.filter((one) => stateOf(one, nowMs) === 'live').length,
            mayRead,
            mayWrite,
          },
        ]
      }),
  }
}

async function history(node: RunningNode, { query, operator }: Call): Promise<unknown> {
  const name = query.get('name') ?? ''
  const { vault: rules } = node.view().policy
  const asker = { kind: 'operator', name: operator } as const
  if (!mayUseVault(rules, asker, 'read', name) && !mayUseVault(rules, asker, 'write', name))
    throw new ApiProblem(
      403,
      'VAULT_NOT_ENTITLED',
      `no rule of the policy (vault.rules) lets operator:${operator} read or write it`,
    )
  const secret = node.ledger.state().vault.get(name)
  if (secret === undefined) throw new ApiProblem(404, 'VAULT_UNKNOWN', 'there is no such secret; list them with vault ls')
  const nowMs = Date.now()
  const openings = await node.openings.of(name, OPENINGS_SHOWN)
  return {
    name,
    versions: secret.versions.toReversed().map((one) => ({
      version: one.version,
      state: stateOf(one, nowMs),
      sealedAtMs: one.sealedAtMs,
      expiresAtMs: one.expiresAtMs === 0 ? null : one.expiresAtMs,
      by: one.by,
      endedAtMs: one.end?.atMs ?? (one.expiresAtMs > 0 && one.expiresAtMs <= nowMs ? one.expiresAtMs : null),
    })),
    openings: openings.flatMap(({ atMs, issuer, request, coordinator, secrets: opened }) =>
      opened.flatMap(([held, version]) => (held === name ? [{ atMs, issuer, version, request, coordinator }] : [])),
    ),
  }
}
