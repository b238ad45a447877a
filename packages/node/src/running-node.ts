/** A node that runs, as the admin API and the other faces of it see it. */

import type { Fabric } from '@ringwall/fabric'
import type { Decision, GuardRequest, TokenVerdict, TokenVerifier } from '@ringwall/guard'
import type { Ledger } from '@ringwall/ledger'
import type { Notifier } from '@ringwall/respond'
import type { GenesisDocument, Hold, NodeAge, RingApplication, RingState, RuleLibrary, View } from '@ringwall/ring'
import type { TxBody, TxContent } from '@ringwall/ring/tx'
import type { Telemetry } from '@ringwall/telemetry'
import type { AcmeCertificates } from './acme/certificates.ts'
import type { ApiActivity } from './api-activity.ts'
import type { AuditLog } from './audit-log.ts'
import type { Bouncers } from './bouncers/bouncers.ts'
import type { NodeConfig } from './config.ts'
import type { Disk } from './disk/disk.ts'
import type { NodeReception } from './enrolment/reception.ts'
import type { EventLog } from './events.ts'
import type { FeedStatus } from './feeds/feed-pulls.ts'
import type { IncidentDesk } from './incidents.ts'
import type { IndicatorStatus } from './indicators/indicator-store.ts'
import type { InsiderWatch } from './insider-watch.ts'
import type { NodeModel } from './model/node-model.ts'
import type { Objects } from './objects/objects.ts'
import type { EarlyDenials } from './provisional.ts'
import type { PeerQueries } from './queries.ts'
import type { RequestArchive } from './request-archive.ts'
import type { NodePlaybooks } from './respond/playbooks.ts'
import type { RuleWatch } from './rule-watch.ts'
import type { SigningService } from './signing/signing-service.ts'
import type { Traffic, TrafficWorkers } from './traffic-workers.ts'
import type { OpeningLog } from './vault/opening-log.ts'
import type { VaultService } from './vault/vault-service.ts'
import type { WorkloadApi } from './workloads/workload-api.ts'

export type RingLedger = Ledger<RingState>

/** What the admin API works on. */
export interface RunningNode {
  readonly config: NodeConfig
  readonly disk: Disk
  readonly region: string
  readonly ring: string
  readonly startedAtMs: number
  readonly genesis: GenesisDocument
  readonly application: RingApplication
  readonly rules: RuleLibrary
  readonly ledger: RingLedger
  readonly fabric: Fabric
  readonly proxy: Traffic
  /** The same, when threads of their own take the traffic. */
  readonly workers: TrafficWorkers | undefined
  readonly telemetry: Telemetry
  readonly early: EarlyDenials
  /** Requests that rules matched. */
  readonly archive: RequestArchive
  /** What rules that only watch would do. */
  readonly watch: RuleWatch
  /** Where one thread does it all. */
  readonly model: NodeModel | undefined
  readonly audit: AuditLog | undefined
  /** Certificates that it gets for itself. */
  readonly acme: AcmeCertificates | undefined
  readonly events: EventLog
  readonly api: ApiActivity
  readonly queries: PeerQueries
  /** Signatures of the ring's key. */
  readonly signing: SigningService
  /** What SAML parties are to believe of this node: a certificate, DER in base64. */
  readonly samlCertificate: () => Promise<string>
  /** Openings of secrets. */
  readonly vault: VaultService
  /** Shards that it holds, and what clients do with objects through it. */
  readonly objects: Objects
  /** Those with this node's share. */
  readonly openings: OpeningLog
  /** For the programs on this machine. */
  readonly workloads: WorkloadApi | undefined
  /** Of those who come to join. */
  readonly reception: NodeReception
  /** Incidents, of all nodes. */
  readonly desk: IncidentDesk
  /** What identities are used to. */
  readonly insiders: InsiderWatch
  /** Where it tells what happens. */
  readonly notifier: Notifier
  /** Its part in runs of playbooks. */
  readonly playbooks: NodePlaybooks
  /** Programs that enforce its denials elsewhere. */
  readonly bouncers: Bouncers
  /** Whose decisions it takes in. */
  feeds(): readonly FeedStatus[]
  /** Sets of indicators that it loaded. */
  indicators(): readonly IndicatorStatus[]
  /** As the guard verifies bearer tokens now. */
  tokens(): TokenVerifier
  /** Why it is to take no more traffic: it is out of the ring, or noticed what puts it out. */
  whyOut(): string | undefined
  /** What operators hold it from, or its age. */
  hold(): Hold | undefined
  /** How old it may become. */
  age(): NodeAge | undefined
  /** When a node's link ended that is not linked now; undefined: it was not linked since this node started. */
  lastSeenMs(id: string): number | undefined
  /** True once it takes traffic and holds a view that a quorum certified since it started; or one of before, when it is cut off (`fleet.offline`). */
  ready(): boolean
  /** Why it is not ready; undefined: it is. */
  whyNotReady(): string | undefined
  /** Milliseconds since its view was certified. */
  viewAgeMs(): number
  view(): View
  certifiedAtMs(): number | undefined
  /** What the guard says to somebody who asks for something, but for limits, API and WAF. */
  access(request: GuardRequest, verdict: TokenVerdict | undefined): Decision
  /** Ed25519, by this node's key. */
  sign(message: Uint8Array): Uint8Array
  /**
   * Enforces a denial at once and tells the others; anything else goes to the ledger alone.
   *
   * @throws {LedgerError} As `Ledger.submit`.
   */
  propose(bytes: Uint8Array, waitMs: number): ReturnType<RingLedger['submit']>
  /**
   * Lets go of everything but the traffic, which is served on by the last view: another process may start with the same data and take
   * traffic on the same ports, then this one is to be stopped.
   */
  handOver(): Promise<void>
  /** Resolves once the ring has wiped this node, and it has erased itself. */
  readonly wiped: Promise<void>
  /** As `propose`, in this node's name. */
  proposeInOwnName(body: TxBody, waitMs: number): ReturnType<RingLedger['submit']>
  /** What somebody else states, with its own pass, signed in this node's name. */
  proposeContent(content: TxContent, waitMs: number): ReturnType<RingLedger['submit']>
  stop(): Promise<void>
}
