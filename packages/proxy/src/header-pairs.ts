/** A header list in pairs, as guard and rules read it. */
import type { HeaderField } from '@ringwall/waf'
import type { Section } from './head-scanner.ts'

/** One list for all that say the same again. @param section Of these headers, where their lines are known. */
export function headerPairs(rawHeaders: readonly string[], section: Section | undefined): readonly HeaderField[] {
  const shared = section?.repeats === true && section.fields === rawHeaders ? section : undefined
  if (shared?.pairs !== undefined) return shared.pairs
  const pairs: HeaderField[] = new Array(rawHeaders.length >> 1)
  for (let at = 0; at < rawHeaders.length; at += 2) pairs[at >> 1] = [rawHeaders[at]!, rawHeaders[at + 1]!]
  if (shared !== undefined) shared.pairs = pairs
  return pairs
}
