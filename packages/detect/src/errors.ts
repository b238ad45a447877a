/** A peer's summary that cannot be read. `code` is stable. */
export class SummaryMalformed extends Error {
  override readonly name = 'SummaryMalformed'
  readonly code = 'SUMMARY_MALFORMED'
}
