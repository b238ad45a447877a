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
  /** The protocol as it was written, when that is not `HTTP/` and the version. */
  readonly protocol?: string
  readonly remotePort?: number
  /** Where the request came in. */
  readonly serverAddress?: string
  readonly serverPort?: number
}

/** What the WAF sees of a response before its body. */
export interface WafResponse {
  readonly status: number
  /** E.g. `HTTP/1.1`. */
  readonly protocol: string
  readonly headers: readonly HeaderField[]
}

/** What rules may ask about beyond the request. Each call gives its answer at once. */
export interface WafEnvironment {
  /** Unix milliseconds; asked when a rule wants the time. */
  readonly clock: () => number
  /** `UNIQUE_ID`. */
  readonly uniqueId: string
  /** What `initcol` finds again at the next request; nothing stays without it. */
  readonly collections?: CollectionStore
  /** `@geoLookup`: what is known about an address, by the names of ModSecurity's GEO collection. Nothing without it. */
  readonly geo?: (address: string) => Readonly<Record<string, string>> | undefined
  /** `@rbl`: whether a block list has an address. No without it. */
  readonly blockListed?: (list: string, address: string) => boolean
}

/** Persistent collections by kind (`IP`, `GLOBAL`, ...) and key. Owned by the caller; bounded. */
export interface CollectionStore {
  open(kind: string, key: string, nowMs: number): PersistentCollection
  /** How many collections are held. */
  readonly size: number
}

/** One persistent collection. Names are in lower case. */
export interface PersistentCollection {
  get(name: string, nowMs: number): string | undefined
  entries(nowMs: number): readonly (readonly [name: string, value: string])[]
  set(name: string, value: string, nowMs: number): void
  delete(name: string): void
  /** `seconds` from now the value is gone. */
  expire(name: string, seconds: number, nowMs: number): void
  /** Lowers a number by `amount` for every `seconds` that passed since it was set. */
  deprecate(name: string, amount: number, seconds: number, nowMs: number): void
  /** Seconds without a change after which all of it is gone. */
  timeout(seconds: number): void
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
  /** What the rule's `logdata` says, when it says something; at most 300 characters. */
  readonly data?: string
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
  /**
   * Phase 2 a slice at a time, so that a long inspection does not hold up other requests: each call of the result does some
   * milliseconds of it and returns nothing while there is more. Nothing else of the transaction may be called meanwhile.
   */
  requestBodyInSlices(body: Uint8Array, truncated: boolean): () => WafVerdict | undefined
  /** Phase 3. */
  responseHead(response: WafResponse): WafVerdict
  /** Bytes of the response's body that rules want to see; 0 when none do. Known after `responseHead`. */
  readonly responseBytesWanted: number
  /** Phase 4. Bytes beyond those wanted are not looked at. */
  responseBody(body: Uint8Array, truncated: boolean): WafVerdict
  /** Phase 5, which runs whatever was decided, and cannot decide anything. */
  log(): WafVerdict
}

/** A request going through the phases to see what becomes of it and what that costs. */
export interface WafRehearsal extends WafTransaction {
  /**
   * Work so far, in characters passed over by transformations, automaton, patterns and detectors, weighed by what each costs.
   * The same request does the same work on every machine and at any time.
   */
  readonly work: number
}

/** A file of rules, named for messages; or a file that rules name, such as the words of `@pmFromFile`. */
export interface RuleSource {
  readonly file: string
  readonly text: string
  /** `rules` when left out. Data is found by its path, or relative to the file that names it. */
  readonly kind?: 'rules' | 'data'
  /** Written for Apache's reader, in which a backslash of a pattern is four of them, not two. */
  readonly reader?: 'apache'
}

export interface CompileOptions {
  /**
   * 1 to 4; rules tagged with a higher level are not compiled in, unless the rules themselves set a higher one (`tx.paranoia_level`
   * and its relatives). These variables begin with this value.
   */
  readonly paranoia: 1 | 2 | 3 | 4
  /**
   * What `onPrepared` was given when the same sources were compiled with the same paranoia by the same version of this package:
   * compiling takes a fraction of the time. Bytes that do not fit are not used; that they are the right ones is for the caller
   * to know, by a hash.
   */
  readonly prepared?: Uint8Array
  /** Called when nothing was prepared that fits, before `compileRules` returns. */
  readonly onPrepared?: (bytes: Uint8Array) => void
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
  /** Without an environment the time is 0 and nothing is kept between requests. */
  begin(environment?: WafEnvironment): WafTransaction
  /** As `begin`, with nothing remembered from other requests: what would have been saved is counted. */
  rehearse(): WafRehearsal
  /** The same rules without these ids: nothing is compiled again. */
  excluding(ids: readonly number[]): RuleSet
}
