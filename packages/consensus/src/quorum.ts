/** Counting: n validators, of which f may fail or lie; n = 3f + 1 gives the best f. */

/** Most validators that may fail in any way while the rest stays safe and goes on. */
export function faultsOf(validators: number): number {
  return Math.floor((validators - 1) / 3)
}

/** Votes that make a certificate: any two such sets share an honest validator. */
export function quorumOf(validators: number): number {
  return validators - faultsOf(validators)
}

/** Whose turn it is. */
export function leaderOf(round: number, validators: number): number {
  return round % validators
}
