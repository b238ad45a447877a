/**
 * `npm run bench:revocation [-- --count N]`: what the index of the denials costs for 1,000,000 revoked tokens, sessions, subjects
 * and what else is looked up by text: memory (heap and typed arrays, after garbage collection, with and without the state that holds
 * the denials themselves), CPU of a lookup, and of one change on top of all that is there. CPU time, not the clock.
 */

import { createHash, randomInt } from 'node:crypto'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { type Credential, type Denial, type DenialSubject, RingState } from '@ringwall/ring'
import { subjectId } from '@ringwall/ring/tx'
import { DenialLookup, DenialSlots } from '../packages/ring/src/denial-index.ts'
import { readOptions, whole } from '../tools/options.ts'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

const { count: COUNT } = readOptions({ count: whole(1_000_000) })
const NOW = 1_800_000_000_000
const SEED = [randomInt(2 ** 32), randomInt(2 ** 32)] as const
const ISSUER = 'https://id.example'

function bytesUsed(): number {
  for (let round = 0; round < 4; round += 1) collect()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

function cpuUs(work: () => void): number {
  const before = process.cpuUsage()
  work()
  const { user, system } = process.cpuUsage(before)
  return user + system
}

/** A UUID as issuers make them, the same for the same number. */
function nameOf(number: number): string {
  const hex = createHash('sha256').update(`name ${number}`).digest('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20, 32)}`
}

/** Mostly tokens and sessions, as in life; every kind there is. */
function subjectOf(number: number): DenialSubject {
  const value = nameOf(number)
  const kind = number % 20
  if (kind < 10) return { kind: 'token', value }
  if (kind < 14) return { kind: 'session', issuer: ISSUER, value }
  if (kind < 16) return { kind: 'subject', issuer: ISSUER, value }
  if (kind < 17) return { kind: 'device', value }
  if (kind < 18) return { kind: 'issued-before', subject: value, value: new Date(NOW).toISOString() }
  if (kind < 19) return { kind: 'key', value: createHash('sha256').update(value).digest('base64url') }
  return { kind: 'account', service: 'shop', value: createHash('sha256').update(value).digest('hex').slice(0, 32) }
}

function denialOf(number: number): Denial {
  const subject = subjectOf(number)
  return {
    expiresAtMs: NOW + 3_600_000 + number,
    height: 7,
    id: subjectId(subject, (bytes) => createHash('sha256').update(bytes).digest('hex')),
    issuedAtMs: NOW,
    issuer: 'operator:ada',
    reason: 'revoked',
    subject,
  }
}

function main(): void {
  const denials = Array.from({ length: COUNT }, (_, number) => denialOf(number))
  // Texts are laid out for reading the first time that somebody reads them: not the index's doing.
  let warm = DenialSlots.empty([1, 2])
  for (const denial of denials) warm = warm.with(denial)
  warm = DenialSlots.empty()
  const before = bytesUsed()
  let slots = DenialSlots.empty(SEED)
  const buildUs = cpuUs(() => {
    for (const denial of denials) slots = slots.with(denial)
  })
  const indexBytes = bytesUsed() - before
  const line = (what: string, figure: string): void => void process.stdout.write(`${what.padEnd(64)} ${figure}\n`)
  line(`index of ${slots.size} denials, heap and typed arrays`, `${(indexBytes / 1e6).toFixed(1)} MB`)
  line('  of an entry', `${(indexBytes / COUNT).toFixed(1)} bytes`)
  line('adding one to an index of that size or less, on average', `${(buildUs / COUNT).toFixed(2)} us`)

  const byId = new Map(denials.map((denial) => [denial.id, denial]))
  const lookup = new DenialLookup(slots, { get: (id) => byId.get(id), all: () => byId.values() })
  const ROUNDS = 100
  const strangers: Credential[] = Array.from({ length: 10_000 }, (_, number) => ({
    issuer: ISSUER,
    tokenId: nameOf(-1 - number),
    sessionId: nameOf(-100_001 - number),
    subject: nameOf(-200_001 - number),
    deviceId: nameOf(-300_001 - number),
    keys: [createHash('sha256').update(`key ${number}`).digest('base64url')],
    issuedAtMs: NOW,
  }))
  const onlyTokens = strangers.map(({ issuer, tokenId }) => ({ issuer, tokenId }))
  let hits = 0
  const look = (all: readonly Credential[]): void => {
    // By index: what iterating allocates is not the index's.
    for (let n = 0; n < all.length; n += 1) if (lookup.matchCredential(all[n]!, NOW) !== undefined) hits += 1
  }
  const accounts = Array.from({ length: 10_000 }, (_, number) => nameOf(-400_001 - number))
  const timed = (what: string, count: number, work: () => void): void => {
    for (let round = 0; round < 20; round += 1) work()
    const us = cpuUs(() => {
      for (let round = 0; round < ROUNDS; round += 1) work()
    })
    line(what, `${(us / (ROUNDS * count)).toFixed(3)} us`)
  }
  timed('one lookup that misses (an account)', accounts.length, () => {
    for (const account of accounts) if (lookup.matchAccount('shop', account, NOW) !== undefined) hits += 1
  })
  timed('a token with jti alone, not denied (all that is about it)', onlyTokens.length, () => look(onlyTokens))
  timed('a token with jti, sid, sub, device and keys, not denied (all)', strangers.length, () => look(strangers))
  if (hits !== 0) throw new Error(`${hits} were found that nobody denied`)

  bytesUsed()
  const heapBefore = process.memoryUsage().heapUsed
  for (let round = 0; round < 100; round += 1) look(strangers)
  const grown = process.memoryUsage().heapUsed - heapBefore
  line('allocated by 1,000,000 of these', `${(grown / 1e3).toFixed(0)} KB`)

  const known = denials.filter(({ subject }) => subject.kind === 'token').slice(0, 10_000)
  timed('a token that is denied', known.length, () => {
    for (const { subject } of known)
      if (lookup.matchCredential({ issuer: ISSUER, tokenId: subject.value }, NOW) === undefined) throw new Error('not found')
  })

  const more = Array.from({ length: 10_000 }, (_, number) => denialOf(COUNT + number))
  const addUs = cpuUs(() => {
    let next = slots
    for (const denial of more) next = next.with(denial)
  })
  line('adding one to all these', `${(addUs / more.length).toFixed(2)} us`)
  const removeUs = cpuUs(() => {
    let next = slots
    for (const { subject, id } of known) next = next.without(subject, id)
  })
  line('taking one out', `${(removeUs / known.length).toFixed(2)} us`)

  const stateBefore = bytesUsed()
  let state = RingState.begin('', [], SEED).drafted()
  const stateUs = cpuUs(() => {
    for (const denial of denials) state = state.withDenial(denial)
  })
  state = state.sealed()
  const stateBytes = bytesUsed() - stateBefore
  line(`the state that holds them by id and by expiry, index included`, `${(stateBytes / 1e6).toFixed(0)} MB`)
  line('  CPU a denial', `${(stateUs / COUNT).toFixed(2)} us`)
  line('  (the denials themselves, beside it)', `${state.denials.size}`)
}

main()
