/**
 * The words that a WAF speaks: what goes in, what comes out. Pure: no `node:` import in this package.
 */
import type { RuleCounters } from './counters.ts'
import type { RemovedTarget } from './rule.ts'

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
  /** Monotonic microseconds. Given for a sample of requests: their rules are timed one by one. */
  readonly stopwatch?: (() => number) | undefined
  /** What becomes of a request that takes more work than rules may do: `deny` unless given. It is told of as a match in either case. */
  readonly overrun?: 'deny' | 'pass'
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

/** What an audit log wants to know of a request, by ModSecurity's directives and actions. */
export interface WafAudit {
  /** `SecAuditEngine`, or what a rule's `ctl:auditEngine` made of it; undefined where nobody says. */
  readonly engine: 'On' | 'Off' | 'RelevantOnly' | undefined
  /** `SecAuditLogParts` and `ctl:auditLogParts`, letters from A to Z; undefined where nobody says. */
  readonly parts: string | undefined
  /** Whether a rule matched that wants to be in it (`auditlog`; `log` without `noauditlog`). */
  readonly wanted: boolean
  /** `SecAuditLogRelevantStatus`; undefined where nobody says. */
  readonly isRelevant: ((status: number) => boolean) | undefined
  readonly ruleEngine: 'On' | 'Off' | 'DetectionOnly'
  /** `SecComponentSignature`, of each rule set that has one. */
  readonly components: readonly string[]
}

/** One request going through the phases. Not reusable. */
export interface WafTransaction {
  readonly audit: WafAudit
  /** Phase 1. */
  requestHead(request: WafRequest): WafVerdict
  /** Phase 2. `body` may be empty; `truncated` says that the proxy stopped at its inspection limit. */
  requestBody(body: Uint8Array, truncated: boolean): WafVerdict
  /**
   * Phase 2 a slice at a time, so that a long inspection does not hold up other requests: each call of the result does some
   * milliseconds of it and returns nothing while there is more. Nothing else of the transaction may be called meanwhile.
   */
  requestBodyInSlices(body: Uint8Array, truncated: boolean): () => WafVerdict | undefined
  /** Whether any rule looks at responses. */
  readonly inspectsResponses: boolean
  /** Phase 3. The response has a budget of work of its own. */
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
  /** Short values that are remembered between requests with what is known of them, about 1 KB each; 4,096 unless given. */
  readonly memoValuesMax?: number
}

/** One SecRule or SecAction of a chain, as it was written. */
export interface LinkDescription {
  readonly line: number
  /** As in the rule, e.g. `ARGS`, `!ARGS:text`, `&TX:score`; what directives added or took out included. Empty for SecAction. */
  readonly variables: readonly string[]
  /** By name, with what defaults add. */
  readonly transformations: readonly string[]
  /** Without the `@`; empty for SecAction. */
  readonly operator: string
  readonly argument: string
  readonly negated: boolean
  /** `name` or `name:value`, but for transformations. */
  readonly actions: readonly string[]
}

/** What `ls` shows of a rule. */
export interface RuleListing {
  readonly id: number
  /** Where its counters are; -1 for a rule that was left out. */
  readonly index: number
  readonly message: string
  readonly phase: number
  readonly severity: WafMatch['severity']
  readonly tags: readonly string[]
  /** `file:line`. */
  readonly at: string
}

/** What `show` says of a rule. */
export interface RuleDescription extends RuleListing {
  readonly file: string
  readonly line: number
  /** What it does with the request when it matches. */
  readonly disruption: string
  readonly status: number
  /** 0 (emergency) to 7 (debug), where the rule says. */
  readonly level: number | undefined
  readonly rev: string
  readonly ver: string
  readonly links: readonly LinkDescription[]
}

/** A rule that is in the files and not in the set. */
export interface RuleLeftOut extends RuleListing {
  /** For a higher paranoia level, or because a directive removed it. */
  readonly why: 'paranoia' | 'removed'
}

/** A value that a rule matched. */
export interface MatchedPart {
  /** E.g. `ARGS:q`. */
  readonly variable: string
  /** Of the chain, from 0. */
  readonly link: number
  readonly transformations: readonly string[]
  readonly operator: string
  readonly argument: string
  readonly negated: boolean
  /** As it came in, at most 4,096 characters. */
  readonly value: string
  /** As the operator saw it: a window of at most 240 characters around what matched. */
  readonly seen: string
  /** Where in `seen` it matched; undefined where the operator judges the value as a whole. */
  readonly from: number | undefined
  readonly to: number | undefined
}

/** A rule that matched, with everything that explains it. */
export interface RuleFinding {
  readonly ruleId: number
  readonly message: string
  readonly severity: WafMatch['severity']
  readonly phase: number
  readonly at: string
  /** Whether it is reported: rules that only count or prepare say `nolog`. */
  readonly reported: boolean
  readonly scoreBefore: number
  readonly scoreAfter: number
  readonly parts: readonly MatchedPart[]
  /** How many more parts there were. */
  readonly partsLeftOut: number
}

/** A request going through the phases for somebody who wants to know why. */
export interface WafExamination extends WafRehearsal {
  readonly findings: readonly RuleFinding[]
}

/** What one rule does not look at: a variable as reports name it, e.g. `ARGS:q`, `REQUEST_HEADERS:user-agent`, `REQUEST_BODY`. */
export interface TargetExclusion {
  readonly ruleId: number
  readonly variable: string
}

/** Exclusions made ready by `compileExclusions`. */
export type CompiledExclusions = readonly RemovedTarget[]

/** Compiled rules: immutable but for their counters, shared by all requests. */
export interface RuleSet {
  readonly ruleCount: number
  /** Every rule in it, for `ls`. */
  readonly rules: readonly RuleListing[]
  /** With those that `excluding` took out. */
  readonly all: readonly RuleListing[]
  readonly leftOut: readonly RuleLeftOut[]
  /** One object for all sets that differ in `excluding` only. */
  readonly counters: RuleCounters
  /** Also of a rule that was left out. */
  describe(id: number): RuleDescription | undefined
  /**
   * Without an environment the time is 0 and nothing is kept between requests.
   *
   * @param exclusions What rules do not look at in this request.
   */
  begin(environment?: WafEnvironment, exclusions?: CompiledExclusions): WafTransaction
  /** As `begin`, with nothing remembered from other requests: what would have been saved is counted. Leaves no trace in counters. */
  rehearse(exclusions?: CompiledExclusions): WafRehearsal
  /** As `rehearse`, and says what matched and why. */
  examine(environment?: WafEnvironment, exclusions?: CompiledExclusions): WafExamination
  /** The same rules without these ids: nothing is compiled again. */
  excluding(ids: readonly number[]): RuleSet
}
