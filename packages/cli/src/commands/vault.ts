/** Secrets of the vault: put, read, listed, deleted, and given to programs. */
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { constants } from 'node:os'
import { ApiError, type RingwallClient, type VaultSecret } from '@ringwall/client'
import { encodeBase64url } from '@ringwall/ring/tx'
import { type OpenedSecret, SECRET_BYTES_MAX, type SecretWanted, sealSecret, VaultError } from '@ringwall/vault'
import { QuietFailure, UsageError } from '../errors.ts'
import { duration, printable, time } from '../format.ts'
import { type Format, printList, printOne } from '../output.ts'
import { parseSecretName } from '../secret-name.ts'
import { agreedFacts, readSecrets, type VaultSession } from './vault-session.ts'
import { tellWaiting } from './waiting.ts'

/** Others may put at the same time. */
const TRIES = 5
const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/

export interface PutOptions {
  /** Exactly its bytes; else standard input, without the line end that closes it. */
  readonly file?: string | undefined
  /** 0: it does not expire. */
  readonly ttlMs: number
  /** The version that it is to follow; 0: there is to be none that can be opened. Whatever is newest without. */
  readonly cas?: number | undefined
}

function readSecret({ file }: PutOptions): Buffer {
  if (file === undefined && process.stdin.isTTY === true)
    throw new UsageError('give the secret on standard input, or name a file: --file FILE. As an argument others would see it')
  let bytes: Buffer
  try {
    bytes = readFileSync(file ?? 0)
  } catch (error) {
    throw new UsageError(`${file ?? 'standard input'}: cannot be read: ${(error as NodeJS.ErrnoException).code}`)
  }
  if (file === undefined && bytes.at(-1) === 0x0a) bytes = bytes.subarray(0, bytes.at(-2) === 0x0d ? -2 : -1)
  if (bytes.length > SECRET_BYTES_MAX)
    throw new UsageError(`the secret has ${bytes.length} bytes, at most ${SECRET_BYTES_MAX} are taken`)
  return bytes
}

export async function vaultPut(session: VaultSession, format: Format, name: string, options: PutOptions): Promise<void> {
  const secret = readSecret(options)
  const facts = await agreedFacts(session)
  const [client] = facts.answering
  for (let tries = 1; ; tries += 1) {
    const expectVersion = await versionBefore(client, name, options.cas)
    const atMs = Date.now()
    const expiresAtMs = options.ttlMs === 0 ? 0 : atMs + options.ttlMs
    const version = expectVersion + 1
    const sealed = sealSecret(facts.publicKey, { ring: session.ring, name, version, sealedAtMs: atMs, expiresAtMs }, secret)
    const [capsule, ciphertext] = [encodeBase64url(sealed.capsule), encodeBase64url(sealed.ciphertext)]
    try {
      const answer = await client.submit(
        { type: 'vault.put', name, expectVersion, ttlMs: options.ttlMs, capsule, ciphertext },
        { atMs },
      )
      const height = 'height' in answer ? answer.height : null
      secret.fill(0)
      printOne(
        format,
        { name, version, expiresAtMs: expiresAtMs === 0 ? null : expiresAtMs, height },
        () => `${name} version ${version}`,
        name,
      )
      return
    } catch (error) {
      const mayPass = error instanceof ApiError && error.code === 'VAULT_CONFLICT' && (options.cas ?? 0) === 0
      if (!mayPass || tries >= TRIES) throw error
    }
  }
}

/** That the next one follows. Numbers go on after versions that have ended. @throws {QuietFailure} There is to be none, and there is. */
async function versionBefore(client: RingwallClient, name: string, cas: number | undefined): Promise<number> {
  if (cas !== undefined && cas > 0) return cas
  const { secrets } = await client.vaultSecrets({ path: name })
  const held = secrets.find((one) => one.name === name)
  if (held === undefined) return 0
  if (cas === undefined || held.live === 0) return held.version
  process.stderr.write(`ringwall: ${name} is there already, at version ${await openable(client, held)}\n`)
  throw new QuietFailure()
}

/** The newest version that can be opened: newer ones may have ended, or be hidden. */
async function openable(client: RingwallClient, { name, version, state }: VaultSecret): Promise<number> {
  if (state === 'live') return version
  const { versions } = await client.vaultHistory({ name })
  return versions.find((one) => one.state === 'live')?.version ?? version
}

/** Says who lied, if anybody did. */
async function opened(session: VaultSession, wanted: readonly SecretWanted[]): Promise<readonly OpenedSecret[]> {
  const { secrets, liars } = await readSecrets(session, wanted)
  for (const party of liars)
    process.stderr.write(`ringwall: ${printable(party)} answered with a wrong partial decryption: it is faulty or taken over\n`)
  return secrets
}

export async function vaultGet(session: VaultSession, format: Format, name: string, version: number): Promise<void> {
  const [found] = await opened(session, [{ name, version }])
  const { secret, expiresAtMs, sealedAtMs, version: got } = found as OpenedSecret
  if (format === 'table' || format === 'wide') {
    process.stdout.write(secret)
    // For eyes, not for programs.
    if (process.stdout.isTTY === true) process.stdout.write('\n')
    return
  }
  const text = textOf(secret)
  const value = text === undefined ? { valueBase64: Buffer.from(secret).toString('base64') } : { value: text }
  printOne(
    format,
    { name, version: got, ...value, sealedAtMs, expiresAtMs: expiresAtMs === 0 ? null : expiresAtMs },
    () => '',
    name,
  )
}

function textOf(secret: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(secret)
  } catch {
    return undefined
  }
}

const until = (expiresAtMs: number | null): string => (expiresAtMs === null ? '-' : duration(expiresAtMs - Date.now()))

export async function vaultList(client: RingwallClient, format: Format, path: string | undefined): Promise<void> {
  const { secrets } = await client.vaultSecrets(path === undefined ? {} : { path })
  const may = ({ mayRead, mayWrite }: VaultSecret): string =>
    [mayRead ? 'read' : '', mayWrite ? 'write' : ''].filter((one) => one !== '').join(' ')
  printList<VaultSecret>(
    format,
    secrets,
    [
      { title: 'NAME', value: ({ name }) => name },
      { title: 'VERSION', value: ({ version }) => version },
      { title: 'STATE', value: ({ state }) => state },
      { title: 'SEALED', value: ({ sealedAtMs }) => time(sealedAtMs) },
      { title: 'LEFT', value: ({ state, expiresAtMs }) => (state === 'live' ? until(expiresAtMs) : '-') },
      { title: 'MAY', value: may },
      { title: 'OPEN', value: ({ live }) => live, wide: true },
      { title: 'BY', value: ({ by }) => printable(by), wide: true },
    ],
    ({ name }) => name,
    'no secrets that this operator may read or write',
  )
}

export async function vaultHistory(client: RingwallClient, format: Format, name: string): Promise<void> {
  const history = await client.vaultHistory({ name })
  printOne(
    format,
    history,
    ({ versions, openings }) =>
      [
        ...versions.map(
          ({ version, state, sealedAtMs, by, endedAtMs, expiresAtMs }) =>
            `version ${version}  ${state.padEnd(10)}  sealed ${time(sealedAtMs)} by ${printable(by)}${
              endedAtMs === null ? (expiresAtMs === null ? '' : `, ${until(expiresAtMs)} left`) : `, ended ${time(endedAtMs)}`
            }`,
        ),
        openings.length === 0 ? 'not opened with this node’s share' : 'opened with this node’s share, newest first:',
        ...openings.map(
          ({ atMs, issuer, version, coordinator }) =>
            `  ${time(atMs)}  version ${version}  ${printable(issuer)}, by way of ${printable(coordinator)}`,
        ),
      ].join('\n'),
    name,
  )
}

export interface RemoveOptions {
  /** All without. */
  readonly versions: readonly number[]
  readonly reason: string
  readonly dryRun: boolean
}

export async function vaultRemove(client: RingwallClient, name: string, options: RemoveOptions): Promise<void> {
  const versions = [...new Set(options.versions)].sort((a, b) => a - b)
  const body = { type: 'vault.delete', name, versions, reason: options.reason } as const
  const what = versions.length === 0 ? `all versions of ${name}` : `version ${versions.join(', ')} of ${name}`
  if (options.dryRun) {
    await client.rehearse(body)
    process.stderr.write(`would delete ${what}, for ever\n`)
    return
  }
  const answer = await client.submit(body)
  if ('height' in answer && tellWaiting(answer)) return
  const height = 'height' in answer ? ` at height ${answer.height}` : ''
  process.stderr.write(`deleted ${what}${height}: nobody opens it any more\n`)
}

export interface RunOptions {
  /** `VARIABLE=secret`. */
  readonly env: readonly string[]
  /** All secrets directly below these paths, by the last part of their names; later ones win, and `env` wins over all. */
  readonly from: readonly string[]
}

/** Runs a program with secrets in its environment; the exit code is the program's. */
export async function vaultRun(session: VaultSession, command: readonly string[], options: RunOptions): Promise<void> {
  const byName = new Map(options.env.map(parseVariable))
  if (options.from.length > 0 && session.reader.issuer.startsWith('service:'))
    throw new UsageError('--from is for operators: a service cannot list secrets; name each one: --env VARIABLE=SECRET')
  const wanted = new Map([...(await variablesBelow(session, options.from, byName)), ...byName])
  if (wanted.size === 0) throw new UsageError('name the secrets to pass on: --env VARIABLE=SECRET, or --from PATH')
  const names = [...new Set(wanted.values())]
  const secrets = await opened(
    session,
    names.map((name) => ({ name, version: 0 })),
  )
  const values = new Map(secrets.map(({ name, secret }) => [name, variableValue(name, secret)]))
  const environment = Object.fromEntries([...wanted].map(([variable, name]) => [variable, values.get(name) as string]))
  await ran(command, environment)
}

/** @throws {UsageError} */
function parseVariable(text: string): readonly [variable: string, name: string] {
  const at = text.indexOf('=')
  if (at < 1 || !VARIABLE.test(text.slice(0, at))) throw new UsageError(`--env ${printable(text)}: expected VARIABLE=SECRET`)
  return [text.slice(0, at), parseSecretName(text.slice(at + 1))]
}

const lastPart = (name: string): string => name.slice(name.lastIndexOf('/') + 1)

/**
 * Secrets directly below the paths, by their variables.
 *
 * @param byName What is named itself: of that it does not matter what else has its variable.
 * @throws {UsageError} When a path has none, or two names become one variable: a program must not start with the wrong one.
 */
async function variablesBelow(
  session: VaultSession,
  paths: readonly string[],
  byName: ReadonlyMap<string, string>,
): Promise<ReadonlyMap<string, string>> {
  const variables = new Map<string, string>()
  if (paths.length === 0) return variables
  const { answering } = await agreedFacts(session)
  for (const path of paths) {
    const { secrets } = await answering[0].vaultSecrets({ path })
    const below = secrets.filter(
      ({ name, state, mayRead }) => state === 'live' && mayRead && name === `${path}/${lastPart(name)}`,
    )
    if (below.length === 0) throw new UsageError(`--from ${path}: no secret directly below it that this operator may read`)
    for (const { name } of below) {
      const variable = variableOf(lastPart(name))
      const other = variables.get(variable)
      // The same part below another path is meant: later ones win.
      if (other !== undefined && lastPart(other) !== lastPart(name) && !byName.has(variable))
        throw new UsageError(
          `--from ${path}: ${other} and ${name} both become ${variable}; say which one: --env ${variable}=SECRET`,
        )
      variables.set(variable, name)
    }
  }
  return variables
}

/** `db-password` as `DB_PASSWORD`. */
function variableOf(part: string): string {
  const variable = part.toUpperCase().replace(/[^A-Z0-9_]/g, '_')
  return VARIABLE.test(variable) ? variable : `_${variable}`
}

function variableValue(name: string, secret: Uint8Array): string {
  const text = textOf(secret)
  if (text === undefined || text.includes('\0'))
    throw new VaultError('VAULT_MALFORMED', `${name} is no text without zeros, and fits into no variable: read it with vault get`)
  return text
}

function ran([program, ...args]: readonly string[], environment: Readonly<Record<string, string>>): Promise<void> {
  return new Promise((settle, refuse) => {
    const child = spawn(program as string, args, { stdio: 'inherit', env: { ...process.env, ...environment } })
    const pass = (signal: NodeJS.Signals): void => void child.kill(signal)
    const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
    for (const signal of signals) process.on(signal, pass)
    const done = (): void => {
      for (const signal of signals) process.off(signal, pass)
    }
    child.on('error', (error: NodeJS.ErrnoException) => {
      done()
      refuse(new UsageError(`${printable(program as string)}: cannot be run: ${error.code}`))
    })
    child.on('exit', (code, signal) => {
      done()
      process.exitCode = code ?? 128 + (signal === null ? 0 : constants.signals[signal])
      settle()
    })
  })
}
