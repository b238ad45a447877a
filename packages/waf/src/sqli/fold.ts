/** Makes token words shorter without changing what they mean for an injection: calls, dotted names, arithmetic, signs. */
export function foldTokens(tokens: string): string {
  let folded = tokens
  for (let round = 0; round < ROUNDS; round += 1) {
    let next = folded
    for (const [pattern, replacement] of FOLDS) next = next.replace(pattern, replacement)
    if (next === folded) break
    folded = next
  }
  return folded
}

/** A bound on nesting that is folded; deeper is judged as it stands. */
const ROUNDS = 8

const FOLDS: readonly (readonly [RegExp, string])[] = [
  // Lists on either side of a comparison, and chains of joined strings.
  [/(o|l|k)\([nsvw](?:,[nsvw]){1,40}\)/g, '$1n'],
  [/([lo]\(?)[nsvw]p(?=[nsvwedu])/g, '$1'],
  // Adjacent literals are one, and a collation or cast keeps its operand.
  [/w\.(?:w|a)/g, 'w'],
  [/w\.(?=[gF])/g, ''],
  // Signs and negations in front of an operand.
  [/([lpoaEHM(,])[ak]+(?=[nswvfFgudec(])/g, '$1'],
  [/^[ak]+(?=[nwv])/g, ''],
  // Calls: one with a dangerous call or a query inside stays dangerous.
  [/[fgFw]\([^()]*F[^()]*\)/g, 'F'],
  [/[fgFw]\([^()]*E[^()]*\)/g, 'F'],
  [/F\([^()]*\)?/g, 'F'],
  [/f\([nswvfgo,aAlkMpcx.]*\)/g, 'f'],
  [/g\([nswvfgo,aAlkMpcx.]*\)/g, 'g'],
  [/v\.w/g, 'v'],
  // A query as an argument or in parentheses of its own.
  [/([(,])\(E[^()]*[MnfF][^()]*\)/g, '$1F'],
  // An operand in parentheses of its own.
  [/([lpoakE(,])\(([nswvfFg])\)/g, '$1$2'],
]
