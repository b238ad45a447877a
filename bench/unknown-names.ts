/**
 * `npm run bench:unknown-names [-- --rounds N --quick N]`: does it take longer to refuse somebody whom the ring knows than somebody whom it does not? A real
 * node refuses passwords, passkeys and invitations of both, in turns in random order over one connection; the times are those of the client.
 *
 * Method: the difference of the medians, and of the 10 % quantiles, where noise is least, each with the interval of a percentile bootstrap (Efron 1979) that
 * holds in 99.9 of 100 runs. An interval without 0 is a difference, and ends the program with 1. What it can find is its width: half of it is printed as
 * the power. Not here: what is learned from the bytes, which are compared besides, and from other nodes.
 */
import assert from 'node:assert/strict'
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { join } from 'node:path'
import { TestRing } from '../e2e/local-ring.ts'
import { Authenticator } from '../packages/identity/src/people/test-people.ts'
import { readOptions, whole } from '../tools/options.ts'
import { quantile } from '../tools/quantile.ts'

const { rounds: ROUNDS, quick: QUICK } = readOptions({ rounds: whole(400, 20, 2_000), quick: whole(2_000, 20, 20_000) })
/** Ten failures of a name within five minutes are answered otherwise. */
const PER_NAME = 8
const RESAMPLES = 2_000
const OUTSIDE = 0.001
const FORM_MS = 60_000
const PASSWORD = 'several words that nobody guesses'

interface Answer {
  readonly status: number
  readonly body: string
  readonly cookies: readonly string[]
  readonly ms: number
}

const agent = new Agent({ keepAlive: true, maxSockets: 1 })
let port = 0

function ask(path: string, form?: Readonly<Record<string, string>>, cookie = ''): Promise<Answer> {
  const body = form === undefined ? undefined : new URLSearchParams(form).toString()
  const headers = {
    host: `localhost:${port}`,
    ...(cookie === '' ? {} : { cookie }),
    ...(body === undefined
      ? {}
      : { 'content-type': 'application/x-www-form-urlencoded', 'content-length': String(Buffer.byteLength(body)) }),
  }
  return new Promise((settle, refuse) => {
    const sentMs = performance.now()
    const method = form === undefined ? 'GET' : 'POST'
    const call = request({ host: '127.0.0.1', port, path, method, headers, agent }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () => {
        const ms = performance.now() - sentMs
        const cookies = response.headers['set-cookie'] ?? []
        settle({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString('utf8'), cookies, ms })
      })
      response.on('error', refuse)
    })
    call.on('error', refuse)
    call.end(body)
  })
}

/** A form of the page, and the cookie that it goes with. */
async function formOf(path: string): Promise<{ readonly form: string; readonly challenge: string; readonly cookie: string }> {
  const { status, body, cookies } = await ask(path)
  const form = /name="form" value="([^"]+)"/.exec(body)?.[1]
  const challenge = /data-challenge="([^"]+)"/.exec(body)?.[1]
  const cookie = cookies.find((text) => text.startsWith('ringwall_form='))?.split(';')[0]
  if (form === undefined || challenge === undefined || cookie === undefined)
    throw new Error(`${path}: ${status}, expected a page with a form`)
  return { form, challenge, cookie }
}

/** Good for some minutes: one is used again and again, so that a try is one request. */
let login: Promise<Awaited<ReturnType<typeof formOf>>> | undefined
let loginAtMs = 0
function loginForm(): Promise<Awaited<ReturnType<typeof formOf>>> {
  if (login === undefined || performance.now() - loginAtMs > FORM_MS) {
    loginAtMs = performance.now()
    login = formOf('/.ringwall/login')
  }
  return login
}

/** One kind of somebody, and how they are refused. */
interface Group {
  readonly name: string
  readonly status: number
  readonly refused: (turn: number) => Promise<Answer>
}

interface Taken {
  readonly times: readonly number[]
  /** Of the page, what is new on each left out. */
  readonly page: string
}

const pageOf = ({ body }: Answer): string => body.replace(/(name="form" value|data-challenge)="[^"]*"/g, '$1')

async function taken(groups: readonly Group[], rounds: number): Promise<readonly Taken[]> {
  const times: number[][] = groups.map(() => [])
  const pages = groups.map(() => '')
  for (let turn = 0; turn < rounds; turn += 1) {
    const order = groups.map((_, at) => ({ at, key: Math.random() })).sort((a, b) => a.key - b.key)
    for (const { at } of order) {
      const { name, status, refused } = groups[at] as Group
      const answer = await refused(turn)
      if (answer.status !== status) throw new Error(`${name}: expected ${status}, found ${answer.status}`)
      times[at]?.push(answer.ms)
      pages[at] = pageOf(answer)
    }
  }
  return times.map((held, at) => ({ times: held, page: pages[at] as string }))
}

function resampled(times: readonly number[]): number[] {
  return times.map(() => times[Math.floor(Math.random() * times.length)] as number)
}

/** Of two quantiles: their difference, and where it lies but for one run in a thousand. Milliseconds. */
function difference(a: readonly number[], b: readonly number[], q: number): readonly [number, number, number] {
  const all = Array.from({ length: RESAMPLES }, () => quantile(resampled(b), q) - quantile(resampled(a), q))
  return [quantile(b, q) - quantile(a, q), quantile(all, OUTSIDE / 2), quantile(all, 1 - OUTSIDE / 2)]
}

const us = (ms: number): string => `${Math.round(ms * 1_000)} µs`.padStart(10)

/** Compares all with the first. Is there a difference? */
function compared(groups: readonly Group[], all: readonly Taken[]): boolean {
  const [first] = all as readonly [Taken, ...Taken[]]
  let isDifferent = false
  for (const [at, { times, page }] of all.entries()) {
    const name = groups[at]?.name ?? ''
    process.stdout.write(
      `  ${name.padEnd(44)} p50 ${us(quantile(times, 0.5))}  p10 ${us(quantile(times, 0.1))}  n ${times.length}\n`,
    )
    if (at === 0) continue
    for (const [label, q] of [
      ['p50', 0.5],
      ['p10', 0.1],
    ] as const) {
      const [found, from, to] = difference(first.times, times, q)
      const differs = from > 0 || to < 0
      isDifferent ||= differs
      const said = differs ? 'A DIFFERENCE' : `none found; power ${us((to - from) / 2).trim()}`
      process.stdout.write(`    ${label}: ${us(found)}, within ${us(from)} and ${us(to)}: ${said}\n`)
    }
    if (page !== first.page) {
      isDifferent = true
      process.stdout.write('    the pages say different things\n')
    }
  }
  return isDifferent
}

/** Of the same length, so that requests are. */
const newName = (): string => `p${randomBytes(6).toString('hex')}`
const newKey = (): string => Buffer.from(randomBytes(32)).toString('base64url')

async function main(): Promise<number> {
  const ring = await TestRing.start({ nodes: 1 })
  try {
    port = ring.traffic(1)
    const file = join(ring.data, 'unknown-names.yaml')
    const policy = {
      version: 1,
      trustedProxies: ['127.0.0.0/8'],
      detectors: { floods: { mode: 'off' }, failedLogins: { perAccount: 1_000, perSource: 100_000 } },
      services: { app: { upstreams: [{ url: 'http://127.0.0.1:9' }], people: { domain: 'localhost' } } },
    }
    writeFileSync(file, JSON.stringify(policy))
    const applied = ring.cli('policy', 'apply', file, '--yes')
    assert.equal(applied.code, 0, applied.stderr)
    const client = ring.client(1)
    const put = async (name: string, isInvited: boolean): Promise<string> => {
      const { d: seed = '', x: key = '' } = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' })
      const invitation = isInvited ? { key, untilMs: Date.now() + 3_600_000 } : null
      await client.submit({ type: 'person.put', groups: [], invitation, name, reason: 'measured' })
      return seed
    }
    const enrolled = async (name: string, chosen: (challenge: string) => Readonly<Record<string, string>>): Promise<void> => {
      const key = await put(name, true)
      const { form, challenge, cookie } = await formOf(`/.ringwall/enrol?name=${name}&key=${key}`)
      const { status } = await ask('/.ringwall/enrol', { form, name, key, ...chosen(challenge) }, cookie)
      if (status !== 303) throw new Error(`${name} could not enrol: ${status}`)
    }
    const names = Math.ceil(ROUNDS / PER_NAME)
    const list = (): readonly string[] => Array.from({ length: names }, newName)
    const [known, bare, unknown] = [list(), list(), list()]
    const origin = `http://localhost:${port}`
    const authenticators = known.slice(0, 16).map(() => {
      const id = Buffer.from(randomBytes(16))
      return { id: id.toString('base64url'), raw: id, owner: newName(), device: new Authenticator() }
    })
    process.stdout.write(
      `people are made: ${known.length} with a password, ${bare.length} without, ${authenticators.length} with a passkey\n`,
    )
    for (const name of known) await enrolled(name, () => ({ with: 'password', password: PASSWORD, again: PASSWORD }))
    for (const name of bare) await put(name, false)
    for (const { id, raw, owner, device } of authenticators)
      await enrolled(owner, (challenge) => {
        const attested = Buffer.concat([Buffer.alloc(16), Buffer.of(0, raw.length), raw])
        const made = device.says({ type: 'webauthn.create', challenge, origin, rpId: 'localhost', flags: 0x45, attested })
        const { authenticatorData, clientDataJSON } = made
        return { with: 'passkey', id, authenticatorData, clientDataJSON, publicKey: device.publicKey }
      })

    const byPassword = async (name: string): Promise<Answer> => {
      const { form, cookie } = await loginForm()
      return ask('/.ringwall/login', { form, to: '/', with: 'password', name, password: `not ${PASSWORD}` }, cookie)
    }
    const at = (of: readonly string[], turn: number): string => of[turn % of.length] as string
    const passwords: readonly Group[] = [
      { name: 'a name with another password', status: 401, refused: (turn) => byPassword(at(known, turn)) },
      { name: 'a name that nobody has', status: 401, refused: (turn) => byPassword(at(unknown, turn)) },
      { name: 'a name without a password', status: 401, refused: (turn) => byPassword(at(bare, turn)) },
    ]
    // Well formed in all but the signature, which another key made.
    const stranger = new Authenticator()
    const byPasskey = async (id: string): Promise<Answer> => {
      const { form, challenge, cookie } = await loginForm()
      const says = stranger.says({ challenge, origin, rpId: 'localhost' })
      return ask('/.ringwall/login', { form, to: '/', with: 'passkey', id, ...says }, cookie)
    }
    const others = authenticators.map(() => Buffer.from(randomBytes(16)).toString('base64url'))
    const ids = authenticators.map(({ id }) => id)
    const passkeys: readonly Group[] = [
      { name: 'a passkey with another’s signature', status: 401, refused: (turn) => byPasskey(at(ids, turn)) },
      { name: 'a passkey that nobody has', status: 401, refused: (turn) => byPasskey(at(others, turn)) },
    ]
    const invitees = list()
    for (const name of invitees.slice(0, 16)) await put(name, true)
    const byInvitation = (name: string): Promise<Answer> => ask(`/.ringwall/enrol?name=${name}&key=${newKey()}`)
    const invitations: readonly Group[] = [
      { name: 'an invitation with another key', status: 404, refused: (turn) => byInvitation(at(invitees.slice(0, 16), turn)) },
      { name: 'a name that nobody has', status: 404, refused: (turn) => byInvitation(at(unknown, turn)) },
      { name: 'a name that is not invited', status: 404, refused: (turn) => byInvitation(at(bare, turn)) },
    ]
    let isDifferent = false
    for (const [what, groups, rounds] of [
      ['passkeys', passkeys, QUICK],
      ['invitations', invitations, QUICK],
      ['passwords', passwords, ROUNDS],
    ] as const) {
      await taken(groups, Math.min(PER_NAME, 2))
      process.stdout.write(`${what}, as the client sees it\n`)
      isDifferent = compared(groups, await taken(groups, rounds)) || isDifferent
    }
    return isDifferent ? 1 : 0
  } finally {
    agent.destroy()
    await ring.destroy()
  }
}

process.exitCode = await main()
