/** KV version 2 over the ring's secrets: each is a JSON object; what is none is shown as its `value`. */
import { isLive, mayUseVault, type Secret, type SecretVersion } from '@ringwall/ring'
import { encodeBase64url } from '@ringwall/ring/tx'
import { openSecrets, sealSecret } from '@ringwall/vault'
import { dataAnswer, type FaceAnswer, FaceError, moment, NOTHING, objectOf, versionsOf } from './answers.ts'
import { askOf, type FaceNode, factsOf, readerOf, state } from './face-node.ts'
import type { HeldPass } from './pass-text.ts'

export interface KvCall {
  readonly method: string
  /** `data`, `metadata`, `delete`, `undelete`, `destroy`. */
  readonly part: string
  readonly path: string
  readonly query: URLSearchParams
  body(): Promise<unknown>
}

/** Others may put at the same time. */
const TRIES = 5

export async function kv(node: FaceNode, held: HeldPass, call: KvCall): Promise<FaceAnswer> {
  const { method, part, path } = call
  const isWrite = method === 'POST' || method === 'PUT'
  if (part === 'data' && method === 'GET') return read(node, held, call)
  if (part === 'data' && isWrite) return write(node, held, path, await call.body())
  if (part === 'data' && method === 'PATCH') return patch(node, held, path, await call.body())
  if (part === 'data' && method === 'DELETE') return hide(node, held, path, [newestOf(entitled(node, held, path, 'write'))], true)
  if (part === 'delete' && isWrite) return hide(node, held, path, versionsOf(await call.body()), true)
  if (part === 'undelete' && isWrite) return hide(node, held, path, versionsOf(await call.body()), false)
  if (part === 'destroy' && isWrite) return destroy(node, held, path, versionsOf(await call.body()))
  if (part === 'metadata' && method === 'LIST') return list(node, held, path)
  if (part === 'metadata' && method === 'GET') return dataAnswer(metadata(entitled(node, held, path, 'read')), 'kv')
  if (part === 'metadata' && method === 'DELETE') return destroy(node, held, path, [])
  throw new FaceError(405, 'unsupported operation')
}

/** Rights first: who may not, learns nothing of it. */
function entitled(node: FaceNode, held: HeldPass, path: string, action: 'read' | 'write'): Secret {
  refuseUnless(node, held, path, action)
  const secret = node.state().vault.get(path)
  if (secret === undefined) throw new FaceError(404, `no secret at ${path}`)
  return secret
}

function refuseUnless(node: FaceNode, { read: { service } }: HeldPass, path: string, action: 'read' | 'write'): void {
  if (!mayUseVault(node.view().policy.vault, { kind: 'service', name: service }, action, path))
    throw new FaceError(403, `permission denied: no rule of the policy (vault.rules) lets service:${service} ${action} ${path}`)
}

const newestOf = ({ versions }: Secret): number => versions.at(-1)?.version ?? 0

function versionData(one: SecretVersion): Readonly<Record<string, unknown>> {
  const { version, sealedAtMs, hiddenAtMs, end, expiresAtMs } = one
  const deletion = hiddenAtMs ?? (end?.why === 'expired' || expiresAtMs > 0 ? expiresAtMs : undefined)
  const destroyed = end !== null && end.why !== 'expired'
  return { created_time: moment(sealedAtMs), custom_metadata: null, deletion_time: moment(deletion), destroyed, version }
}

function metadata({ versions }: Secret): unknown {
  const shown = versions.map((one) => {
    const { version, custom_metadata: _none, ...rest } = versionData(one)
    return [String(version), rest]
  })
  return {
    cas_required: false,
    created_time: moment(versions[0]?.sealedAtMs),
    current_version: versions.at(-1)?.version ?? 0,
    custom_metadata: null,
    delete_version_after: '0s',
    max_versions: 10,
    oldest_version: versions.find(({ end }) => end === null)?.version ?? 0,
    updated_time: moment(versions.at(-1)?.sealedAtMs),
    versions: Object.fromEntries(shown),
  }
}

function contentOf(secret: Uint8Array): unknown {
  const text = Buffer.from(secret).toString('utf8')
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value
  } catch {
    // What was put by others is any bytes.
  }
  return { value: text }
}

async function read(node: FaceNode, held: HeldPass, { path, query }: KvCall): Promise<FaceAnswer> {
  const asked = query.get('version') ?? '0'
  if (!/^[0-9]{1,9}$/.test(asked)) throw new FaceError(400, 'version must be a number')
  const known = entitled(node, held, path, 'read')
  const version = Number(asked) === 0 ? newestOf(known) : Number(asked)
  const one = known.versions.find((held) => held.version === version)
  if (one === undefined) throw new FaceError(404, `no version ${version} of ${path}`)
  if (!isLive(one, Date.now()) || one.hiddenAtMs !== undefined)
    return { ...dataAnswer({ data: null, metadata: versionData(one) }, 'kv'), status: 404 }
  const { secrets } = await openSecrets(factsOf(node), readerOf(held), [{ name: path, version }], [askOf(node)])
  const opened = secrets[0]
  if (opened === undefined) throw new FaceError(503, 'nothing was opened')
  const data = contentOf(opened.secret)
  opened.secret.fill(0)
  return dataAnswer({ data, metadata: versionData(one) }, 'kv')
}

async function write(node: FaceNode, held: HeldPass, path: string, body: unknown): Promise<FaceAnswer> {
  const { data, options = {} } = objectOf(body, 'the body')
  const { cas } = objectOf(options, 'options')
  if (cas !== undefined && !Number.isSafeInteger(cas)) throw new FaceError(400, 'options.cas must be a number')
  return put(node, held, path, objectOf(data, 'data'), cas as number | undefined)
}

/** A merge patch of the newest version (RFC 7396, one level deep). */
async function patch(node: FaceNode, held: HeldPass, path: string, body: unknown): Promise<FaceAnswer> {
  const { data, options = {} } = objectOf(body, 'the body')
  const { cas } = objectOf(options, 'options')
  const { json, status } = await read(node, held, {
    method: 'GET',
    part: 'data',
    path,
    query: new URLSearchParams(),
    body: async () => ({}),
  })
  if (status !== 200) throw new FaceError(404, `no secret at ${path}`)
  const before = (json as { data: { data: Record<string, unknown>; metadata: { version: number } } }).data
  const merged = Object.entries({ ...before.data, ...objectOf(data, 'data') }).filter(([, value]) => value !== null)
  const after = cas === undefined ? before.metadata.version : Number(cas)
  return put(node, held, path, Object.fromEntries(merged), after)
}

async function put(
  node: FaceNode,
  held: HeldPass,
  path: string,
  data: Readonly<Record<string, unknown>>,
  cas: number | undefined,
): Promise<FaceAnswer> {
  refuseUnless(node, held, path, 'write')
  const secret = Buffer.from(JSON.stringify(data))
  for (let tries = 1; ; tries += 1) {
    const before = node.state().vault.get(path)
    const newest = before === undefined ? 0 : newestOf(before)
    const mismatch = 'check-and-set parameter did not match the current version'
    if (cas !== undefined && cas !== newest) throw new FaceError(400, mismatch)
    const atMs = Date.now()
    const label = { ring: node.ring, name: path, version: newest + 1, sealedAtMs: atMs, expiresAtMs: 0 }
    const sealed = sealSecret(factsOf(node).publicKey, label, secret)
    const [capsule, ciphertext] = [encodeBase64url(sealed.capsule), encodeBase64url(sealed.ciphertext)]
    try {
      await state(node, held, { type: 'vault.put', name: path, expectVersion: newest, ttlMs: 0, capsule, ciphertext }, atMs)
    } catch (error) {
      if ((error as { code?: unknown }).code !== 'VAULT_CONFLICT') throw error
      if (cas !== undefined) throw new FaceError(400, mismatch)
      if (tries >= TRIES) throw error
      continue
    }
    secret.fill(0)
    return dataAnswer(
      { created_time: moment(atMs), custom_metadata: null, deletion_time: '', destroyed: false, version: newest + 1 },
      'kv',
    )
  }
}

async function hide(
  node: FaceNode,
  held: HeldPass,
  path: string,
  versions: readonly number[],
  hidden: boolean,
): Promise<FaceAnswer> {
  const secret = entitled(node, held, path, 'write')
  const nowMs = Date.now()
  const changes = secret.versions.filter(
    (one) => versions.includes(one.version) && isLive(one, nowMs) && (one.hiddenAtMs !== undefined) !== hidden,
  )
  // As there: what is so already is no error.
  if (changes.length > 0)
    await state(node, held, { type: 'vault.hide', name: path, versions: changes.map(({ version }) => version), hidden })
  return NOTHING
}

async function destroy(node: FaceNode, held: HeldPass, path: string, versions: readonly number[]): Promise<FaceAnswer> {
  const secret = entitled(node, held, path, 'write')
  const nowMs = Date.now()
  const live = secret.versions.filter((one) => isLive(one, nowMs) && (versions.length === 0 || versions.includes(one.version)))
  const reason = 'by a client of HashiCorp Vault'
  if (live.length > 0)
    await state(node, held, { type: 'vault.delete', name: path, versions: live.map(({ version }) => version), reason })
  return NOTHING
}

/** Names directly below a path that this one may read; those with more below them end in a slash. */
function list(node: FaceNode, { read: { service } }: HeldPass, path: string): FaceAnswer {
  const { vault: rules } = node.view().policy
  const below = path === '' ? '' : `${path}/`
  const nowMs = Date.now()
  const keys = new Set<string>()
  for (const { name, versions } of node.state().vault.list()) {
    if (!name.startsWith(below) || !versions.some((one) => isLive(one, nowMs))) continue
    if (!mayUseVault(rules, { kind: 'service', name: service }, 'read', name)) continue
    const rest = name.slice(below.length)
    const at = rest.indexOf('/')
    keys.add(at < 0 ? rest : rest.slice(0, at + 1))
  }
  if (keys.size === 0) throw new FaceError(404, `nothing that service:${service} may read below ${path === '' ? '/' : path}`)
  return dataAnswer({ keys: [...keys].sort() }, 'kv')
}
