import type { Pattern } from './syntax.ts'

/**
 * Literals of which at least one must occur (in any case) in every text that a pattern matches; `undefined` when there is no
 * useful set. All are in lower case. This is what lets most patterns never run: the idea is that of RE2's prefilter.
 */
export function requiredLiterals(pattern: Pattern): readonly string[] | undefined {
  const facts = analyse(pattern)
  return best([facts.exact, facts.need])
}

interface Facts {
  /** All texts that the node matches, when they are few. */
  readonly exact: readonly string[] | undefined
  /** Literals of which one must occur. */
  readonly need: readonly string[] | undefined
}

const EXACT_MAX = 48
const NEED_MAX = 256
const LITERAL_CHARS_MAX = 24
const SET_MAX = 4

function analyse(node: Pattern): Facts {
  switch (node.kind) {
    case 'set': {
      const chars = new Set<string>()
      for (let code = 0; code < 256; code += 1) if (node.set[code] === 1) chars.add(lower(code))
      return { exact: chars.size <= SET_MAX ? [...chars] : undefined, need: undefined }
    }
    case 'group':
      return analyse(node.item)
    case 'look':
    case 'assert':
      return { exact: [''], need: undefined }
    case 'backref':
      return { exact: undefined, need: undefined }
    case 'repeat': {
      const inner = analyse(node.item)
      if (node.min === 0) {
        const optional = node.max === 1 && inner.exact !== undefined
        return { exact: optional ? unique(['', ...inner.exact!]) : undefined, need: undefined }
      }
      if (node.min === 1 && node.max === 1) return inner
      return { exact: undefined, need: best([inner.exact, inner.need]) }
    }
    case 'alt':
      return analyseAlternatives(node.items)
    case 'seq':
      return analyseSequence(node.items)
  }
}

function analyseAlternatives(items: readonly Pattern[]): Facts {
  const facts = items.map(analyse)
  const exact: string[] = []
  const need: string[] = []
  let allExact = true
  let allNeed = true
  for (const fact of facts) {
    if (fact.exact === undefined) allExact = false
    else exact.push(...fact.exact)
    const wanted = best([fact.exact, fact.need])
    if (wanted === undefined) allNeed = false
    else need.push(...wanted)
  }
  const few = unique(exact)
  return {
    exact: allExact && few.length <= EXACT_MAX ? few : undefined,
    need: allNeed && need.length <= NEED_MAX ? unique(need) : undefined,
  }
}

function analyseSequence(items: readonly Pattern[]): Facts {
  const candidates: (readonly string[] | undefined)[] = []
  let run: readonly string[] = ['']
  let whole = true
  for (const item of items) {
    const { exact, need } = analyse(item)
    candidates.push(need)
    const product = exact === undefined ? undefined : cross(run, exact)
    if (product !== undefined) {
      run = product
      continue
    }
    whole = false
    candidates.push(run)
    run = exact ?? ['']
  }
  if (whole) return { exact: run, need: best(candidates) }
  candidates.push(run)
  return { exact: undefined, need: best(candidates) }
}

function cross(left: readonly string[], right: readonly string[]): readonly string[] | undefined {
  if (left.length * right.length > EXACT_MAX) return undefined
  const product = unique(left.flatMap((head) => right.map((tail) => head + tail)))
  return product.some((text) => text.length > LITERAL_CHARS_MAX) ? undefined : product
}

/** The set that will hit least: long shortest member first, then fewer members. */
function best(candidates: readonly (readonly string[] | undefined)[]): readonly string[] | undefined {
  let chosen: readonly string[] | undefined
  let chosenScore = 0
  for (const candidate of candidates) {
    if (candidate === undefined || candidate.length === 0 || !candidate.every(selective)) continue
    const score = Math.min(...candidate.map(({ length }) => length)) * 100 - candidate.length
    if (chosen === undefined || score > chosenScore) {
      chosen = candidate
      chosenScore = score
    }
  }
  return chosen
}

/** A lone letter, digit or space hits nearly everything. */
function selective(literal: string): boolean {
  return literal.length >= 2 || /^[^a-z0-9 ]$/.test(literal)
}

function lower(code: number): string {
  return String.fromCharCode(code >= 65 && code <= 90 ? code + 32 : code)
}

function unique(texts: readonly string[]): string[] {
  return [...new Set(texts)]
}
