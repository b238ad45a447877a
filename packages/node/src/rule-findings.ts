/** What rules found in a request, fit for people's eyes: credentials masked, bytes read as UTF-8. */
import { type MatchedPart, maskFinding, type RuleFinding } from '@ringwall/waf'

const VALUE_CHARS_MAX = 400

/** A part as shown. `from` and `to` are positions in `seen`. */
export interface ShownPart extends Omit<MatchedPart, 'from' | 'to' | 'transformations' | 'argument'> {
  readonly transformations: string[]
  /** At most 200 characters. */
  readonly argument: string
  readonly from: number | null
  readonly to: number | null
}

export interface ShownFinding extends Omit<RuleFinding, 'parts'> {
  readonly parts: ShownPart[]
}

/** Masked, then decoded. */
export function shownFindings(findings: readonly RuleFinding[]): ShownFinding[] {
  return findings.map((finding) => {
    const masked = maskFinding(finding)
    return { ...masked, parts: masked.parts.map(shownPart) }
  })
}

function shownPart(part: MatchedPart): ShownPart {
  const { seen, from, to } = part
  const common = {
    ...part,
    variable: readable(part.variable),
    transformations: [...part.transformations],
    argument: part.argument.slice(0, 200),
    value: readable(part.value).slice(0, VALUE_CHARS_MAX),
  }
  if (from === undefined || to === undefined) return { ...common, seen: readable(seen), from: null, to: null }
  const [before, match, after] = [seen.slice(0, from), seen.slice(from, to), seen.slice(to)].map(readable) as [
    string,
    string,
    string,
  ]
  return { ...common, seen: before + match + after, from: before.length, to: before.length + match.length }
}

/** Bytes as text, where they are UTF-8. */
function readable(bytes: string): string {
  return /[\x80-\xff]/.test(bytes) ? Buffer.from(bytes, 'latin1').toString('utf8') : bytes
}
