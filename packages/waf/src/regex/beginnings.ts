/**
 * By which three characters a match may begin. A search whose automaton waits for a beginning need look at nothing else: a text is read three by three once,
 * and each pattern that reads it asks one table of 4 KB, where its automaton would go from state to state at every letter. Characters are told apart in 32
 * kinds only: what no kind tells apart is for the automaton to say.
 */
import type { WorkMeter } from '../subject.ts'
import { END, MATCH, type Program, SET, SPLIT, START } from './program.ts'

const KINDS = 32

/** Letters whatever their case, but the rarest together; digits; blanks; and of the rest what patterns ask for by its name. */
const NAMED: readonly string[] = [
  ...'abcdefghiklmnoprstuvwxy',
  'jqz',
  '0123456789_',
  ' \t\n\v\f\r',
  '\'"`',
  '()',
  '<>',
  '[]{}',
  '.,:-/',
]

/** The kind of each byte; what is not named is the last. */
const KIND_OF: Uint8Array = new Uint8Array(256).fill(KINDS - 1)
NAMED.forEach((characters, kind) => {
  for (const character of characters) {
    KIND_OF[character.charCodeAt(0)] = kind
    KIND_OF[character.toUpperCase().charCodeAt(0)] = kind
  }
})

/** For each place but the last two: the kinds of the character there and of the two that follow, five bits each. */
export function charactersThreeByThree(bytes: Uint8Array): Uint16Array {
  const threes = new Uint16Array(Math.max(0, bytes.length - 2))
  let three = bytes.length < 2 ? 0 : (KIND_OF[bytes[0]!]! << 5) | KIND_OF[bytes[1]!]!
  for (let i = 0; i < threes.length; i += 1) {
    three = ((three << 5) | KIND_OF[bytes[i + 2]!]!) & 0x7fff
    threes[i] = three
  }
  return threes
}

/**
 * A bit for each three, 32 in a word, whether a match may begin with it that does not begin where the text does.
 *
 * @param meter What it costs is added to its work.
 * @returns undefined when a match may be empty, and for a pattern that is too large.
 */
export function beginningsOf(program: Program, meter: WorkMeter): Uint32Array | undefined {
  const { first, second } = program
  const kindsOfSet = program.sets.map(kindsIn)
  let visits = 0
  const reached = (from: readonly number[]): Place => {
    const place = placeAfter(program, from)
    visits += place.visits
    return place
  }
  const known = new Map<string, readonly Place[]>()
  /** By kind of the next character. */
  const after = ({ threads }: Place): readonly Place[] => {
    const key = threads.join()
    let places = known.get(key)
    if (places === undefined) {
      places = Array.from({ length: KINDS }, (_, kind) => {
        const on = threads.filter((thread) => ((kindsOfSet[second[thread]!]! >>> kind) & 1) === 1)
        visits += threads.length
        return visits > VISITS_MAX ? ANYWHERE : reached(on.map((thread) => first[thread]!))
      })
      known.set(key, places)
    }
    return places
  }

  const beginnings = new Uint32Array(KINDS * KINDS)
  const start = reached([program.start])
  if (!start.isMatch)
    after(start).forEach((one, a) => {
      if (one.isMatch) beginnings.fill(ALL_KINDS, a * KINDS, (a + 1) * KINDS)
      else
        after(one).forEach((two, b) => {
          beginnings[a * KINDS + b] = two.isMatch ? ALL_KINDS : kindsOf(two)
        })
    })
  const work = visits * VISIT_WORK
  if ((meter.spared ?? 0) >= work) meter.spared! -= work
  else {
    meter.work += work
    meter.building += work
  }
  return start.isMatch || visits > VISITS_MAX ? undefined : beginnings

  function kindsOf({ threads }: Place): number {
    return threads.reduce((kinds, thread) => kinds | kindsOfSet[second[thread]!]!, 0)
  }
}

const ALL_KINDS = 0xffff_ffff

/** Of instructions; a pattern that takes more is read without. */
const VISITS_MAX = 100_000
/** In units of work. */
const VISIT_WORK = 8

interface Place {
  /** The sets that threads wait at, in order. */
  readonly threads: readonly number[]
  /** One has come to a match. */
  readonly isMatch: boolean
  readonly visits: number
}

const ANYWHERE: Place = { threads: [], isMatch: true, visits: 0 }

/** Boundaries of words are taken to be there, the text's beginning and end not. */
function placeAfter({ kinds, first, second }: Program, from: readonly number[]): Place {
  const seen = new Set<number>()
  const stack = [...from]
  const threads: number[] = []
  let isMatch = false
  for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
    if (seen.has(at)) continue
    seen.add(at)
    const kind = kinds[at]!
    if (kind === MATCH) isMatch = true
    else if (kind === SET) threads.push(at)
    else if (kind === SPLIT) stack.push(second[at]!, first[at]!)
    else if (kind !== START && kind !== END) stack.push(first[at]!)
  }
  return { threads: threads.sort((a, b) => a - b), isMatch, visits: seen.size }
}

function kindsIn(set: Uint8Array): number {
  let kinds = 0
  for (let code = 0; code < 256; code += 1) if (set[code] === 1) kinds |= 1 << KIND_OF[code]!
  return kinds
}
