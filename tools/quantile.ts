/** What runs say of their times. */

/** The value that a part of all is not above; `q` of 0 to 1. NaN when there are none. */
export const quantile = (values: readonly number[], q: number): number => {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)] ?? Number.NaN
}
