/** Makes token words shorter without changing what they mean for an injection: calls, dotted names, arithmetic, signs. */
export function foldTokens(tokens: string): string {
  if (!/[(.pak]/.test(tokens)) return tokens
  const folds = tokens.includes('(') ? FOLDS : FOLDS_OUTSIDE
  let folded = tokens
  for (let round = 0; round < ROUNDS; round += 1) {
    let next = folded
    for (const [pattern, replacement] of folds) next = next.replace(pattern, replacement)
    if (next === folded) break
    folded = next
  }
  return folded
}

/** A bound on nesting that is folded; deeper is judged as it stands. */
const ROUNDS = 8

const FOLDS: readonly (readonly [pattern: RegExp, replacement: string, where?: 'parentheses'])[] = [
  // Lists on either side of a comparison, and chains of joined strings.
  [/(o|l|k)\([nsvw](?:,[nsvw]){1,40}\)/g, '$1n', 'parentheses'],
  [/([lo]\(?)[nsvw]p(?=[nsvwedu])/g, '$1'],
  // Adjacent literals are one, and a collation or cast keeps its operand.
  [/w\.(?:w|a)/g, 'w'],
  [/w\.(?=[gF])/g, ''],
  // Signs and negations in front of an operand.
  [/([lpoaEHM(,])[ak]+(?=[nswvfFgudec(])/g, '$1'],
  [/^[ak]+(?=[nwv])/g, ''],
  // Calls: one with a dangerous call or a query inside stays dangerous.
  [/[fgFw]\([^()]*F[^()]*\)/g, 'F', 'parentheses'],
  [/[fgFw]\([^()]*E[^()]*\)/g, 'F', 'parentheses'],
  [/F\([^()]*\)?/g, 'F', 'parentheses'],
  [/f\([nswvfgo,aAlkMpcx.]*\)/g, 'f', 'parentheses'],
  [/g\([nswvfgo,aAlkMpcx.]*\)/g, 'g', 'parentheses'],
  [/v\.w/g, 'v'],
  [/F\.[wg]/g, 'F'],
  // A query as an argument or in parentheses of its own.
  [/([(,])\(E[^()]*[MnfF][^()]*\)/g, '$1F', 'parentheses'],
  // An operand in parentheses of its own.
  [/([lpoakE(,])\(([nswvfFg])\)/g, '$1$2', 'parentheses'],
]

/** Those that do something where there is no parenthesis. */
const FOLDS_OUTSIDE = FOLDS.filter(([, , where]) => where === undefined)
