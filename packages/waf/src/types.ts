/**
 * The words that a WAF speaks: what goes in, what comes out. Pure: no `node:` import in this package.
 */

/** One header field as received: name in its original case, and value. */
export type HeaderField = readonly [name: string, value: string]

/** What the WAF sees of a request before its body. */
export interface WafRequest {
  readonly method: string
  /** The request target as on the wire, e.g. `/search?q=a%20b`. */
  readonly target: string
  /** `1.0`, `1.1` or `2`. */
  readonly httpVersion: string
  readonly headers: readonly HeaderField[]
  readonly remoteAddress: string
}

/** One rule that matched. `excerpt` is at most 120 characters of the matching value. */
export interface WafMatch {
  readonly ruleId: number
  readonly message: string
  readonly severity: 'critical' | 'error' | 'warning' | 'notice'
  readonly tags: readonly string[]
  readonly phase: 1 | 2 | 3 | 4 | 5
  /** Where it matched, e.g. `ARGS:q` or `REQUEST_HEADERS:user-agent`. */
  readonly variable: string
  readonly excerpt: string
}

/** The outcome of the phases run so far. `blocked` is false in `DetectionOnly`. */
export interface WafVerdict {
  readonly blocked: boolean
  /** HTTP status that the blocking rule asked for; 403 unless it said otherwise. */
  readonly status: number
  /** Inbound anomaly score. */
  readonly score: number
  readonly matches: readonly WafMatch[]
}

/** One request going through the phases. Not reusable. */
export interface WafTransaction {
  /** Phase 1. */
  requestHead(request: WafRequest): WafVerdict
  /** Phase 2. `body` may be empty; `truncated` says that the proxy stopped at its inspection limit. */
  requestBody(body: Uint8Array, truncated: boolean): WafVerdict
}

/** A request going through the phases to see what becomes of it and what that costs. */
export interface WafRehearsal extends WafTransaction {
  /**
   * Work so far, in characters passed over by transformations, automaton, patterns and detectors, weighed by what each costs.
   * The same request does the same work on every machine and at any time.
   */
  readonly work: number
}

/** A file of rules, named for messages. */
export interface RuleSource {
  readonly file: string
  readonly text: string
}

export interface CompileOptions {
  /** 1 to 4; rules tagged with a higher level are not compiled in. */
  readonly paranoia: 1 | 2 | 3 | 4
}

/** Compiled rules: immutable, shared by all requests. */
export interface RuleSet {
  readonly ruleCount: number
  /** Every rule in it, for `ls` and `show`. */
  readonly rules: readonly {
    readonly id: number
    readonly message: string
    readonly phase: number
    readonly tags: readonly string[]
    readonly at: string
  }[]
  begin(): WafTransaction
  /** As `begin`, with nothing remembered from other requests: what would have been saved is counted. */
  rehearse(): WafRehearsal
  /** The same rules without these ids: nothing is compiled again. */
  excluding(ids: readonly number[]): RuleSet
}
