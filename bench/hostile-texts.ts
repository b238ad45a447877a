/** Texts made to cost a pattern much: near misses of it, derived from its tree. The same seed gives the same texts. */
import type { RuleSource } from '@ringwall/waf'
import { toByteText } from '../packages/waf/src/bytes.ts'
import { type Pattern, parsePattern } from '../packages/waf/src/regex/syntax.ts'
import { parseRules } from '../packages/waf/src/seclang/parse.ts'

/** A number from 0 to below `below`. */
export type Random = (below: number) => number

/** A small generator, so that a run can be repeated (xorshift32, Marsaglia 2003). */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0 || 1
  return (below) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % below
  }
}

/** A text that a pattern would match, up to look-arounds and anchors. */
function sample(pattern: Pattern, random: Random): string {
  switch (pattern.kind) {
    case 'set': {
      const members = [...pattern.set.keys()].filter((code) => pattern.set[code] === 1)
      const plain = members.filter((code) => code > 32 && code < 127)
      const from = plain.length > 0 ? plain : members
      return from.length === 0 ? '' : String.fromCharCode(from[random(from.length)] as number)
    }
    case 'seq':
      return pattern.items.map((item) => sample(item, random)).join('')
    case 'alt':
      return sample(pattern.items[random(pattern.items.length)] as Pattern, random)
    case 'repeat':
      return Array.from({ length: Math.min(pattern.max, pattern.min + random(4)) }, () => sample(pattern.item, random)).join('')
    case 'group':
      return sample(pattern.item, random)
    default:
      return ''
  }
}

/** Every `@rx` of the rules, with the id of its rule. */
export function patternsOf(sources: readonly RuleSource[]): { readonly id: string; readonly tree: Pattern }[] {
  const found: { id: string; tree: Pattern }[] = []
  let id = '?'
  for (const source of sources) {
    if (source.kind === 'data') continue
    for (const node of parseRules(source)) {
      if (node.kind !== 'rule') continue
      id = node.actions.find(({ name }) => name === 'id')?.value?.text ?? id
      if (node.operator.name === 'rx' && !node.operator.argument.text.includes('%{'))
        found.push({ id, tree: parsePattern(toByteText(node.operator.argument.text)) })
    }
  }
  return found
}

/** `unit` over and over. */
export const filled = (unit: string, chars: number): string => unit.repeat(Math.ceil(chars / unit.length)).slice(0, chars)

/** Whole matches, beginnings of matches and their alternation, repeated up to `chars`; `unit` is what is repeated. */
export function* nearMisses(
  tree: Pattern,
  samples: number,
  chars: number,
  random: Random,
): Generator<{ readonly unit: string; readonly text: string }> {
  for (let i = 0; i < samples; i += 1) {
    const text = sample(tree, random)
    if (text === '') continue
    const cut = text.slice(0, 1 + random(text.length))
    for (const unit of [
      cut,
      text.slice(0, -1) || text,
      `${cut}${sample(tree, random).slice(0, 3)}`,
      cut.at(-1) as string,
      `${cut} `,
      `${cut}\n`,
    ])
      yield { unit, text: `${cut.slice(0, random(cut.length + 1))}${filled(unit, chars)}`.slice(0, chars) }
  }
}
