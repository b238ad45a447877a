/** Secrets of the vault: put, read, listed, deleted, and given to programs. */
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { constants } from 'node:os'
import { ApiError, type RingwallClient, type VaultSecret } from '@ringwall/client'
import { encodeBase64url } from '@ringwall/ring/tx'
import { type OpenedSecret, openSecrets, SECRET_BYTES_MAX, type SecretWanted, sealSecret, VaultError } from '@ringwall/vault'
import { UsageError } from '../errors.ts'
import { duration, printable, time } from '../format.ts'
import { type Format, printList, printOne } from '../output.ts'
import { agreedFacts, type VaultSession, waysToAsk } from './vault-session.ts'

/** Others may put at the same time. */
const TRIES = 5
const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/

export interface PutOptions {
  /** Exactly its bytes; else standard input, without the line end that closes it. */
  readonly file?: string | undefined
  /** 0: it does not expire. */
  readonly ttlMs: number
  /** The version that it is to follow; whatever is newest without. */
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
  const [client] = session.clients
  const facts = await agreedFacts(session)
  for (let tries = 1; ; tries += 1) {
    const expectVersion = options.cas ?? (await newestVersion(client, name))
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
      if (!(error instanceof ApiError) || error.code !== 'VAULT_CONFLICT' || options.cas !== undefined || tries >= TRIES)
        throw error
    }
  }
}

async function newestVersion(client: RingwallClient, name: string): Promise<number> {
  const { secrets } = await client.vaultSecrets({ path: name })
  return secrets.find((one) => one.name === name)?.version ?? 0
}

/** Says who lied, if anybody did. */
async function opened(session: VaultSession, wanted: readonly SecretWanted[]): Promise<readonly OpenedSecret[]> {
  const facts = await agreedFacts(session)
  const { secrets, liars } = await openSecrets(facts, session.reader, wanted, waysToAsk(session))
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
  const height = 'height' in answer ? ` at height ${answer.height}` : ''
  process.stderr.write(`deleted ${what}${height}: nobody opens it any more\n`)
}

export interface RunOptions {
  /** `VARIABLE=secret`. */
  readonly env: readonly string[]
  /** All secrets directly below this path, by the last part of their names. */
  readonly from?: string | undefined
}

/** Runs a program with secrets in its environment; the exit code is the program's. */
export async function vaultRun(session: VaultSession, command: readonly string[], options: RunOptions): Promise<void> {
  const wanted = new Map<string, string>()
  if (options.from !== undefined) {
    const { secrets } = await session.clients[0].vaultSecrets({ path: options.from })
    for (const { name, state, mayRead } of secrets) {
      const rest = name.slice(options.from.length + 1)
      if (state === 'live' && mayRead && rest !== '' && !rest.includes('/')) wanted.set(variableOf(rest), name)
    }
    if (wanted.size === 0) throw new UsageError(`--from ${options.from}: no secret directly below it that this operator may read`)
  }
  for (const text of options.env) {
    const at = text.indexOf('=')
    if (at < 1 || !VARIABLE.test(text.slice(0, at))) throw new UsageError(`--env ${printable(text)}: expected VARIABLE=SECRET`)
    wanted.set(text.slice(0, at), text.slice(at + 1))
  }
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
