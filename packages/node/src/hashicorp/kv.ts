/** KV version 2 over the ring's secrets: each is a JSON object; what is none is shown as its `value`. */
import {
  isLive,
  mayUseVault,
  SECRET_NAME,
  SECRET_NAME_CHARS_MAX,
  SECRET_NAME_EXPECTED,
  type Secret,
  type SecretVersion,
} from '@ringwall/ring'
import { encodeBase64url } from '@ringwall/ring/tx'
import { openSecrets, sealSecret } from '@ringwall/vault'
import { dataAnswer, type FaceAnswer, FaceError, isObject, moment, NOTHING, objectOf, versionsOf, wholeOf } from './answers.ts'
import { isTooDeep, parseKeepingNumbers } from './exact-json.ts'
import { askOf, type FaceNode, factsOf, readerOf, refusalOf, state } from './face-node.ts'
import type { HeldPass } from './pass-text.ts'

export interface KvCall {
  readonly method: string
  /** `data`, `metadata`, `delete`, `undelete`, `destroy`. */
  readonly part: string
  readonly path: string
  readonly query: URLSearchParams
  /** Its numbers as they are spelled. */
  body(): Promise<unknown>
}

/** Others may put at the same time. */
const TRIES = 5

export async function kv(node: FaceNode, held: HeldPass, call: KvCall): Promise<FaceAnswer> {
  const { method, part, path } = call
  if (part === 'metadata' && method === 'LIST') return list(node, held, path)
  // Rights first: who may not, learns nothing of it, and none of its body is read.
  refuseUnless(node, held, path, method === 'GET' ? 'read' : 'write')
  const isWrite = method === 'POST' || method === 'PUT'
  if (part === 'data' && method === 'GET') return dataAnswerOf(await read(node, held, path, call.query.get('version') ?? '0'))
  if (part === 'data' && isWrite) return write(node, held, path, await call.body())
  if (part === 'data' && method === 'PATCH') return patch(node, held, path, await call.body())
  if (part === 'data' && method === 'DELETE') return hide(node, held, path, [newestOf(node.state().vault.get(path))], true)
  if (part === 'delete' && isWrite) return hide(node, held, path, versionsOf(await call.body()), true)
  if (part === 'undelete' && isWrite) return hide(node, held, path, versionsOf(await call.body()), false)
  if (part === 'destroy' && isWrite) return destroy(node, held, path, versionsOf(await call.body()))
  if (part === 'metadata' && method === 'GET') return dataAnswer(metadata(secretOf(node, path)), 'kv')
  if (part === 'metadata' && method === 'DELETE') return destroy(node, held, path, [])
  throw new FaceError(405, 'unsupported operation')
}

function refuseUnless(node: FaceNode, { read: { service } }: HeldPass, path: string, action: 'read' | 'write'): void {
  if (!mayUseVault(node.view().policy.vault, { kind: 'service', name: service }, action, path))
    throw new FaceError(403, `permission denied: no rule of the policy (vault.rules) lets service:${service} ${action} ${path}`)
}

function secretOf(node: FaceNode, path: string): Secret {
  const secret = node.state().vault.get(path)
  if (secret === undefined) throw new FaceError(404, `no secret at ${path}`)
  return secret
}

const newestOf = (secret: Secret | undefined): number => secret?.versions.at(-1)?.version ?? 0

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

function contentOf(secret: Uint8Array): Readonly<Record<string, unknown>> {
  const text = Buffer.from(secret).toString('utf8')
  try {
    const value = isTooDeep(text) ? undefined : parseKeepingNumbers(text)
    if (isObject(value)) return value
  } catch {
    // What was put by others is any bytes.
  }
  return { value: text }
}

interface Read {
  readonly version: SecretVersion
  /** Undefined: hidden, or ended. */
  readonly data: Readonly<Record<string, unknown>> | undefined
}

/** @param asked As it stands in the query; 0: the newest. */
async function read(node: FaceNode, held: HeldPass, path: string, asked: string): Promise<Read> {
  if (!/^[0-9]{1,9}$/.test(asked)) throw new FaceError(400, 'version must be a number')
  const known = secretOf(node, path)
  const wanted = Number(asked) === 0 ? newestOf(known) : Number(asked)
  const version = known.versions.find((one) => one.version === wanted)
  if (version === undefined) throw new FaceError(404, `no version ${wanted} of ${path}`)
  if (!isLive(version, Date.now()) || version.hiddenAtMs !== undefined) return { version, data: undefined }
  const { secrets } = await openSecrets(factsOf(node), readerOf(held), [{ name: path, version: wanted }], [askOf(node)])
  const opened = secrets[0]
  if (opened === undefined) throw new FaceError(503, 'nothing was opened')
  const data = contentOf(opened.secret)
  opened.secret.fill(0)
  return { version, data }
}

function dataAnswerOf({ version, data }: Read): FaceAnswer {
  const answer = dataAnswer({ data: data ?? null, metadata: versionData(version) }, 'kv')
  return data === undefined ? { ...answer, status: 404 } : answer
}

function wished(body: unknown): { readonly data: Readonly<Record<string, unknown>>; readonly cas: number | undefined } {
  const { data, options = {} } = objectOf(body, 'the body')
  const { cas } = objectOf(options, 'options')
  const version = cas === undefined ? undefined : wholeOf(cas)
  if (Number.isNaN(version)) throw new FaceError(400, 'options.cas must be a number')
  return { data: objectOf(data, 'data'), cas: version }
}

const mismatch = (): FaceError => new FaceError(400, 'check-and-set parameter did not match the current version')

async function write(node: FaceNode, held: HeldPass, path: string, body: unknown): Promise<FaceAnswer> {
  const { data, cas } = wished(body)
  for (let tries = 0; tries < TRIES; tries += 1) {
    const before = node.state().vault.get(path)
    const nowMs = Date.now()
    const isNone = before === undefined || !before.versions.some((one) => isLive(one, nowMs))
    if (cas !== undefined && cas !== newestOf(before) && !(cas === 0 && isNone)) throw mismatch()
    const done = await putAfter(node, held, path, newestOf(before), data)
    if (done !== undefined) return done
    if (cas !== undefined) throw mismatch()
  }
  throw busy(path)
}

/** A merge patch of the newest version (RFC 7396, one level deep). */
async function patch(node: FaceNode, held: HeldPass, path: string, body: unknown): Promise<FaceAnswer> {
  refuseUnless(node, held, path, 'read')
  const { data: changes, cas } = wished(body)
  for (let tries = 0; tries < TRIES; tries += 1) {
    const { version, data } = await read(node, held, path, '0')
    if (data === undefined) throw new FaceError(404, `no secret at ${path}`)
    if (cas !== undefined && cas !== version.version) throw mismatch()
    const merged = Object.entries({ ...data, ...changes }).filter(([, value]) => value !== null)
    const done = await putAfter(node, held, path, version.version, Object.fromEntries(merged))
    if (done !== undefined) return done
    if (cas !== undefined) throw mismatch()
  }
  throw busy(path)
}

const busy = (path: string): FaceError => new FaceError(503, `others put ${path} at the same time, ${TRIES} times: try again`)

/** @returns Undefined when another version was put meanwhile. */
async function putAfter(
  node: FaceNode,
  held: HeldPass,
  path: string,
  newest: number,
  data: Readonly<Record<string, unknown>>,
): Promise<FaceAnswer | undefined> {
  if (!SECRET_NAME.test(path) || path.length > SECRET_NAME_CHARS_MAX)
    throw new FaceError(400, `the path of a secret must be ${SECRET_NAME_EXPECTED}`)
  const secret = Buffer.from(JSON.stringify(data))
  const atMs = Date.now()
  const version = newest + 1
  const label = { ring: node.ring, name: path, version, sealedAtMs: atMs, expiresAtMs: 0 }
  try {
    const sealed = sealSecret(factsOf(node).publicKey, label, secret)
    const [capsule, ciphertext] = [encodeBase64url(sealed.capsule), encodeBase64url(sealed.ciphertext)]
    await state(node, held, { type: 'vault.put', name: path, expectVersion: newest, ttlMs: 0, capsule, ciphertext }, atMs)
  } catch (error) {
    if (refusalOf(error) === 'VAULT_CONFLICT') return undefined
    throw error
  } finally {
    secret.fill(0)
  }
  return dataAnswer({ created_time: moment(atMs), custom_metadata: null, deletion_time: '', destroyed: false, version }, 'kv')
}

/** As there: what is so already, and what never was, is no error. */
async function stateIfNew(node: FaceNode, held: HeldPass, body: Parameters<typeof state>[2]): Promise<void> {
  try {
    await state(node, held, body)
  } catch (error) {
    // Somebody else was faster.
    if (refusalOf(error) !== 'VAULT_UNKNOWN') throw error
  }
}

async function hide(
  node: FaceNode,
  held: HeldPass,
  path: string,
  versions: readonly number[],
  hidden: boolean,
): Promise<FaceAnswer> {
  const known = node.state().vault.get(path)?.versions ?? []
  const nowMs = Date.now()
  const changes = known.filter(
    (one) => versions.includes(one.version) && isLive(one, nowMs) && (one.hiddenAtMs !== undefined) !== hidden,
  )
  if (changes.length > 0)
    await stateIfNew(node, held, { type: 'vault.hide', name: path, versions: changes.map(({ version }) => version), hidden })
  return NOTHING
}

async function destroy(node: FaceNode, held: HeldPass, path: string, versions: readonly number[]): Promise<FaceAnswer> {
  const known = node.state().vault.get(path)?.versions ?? []
  const nowMs = Date.now()
  const live = known.filter((one) => isLive(one, nowMs) && (versions.length === 0 || versions.includes(one.version)))
  const reason = 'by a client of HashiCorp Vault'
  if (live.length > 0)
    await stateIfNew(node, held, { type: 'vault.delete', name: path, versions: live.map(({ version }) => version), reason })
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
