/** Errors of the client. Switch on `code`: for `ApiError` it is the node's own. */

/** The node answered no (RFC 9457 problem details). */
export class ApiError extends Error {
  override readonly name = 'ApiError'
  readonly code: string
  readonly status: number
  readonly problems: readonly unknown[]
  constructor(status: number, code: string, detail: string, problems: readonly unknown[] = []) {
    super(detail)
    this.status = status
    this.code = code
    this.problems = problems
  }
}

/** Nothing, or nothing of ours, answered. */
export class NodeUnreachable extends Error {
  override readonly name = 'NodeUnreachable'
  readonly code = 'NODE_UNREACHABLE'
  readonly url: string
  constructor(url: string, why: string, options?: ErrorOptions) {
    super(`${url} does not answer: ${why}`, options)
    this.url = url
  }
}

/** An operator's context that cannot be used. The message never holds the key. */
export class ContextInvalid extends Error {
  override readonly name = 'ContextInvalid'
  readonly code = 'CONTEXT_INVALID'
}
