/** The audit log of a node: which requests are in it, when they are over, and where it goes. */
import { createHash } from 'node:crypto'
import type { WafJudgement } from '@ringwall/guard'
import type { RuleDescription, WafAudit } from '@ringwall/waf'
import type { HostPort } from './address.ts'
import { auditEntry } from './audit-entry.ts'
import { LineWriter } from './line-writer.ts'
import { VERSION } from './version.ts'

/** What `node.yaml` says. What it leaves out, rule files may say (`SecAuditEngine` and its relatives). */
export interface AuditOptions {
  readonly file: string
  readonly engine: 'On' | 'RelevantOnly' | undefined
  readonly parts: string | undefined
  /** A pattern of statuses. */
  readonly relevantStatus: RegExp | undefined
  /** Of lines that wait to be written. */
  readonly bytesWaiting: number
}

export interface AuditIdentity {
  readonly ring: string
  readonly node: string
  readonly listen: HostPort
  readonly log: (level: 'info' | 'warn', line: string) => void
}

/** Requests that are judged and not over. */
const OPEN_MAX = 20_000
const PARTS_DEFAULT = 'ABCFHZ'
const EMPTY = new Uint8Array(0)

interface Open {
  readonly judged: WafJudgement
  readonly audit: WafAudit
  readonly parts: string
  readonly body: Uint8Array
  readonly atMs: number
}

export class AuditLog {
  readonly #options: AuditOptions
  readonly #identity: AuditIdentity
  readonly #serverId: string
  readonly #writer: LineWriter
  readonly #open = new Map<string, Open>()
  /** Requests that could not be held until their end. */
  #overflow = 0

  constructor(options: AuditOptions, identity: AuditIdentity) {
    this.#options = options
    this.#identity = identity
    this.#serverId = createHash('sha1').update(`${identity.ring}/${identity.node}`).digest('hex')
    this.#writer = new LineWriter({ file: options.file, bytesMax: options.bytesWaiting, log: identity.log })
  }

  /** @throws The error of the file system. */
  start(): Promise<void> {
    return this.#writer.start()
  }

  get written(): number {
    return this.#writer.written
  }

  get dropped(): number {
    return this.#writer.dropped + this.#overflow
  }

  /** @param body Copied here: it is reused. */
  judged(judged: WafJudgement, body: Uint8Array, atMs: number): void {
    const { audit } = judged.waf
    if ((this.#options.engine ?? audit.engine) === 'Off') return
    const id = judged.request.requestId ?? ''
    if (this.#open.size >= OPEN_MAX) {
      // The oldest: one whose end nobody told must not keep the others out.
      this.#open.delete(this.#open.keys().next().value as string)
      this.#overflow += 1
    }
    const parts = this.#options.parts ?? audit.parts ?? PARTS_DEFAULT
    this.#open.set(id, { judged, audit, parts, body: parts.includes('C') ? new Uint8Array(body) : EMPTY, atMs })
  }

  /** @param fields Of the response: names and values in turn. */
  finished(requestId: string, status: number, fields: readonly string[]): void {
    const open = this.#open.get(requestId)
    if (open === undefined) return
    this.#open.delete(requestId)
    const { judged, audit, parts, body, atMs } = open
    const engine = this.#options.engine ?? audit.engine ?? 'RelevantOnly'
    const byStatus = this.#options.relevantStatus?.test(String(status)) ?? audit.isRelevant?.(status) ?? false
    if (engine !== 'On' && !audit.wanted && !byStatus) return
    const { rules, wafMode, patches } = judged.route
    const sets = [...(rules === undefined ? [] : [rules]), ...patches.map((patch) => patch.rules)]
    const describe = (ruleId: number): RuleDescription | undefined => {
      for (const set of sets) {
        const found = set.describe(ruleId)
        if (found !== undefined) return found
      }
      return undefined
    }
    const { host, port } = this.#identity.listen
    const entry = auditEntry({
      request: judged.request,
      body,
      status,
      fields,
      atMs,
      parts,
      matches: judged.verdict.matches,
      rules: { describe },
      engine:
        audit.ruleEngine === 'Off'
          ? 'Disabled'
          : wafMode === 'enforce' && audit.ruleEngine === 'On'
            ? 'Enabled'
            : 'DetectionOnly',
      components: audit.components,
      serverId: this.#serverId,
      host,
      port,
      producer: `Ringwall ${VERSION}`,
    })
    this.#writer.write(JSON.stringify(entry))
  }

  stop(): Promise<void> {
    return this.#writer.stop()
  }
}
