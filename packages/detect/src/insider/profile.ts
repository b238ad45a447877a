/**
 * What one identity is used to, in 974 bytes: at which hours it is active, how much it uses within an hour, what it has used before, and what it used within
 * this one. Each part is a slot with a time, and of two slots the later stands, or both together: so profiles join, associative, commutative and idempotent
 * (a join semilattice: Shapiro et al., "Conflict-free Replicated Data Types", 2011).
 *
 * What was used before: three Bloom filters (1970) of 1,024 bits, each for 15 days, so that 30 to 45 days are remembered; of 100 things that are used, one new
 * in twenty is taken for known. What was used within the hour: two bitmaps of half an hour each, counted linearly (Whang et al., "A Linear-Time Probabilistic
 * Counting Algorithm", 1990): exact to one or two up to 50, with a standard error of 5 % at 500. Pure.
 */
const DAY_MS = 86_400_000
const HOUR_MS = 3_600_000
const SLICE_MS = 1_800_000
const EPOCH_DAYS = 15
const EPOCHS = 3
export const REMEMBERED_DAYS = EPOCH_DAYS * EPOCHS
/** So many days and hours have a slot. */
const DAYS = 32
const HOURS = 48
const SLICES = 2

const FILTER_WORDS = 64
const FILTER_BITS = FILTER_WORDS * 16
const FILTER_HASHES = 3
const BITMAP_WORDS = 32
const BITMAP_BITS = BITMAP_WORDS * 16
const SLICE_SEED = 0x51ed

const HOURS_AT = 0
const DAYS_AT = HOURS_AT + 2 * HOURS
const FILTERS_AT = DAYS_AT + 2 * DAYS
const FILTER_SLOT = 1 + FILTER_WORDS
const SLICES_AT = FILTERS_AT + EPOCHS * FILTER_SLOT
const SLICE_SLOT = 2 + 2 * BITMAP_WORDS
export const PROFILE_WORDS = SLICES_AT + SLICES * SLICE_SLOT

/** Words of 16 bits. */
export type Profile = Uint16Array

export const newProfile = (): Profile => new Uint16Array(PROFILE_WORDS)
export const dayOf = (atMs: number): number => Math.floor(atMs / DAY_MS)

/** Of 24 hours (UTC), of weekdays and of weekends. */
export function hourSlot(atMs: number): number {
  // 1 January 1970 was a Thursday.
  const weekday = (dayOf(atMs) + 4) % 7
  return (Math.floor(atMs / HOUR_MS) % 24) + (weekday === 0 || weekday === 6 ? 24 : 0)
}

/**
 * @param item What is used for the first time or not. @param thing What counts for how much it is. Hashes of 32 bits.
 * @returns Whether it is more than was used in this half hour, as far as that is known: of half hours that are gone nothing is.
 */
export function noteUse(profile: Profile, atMs: number, item: number, thing: number, isFirst: boolean): boolean {
  noteHour(profile, HOURS_AT + 2 * hourSlot(atMs), dayOf(atMs))
  const filter = filterAt(Math.floor(dayOf(atMs) / EPOCH_DAYS))
  open(profile, filter, Math.floor(dayOf(atMs) / EPOCH_DAYS), FILTER_SLOT)
  for (let at = 0; at < FILTER_HASHES; at += 1) setBit(profile, filter + 1, filterBit(item, at))
  const number = Math.floor(atMs / SLICE_MS)
  const slice = sliceAt(number)
  if (sliceNumber(profile, slice) < number) {
    profile.fill(0, slice, slice + SLICE_SLOT)
    profile[slice] = number >>> 16
    profile[slice + 1] = number & 0xffff
  }
  if (sliceNumber(profile, slice) !== number) return true
  const isMore = setBit(profile, slice + 2, bitOf(thing, SLICE_SEED, BITMAP_BITS))
  return (isFirst && setBit(profile, slice + 2 + BITMAP_WORDS, bitOf(item, SLICE_SEED, BITMAP_BITS))) || isMore
}

/** The most that was used within an hour of that day. */
export function noteMost(profile: Profile, atMs: number, count: number): void {
  const day = dayOf(atMs)
  const at = DAYS_AT + 2 * (day % DAYS)
  if (profile[at]! < day) [profile[at], profile[at + 1]] = [day, 0]
  if (profile[at] === day) profile[at + 1] = Math.min(0xffff, Math.max(profile[at + 1]!, count))
}

/** Adds what another says. Slots of a time to come are passed over: they would keep the present out. @returns Whether that was news. */
export function joinProfile(into: Profile, from: Profile, nowMs: number): boolean {
  const before = into.slice()
  const dayMax = dayOf(nowMs) + 1
  for (let slot = 0; slot < HOURS; slot += 1)
    for (const word of [0, 1]) {
      const day = from[HOURS_AT + 2 * slot + word]!
      if (day > 0 && day <= dayMax) noteHour(into, HOURS_AT + 2 * slot, day)
    }
  for (let at = DAYS_AT; at < FILTERS_AT; at += 2) {
    const [day, most] = [from[at]!, from[at + 1]!]
    if (day === 0 || day > dayMax || day < into[at]!) continue
    into[at + 1] = day === into[at] ? Math.max(into[at + 1]!, most) : most
    into[at] = day
  }
  for (let slot = 0; slot < EPOCHS; slot += 1) {
    const at = FILTERS_AT + slot * FILTER_SLOT
    if (from[at]! * EPOCH_DAYS <= dayMax) joinSlot(into, from, at, 1, FILTER_SLOT)
  }
  for (let slot = 0; slot < SLICES; slot += 1) {
    const at = SLICES_AT + slot * SLICE_SLOT
    if (sliceNumber(from, at) * SLICE_MS <= nowMs + DAY_MS) joinSlot(into, from, at, 2, SLICE_SLOT)
  }
  return into.some((word, at) => word !== before[at])
}

/** Lets go of slots of a time to come. */
export function forgetFuture(profile: Profile, nowMs: number): void {
  const dayMax = dayOf(nowMs) + 1
  for (let at = HOURS_AT; at < DAYS_AT; at += 2) {
    if (profile[at + 1]! > dayMax) profile[at + 1] = 0
    if (profile[at]! > dayMax) [profile[at], profile[at + 1]] = [profile[at + 1]!, 0]
  }
  for (let at = DAYS_AT; at < FILTERS_AT; at += 2) if (profile[at]! > dayMax) profile.fill(0, at, at + 2)
  for (let at = FILTERS_AT; at < SLICES_AT; at += FILTER_SLOT)
    if (profile[at]! * EPOCH_DAYS > dayMax) profile.fill(0, at, at + FILTER_SLOT)
  for (let at = SLICES_AT; at < PROFILE_WORDS; at += SLICE_SLOT)
    if (sliceNumber(profile, at) * SLICE_MS > nowMs) profile.fill(0, at, at + SLICE_SLOT)
}

/** @param heads Words of the time that the slot begins with. */
function joinSlot(into: Profile, from: Profile, at: number, heads: 1 | 2, words: number): void {
  const time = (profile: Profile): number => (heads === 1 ? profile[at]! : sliceNumber(profile, at))
  const [ours, theirs] = [time(into), time(from)]
  if (theirs === 0 || theirs < ours) return
  if (theirs > ours) into.set(from.subarray(at, at + words), at)
  else for (let word = at + heads; word < at + words; word += 1) into[word] = into[word]! | from[word]!
}

/** The last two days on which an hour was one of activity: of today and another, that other. */
function noteHour(profile: Profile, at: number, day: number): void {
  const [last, before] = [profile[at]!, profile[at + 1]!]
  if (day === last || day <= before) return
  if (day > last) [profile[at], profile[at + 1]] = [day, last]
  else profile[at + 1] = day
}

/** Both together, without a copy. */
export interface Profiles {
  readonly own: Profile
  readonly told: Profile | undefined
}

/** Where nobody told anything. */
const NOTHING: Profile = newProfile()

export function isKnown({ own, told = NOTHING }: Profiles, atMs: number, item: number): boolean {
  const now = Math.floor(dayOf(atMs) / EPOCH_DAYS)
  for (let epoch = now; epoch > now - EPOCHS; epoch -= 1) {
    const from = filterAt(epoch)
    const [isOwn, isTold] = [own[from] === epoch, told[from] === epoch]
    let found = isOwn || isTold ? FILTER_HASHES : -1
    // Each bit may come from either: together they are one filter.
    for (let at = 0; at < found; at += 1) {
      const bit = filterBit(item, at)
      if (!((isOwn && hasBit(own, from + 1, bit)) || (isTold && hasBit(told, from + 1, bit)))) found = -1
    }
    if (found > 0) return true
  }
  return false
}

/** About how many different ones are remembered. */
export function knownCount({ own, told = NOTHING }: Profiles, atMs: number): number {
  const now = Math.floor(dayOf(atMs) / EPOCH_DAYS)
  let bits = 0
  for (let word = 1; word <= FILTER_WORDS; word += 1) {
    let all = 0
    for (let epoch = now; epoch > now - EPOCHS; epoch -= 1) {
      const at = filterAt(epoch)
      if (own[at] === epoch) all |= own[at + word]!
      if (told[at] === epoch) all |= told[at + word]!
    }
    bits += bitsIn(all)
  }
  bits = Math.min(bits, FILTER_BITS - 1)
  return Math.round((FILTER_BITS / FILTER_HASHES) * Math.log(FILTER_BITS / (FILTER_BITS - bits)))
}

/** Different things within the last hour, or somewhat less. What others tell counts at most as much as what was seen here. */
export function usedWithinHour({ own, told = NOTHING }: Profiles, atMs: number, which: 'all' | 'first'): number {
  const number = Math.floor(atMs / SLICE_MS)
  const offset = which === 'all' ? 2 : 2 + BITMAP_WORDS
  const [now, before] = [sliceAt(number), sliceAt(number - 1)]
  const holds = (profile: Profile): readonly [boolean, boolean] => [
    sliceNumber(profile, now) === number,
    sliceNumber(profile, before) === number - 1,
  ]
  const [[ownNow, ownBefore], [toldNow, toldBefore]] = [holds(own), holds(told)]
  let [ownBits, allBits] = [0, 0]
  for (let word = offset; word < offset + BITMAP_WORDS; word += 1) {
    const seen = (ownNow ? own[now + word]! : 0) | (ownBefore ? own[before + word]! : 0)
    ownBits += bitsIn(seen)
    allBits += bitsIn(seen | (toldNow ? told[now + word]! : 0) | (toldBefore ? told[before + word]! : 0))
  }
  return Math.min(countOf(allBits), 2 * countOf(ownBits))
}

function countOf(bits: number): number {
  const set = Math.min(bits, BITMAP_BITS - 1)
  return Math.round(BITMAP_BITS * Math.log(BITMAP_BITS / (BITMAP_BITS - set)))
}

export interface Past {
  /** Since the first day that is remembered, 31 at most. */
  readonly days: number
  readonly daysActive: number
  /** Within an hour. */
  readonly most: number
}

/** Of the days before today. */
export function pastOf({ own, told = NOTHING }: Profiles, atMs: number): Past {
  const today = dayOf(atMs)
  let [days, daysActive, most] = [0, 0, 0]
  for (let at = DAYS_AT; at < FILTERS_AT; at += 2) {
    const before = (profile: Profile): number => {
      const ago = today - profile[at]!
      return profile[at]! > 0 && ago > 0 && ago < DAYS ? ago : 0
    }
    const [ownAgo, toldAgo] = [before(own), before(told)]
    // Of one slot there is one day so lately: both have the same or one has none.
    if (ownAgo === 0 && toldAgo === 0) continue
    daysActive += 1
    days = Math.max(days, ownAgo, toldAgo)
    most = Math.max(most, ownAgo > 0 ? own[at + 1]! : 0, toldAgo > 0 ? told[at + 1]! : 0)
  }
  return { days, daysActive, most }
}

/** Whether it was active before today at this hour or those beside it. */
export function isUsualHour({ own, told = NOTHING }: Profiles, atMs: number): boolean {
  const today = dayOf(atMs)
  const slot = hourSlot(atMs)
  const base = slot < 24 ? 0 : 24
  const isPast = (day: number): boolean => day > 0 && day < today && today - day < REMEMBERED_DAYS
  for (let beside = 23; beside <= 25; beside += 1) {
    const at = HOURS_AT + 2 * (base + ((slot + beside) % 24))
    if (isPast(own[at]!) || isPast(own[at + 1]!) || isPast(told[at]!) || isPast(told[at + 1]!)) return true
  }
  return false
}

const filterAt = (epoch: number): number => FILTERS_AT + (epoch % EPOCHS) * FILTER_SLOT
const sliceAt = (number: number): number => SLICES_AT + (number % SLICES) * SLICE_SLOT
const sliceNumber = (profile: Profile, at: number): number => profile[at]! * 0x1_0000 + profile[at + 1]!

function open(profile: Profile, at: number, time: number, words: number): void {
  if (profile[at]! >= time) return
  profile.fill(0, at, at + words)
  profile[at] = time
}

/** @returns Whether it was not set. */
function setBit(words: Uint16Array, from: number, bit: number): boolean {
  const before = words[from + (bit >>> 4)]!
  words[from + (bit >>> 4)] = before | (1 << (bit & 15))
  return words[from + (bit >>> 4)] !== before
}

const hasBit = (words: Uint16Array, from: number, bit: number): boolean => (words[from + (bit >>> 4)]! & (1 << (bit & 15))) !== 0
const filterBit = (item: number, at: number): number => bitOf(item, at * 0x9e3779b1, FILTER_BITS)

function bitOf(hash: number, seed: number, bits: number): number {
  let mixed = Math.imul(hash ^ seed ^ (hash >>> 15), 0x85ebca6b)
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
  return ((mixed ^ (mixed >>> 16)) >>> 0) % bits
}

/** Of a word of 16 bits. */
function bitsIn(word: number): number {
  let bits = word - ((word >>> 1) & 0x5555)
  bits = (bits & 0x3333) + ((bits >>> 2) & 0x3333)
  bits = (bits + (bits >>> 4)) & 0x0f0f
  return (bits + (bits >>> 8)) & 0x1f
}
