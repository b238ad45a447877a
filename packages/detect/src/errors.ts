/** A peer's summary that cannot be read. `code` is stable. */
export class SummaryMalformed extends Error {
  override readonly name = 'SummaryMalformed'
  readonly code = 'SUMMARY_MALFORMED'
}

/** The bytes of a model, or of a step of its training, that cannot be read. */
export class ModelMalformed extends Error {
  override readonly name = 'ModelMalformed'
  readonly code = 'MODEL_MALFORMED'
}

/** What a detector kept while its node was away, that cannot be read. */
export class MemoryMalformed extends Error {
  override readonly name = 'MemoryMalformed'
  readonly code = 'MEMORY_MALFORMED'
}
