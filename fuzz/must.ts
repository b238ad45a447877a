/** Of what was decoded: what does not hold is a fault of the decoder. */
export function must(holds: boolean, what: string): void {
  if (!holds) throw new Error(what)
}
