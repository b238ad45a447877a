/** Keys of the transit: made and ended by operators, used by whoever the policy lets. */
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { NodeUnreachable, type RingwallClient, type TransitKey } from '@ringwall/client'
import { type MintRequest, mintSigningBytes } from '@ringwall/identity'
import type { TransitPlace } from '@ringwall/ring'
import {
  type AskTransit,
  authenticateTransit,
  decryptTransit,
  encryptTransit,
  messageDigest,
  readTransitText,
  sameAuthenticator,
  TRANSIT_PLAINTEXT_BYTES_MAX,
  transitText,
  VaultError,
  verifiesTransit,
} from '@ringwall/vault'
import { UsageError } from '../errors.ts'
import { printable, time } from '../format.ts'
import { type Format, printList, write } from '../output.ts'
import { agreedFacts, heardFrom, quorumOf, type VaultSession } from './vault-session.ts'
import { tellWaiting } from './waiting.ts'

type KeyFacts = Awaited<ReturnType<RingwallClient['transitKey']>>

/** What goes in: a file, or standard input; one item, or with `lines` one a line. */
export interface TransitInput {
  readonly file?: string | undefined
  readonly lines: boolean
}

function readItems({ file, lines }: TransitInput): readonly Buffer[] {
  if (file === undefined && process.stdin.isTTY === true)
    throw new UsageError('give it on standard input, or name a file: --file FILE. As an argument others would see it')
  let bytes: Buffer
  try {
    bytes = readFileSync(file ?? 0)
  } catch (error) {
    throw new UsageError(`${file ?? 'standard input'}: cannot be read: ${(error as NodeJS.ErrnoException).code}`)
  }
  if (bytes.length > TRANSIT_PLAINTEXT_BYTES_MAX * 2)
    throw new UsageError(`at most ${TRANSIT_PLAINTEXT_BYTES_MAX} bytes are taken`)
  if (!lines) return [bytes]
  const text = bytes.toString('latin1').replace(/\r?\n$/, '')
  return text.split(/\r?\n/).map((line) => Buffer.from(line, 'latin1'))
}

const textOf = (bytes: Buffer): string => bytes.toString('utf8').trim()

/** What more than two thirds of the named nodes say of a key. @throws {VaultError} VAULT_TRUST */
async function agreedKey(session: VaultSession, name: string, use: TransitKey['use']): Promise<KeyFacts> {
  const { clients, ring } = session
  const answers = await heardFrom(session, (client) => client.transitKey({ name }))
  const heard = answers.flatMap((answer) => (answer.status === 'fulfilled' && answer.value.ring === ring ? [answer.value] : []))
  const needed = quorumOf(clients.length)
  const groups = [...Map.groupBy(heard, (facts) => JSON.stringify(facts)).values()]
  const agreed = groups.find((group) => group.length >= needed)?.[0]
  if (agreed === undefined) {
    const failed = answers.find((answer) => answer.status === 'rejected')
    if (failed !== undefined && !(failed.reason instanceof NodeUnreachable)) throw failed.reason
    throw new VaultError('VAULT_TRUST', `too few of the named nodes answer alike about the key ${printable(name)}`)
  }
  if (agreed.use !== use) throw new UsageError(`${printable(name)} is a key to ${agreed.use}, not to ${use}`)
  return agreed
}

function placeOf({ ring, name, id, versions }: KeyFacts, version?: number): TransitPlace {
  return { ring, key: name, id, version: version ?? versions.at(-1)?.version ?? 1 }
}

function waysOf(clients: readonly RingwallClient[]): readonly AskTransit[] {
  return clients.map((client) => (request) => client.transitUse(request))
}

export async function transitEncrypt(session: VaultSession, name: string, context: string, input: TransitInput): Promise<void> {
  const [facts, key] = await Promise.all([agreedFacts(session), agreedKey(session, name, 'encrypt')])
  for (const item of readItems(input)) write(encryptTransit(facts.publicKey, placeOf(key), item, Buffer.from(context)))
}

async function decrypted(
  session: VaultSession,
  key: string,
  context: string,
  texts: readonly string[],
): Promise<readonly Buffer[]> {
  const facts = await agreedFacts(session)
  const wanted = texts.map((ciphertext) => ({ key, ciphertext, context: Buffer.from(context) }))
  return decryptTransit(facts, session.reader, wanted, waysOf(facts.answering))
}

export async function transitDecrypt(session: VaultSession, name: string, context: string, input: TransitInput): Promise<void> {
  for (const plaintext of await decrypted(session, name, context, readItems(input).map(textOf))) {
    process.stdout.write(plaintext)
    if (input.lines || process.stdout.isTTY === true) process.stdout.write('\n')
  }
}

/** To the newest version. What is of it already stays as it is. */
export async function transitRewrap(session: VaultSession, name: string, context: string, input: TransitInput): Promise<void> {
  const [facts, key] = await Promise.all([agreedFacts(session), agreedKey(session, name, 'encrypt')])
  const place = placeOf(key)
  const texts = readItems(input).map(textOf)
  const old = texts.filter((text) => readTransitText(text).version !== place.version)
  const plaintexts = await decrypted(session, name, context, old)
  for (const text of texts) {
    const at = old.indexOf(text)
    write(at < 0 ? text : encryptTransit(facts.publicKey, place, plaintexts[at] as Buffer, Buffer.from(context)))
  }
}

async function signed(session: VaultSession, place: TransitPlace, message: Buffer): Promise<string> {
  const { ring, reader, asked: nodes } = session
  const want = { type: 'transit', key: place.key, version: place.version, digest: messageDigest(message) } as const
  const nonce = randomBytes(16).toString('base64url')
  const { issuer, certificate } = reader
  const request: MintRequest = { ring, issuer, certificate, atMs: Date.now(), nonce, want }
  const asked = { request, signature: await reader.sign(mintSigningBytes(request)) }
  let last: unknown
  for (const client of nodes) {
    try {
      const { signature } = await client.transitSignSigned(asked)
      return transitText(place.version, Buffer.from(signature, 'base64url'))
    } catch (error) {
      last = error
    }
  }
  throw last
}

export async function transitSign(session: VaultSession, name: string, input: TransitInput): Promise<void> {
  const key = await agreedKey(session, name, 'sign')
  const place = placeOf(key)
  const signer = key.versions.at(-1)?.signer ?? ''
  for (const message of readItems(input)) {
    const text = await signed(session, place, message)
    if (!verifiesTransit(place, signer, message, text))
      throw new VaultError('VAULT_CORRUPT', 'the node answered with a signature that does not verify: ask another one')
    write(text)
  }
}

/** Needs no right: exit code 1 when it is not the key's signature. */
export async function transitVerify(session: VaultSession, name: string, text: string, input: TransitInput): Promise<void> {
  const key = await agreedKey(session, name, 'sign')
  const { version } = readTransitText(text)
  const known = key.versions.find((one) => one.version === version)
  if (known === undefined)
    throw new VaultError('VAULT_CORRUPT', `version ${version} of ${printable(name)} counts for nothing any more`)
  const [message] = readItems({ ...input, lines: false })
  if (!verifiesTransit(placeOf(key, version), known.signer, message as Buffer, text))
    throw new VaultError('VAULT_CORRUPT', `no signature of ${printable(name)} over this`)
  process.stderr.write(`good: signed by version ${version} of ${printable(name)}\n`)
}

export async function transitMac(
  session: VaultSession,
  name: string,
  verify: string | undefined,
  input: TransitInput,
): Promise<void> {
  const [facts, key] = await Promise.all([agreedFacts(session), agreedKey(session, name, 'mac')])
  const place = placeOf(key, verify === undefined ? undefined : readTransitText(verify).version)
  const wanted = readItems(input).map((message) => ({ place, message }))
  const texts = await authenticateTransit(facts, session.reader, wanted, waysOf(facts.answering))
  if (verify === undefined) {
    for (const text of texts) write(text)
    return
  }
  if (!sameAuthenticator(texts[0] ?? '', verify))
    throw new VaultError('VAULT_CORRUPT', `no authenticator of ${printable(name)} over this`)
  process.stderr.write(`good: by version ${place.version} of ${printable(name)}\n`)
}

export async function transitList(client: RingwallClient, format: Format): Promise<void> {
  const { keys } = await client.transitKeys()
  const may = ({ mayUse, mayManage }: TransitKey): string =>
    [mayUse ? 'use' : '', mayManage ? 'manage' : ''].filter((one) => one !== '').join(' ')
  printList<TransitKey>(
    format,
    keys,
    [
      { title: 'NAME', value: ({ name }) => name },
      { title: 'USE', value: ({ use }) => use },
      { title: 'VERSION', value: ({ versions }) => versions.at(-1)?.version ?? 0 },
      { title: 'LEAST', value: ({ versions }) => versions[0]?.version ?? 0 },
      { title: 'MADE', value: ({ versions }) => time(versions.at(-1)?.atMs ?? 0) },
      { title: 'MAY', value: may },
      { title: 'BY', value: ({ versions }) => printable(versions.at(-1)?.by ?? ''), wide: true },
    ],
    ({ name }) => name,
    'no keys that this operator may use or manage',
  )
}

export async function transitChange(
  client: RingwallClient,
  body: Parameters<RingwallClient['submit']>[0],
  done: string,
  dryRun = false,
): Promise<void> {
  if (dryRun) {
    await client.rehearse(body)
    process.stderr.write(`would be taken: ${done}\n`)
    return
  }
  const answer = await client.submit(body)
  if ('height' in answer && tellWaiting(answer)) return
  process.stderr.write(`${done}\n`)
}
