// Generated from the OpenAPI document by `npm run generate`. Do not edit.

/** What a request would be told, but for limits, API and WAF. */
export type Access = { readonly allowed: boolean; readonly status: number; /** Which check decided. */ readonly check: string; /** `authorization:POLICY`, `callers:SERVICE`, `denial:ID` and the like. */ readonly rule: string | null; readonly reason: string; /** Of the ledger, when it was judged. */ readonly height: number; readonly provisional: boolean; readonly node: string; readonly policyVersion: number; readonly service: string | null; readonly route: string | null; readonly principal: string; readonly method: string; readonly action: string; readonly path: string }

/** Who wants to do what. */
export type AccessRequest = { /** Whom a token is about, and what else it says; null: nobody known. The issuer may be left out where there is one. */ readonly principal: { readonly issuer?: string; readonly subject: string; readonly claims?: object } | null; /** Whose certificate of the ring comes with it: `service/NAME`, `node/NAME` or a SPIFFE id. */ readonly caller?: string; /** A method, or the action that a route names. */ readonly action: string; /** Or a host. */ readonly service?: string; readonly host?: string; /** As in a request, without the query. */ readonly path: string; /** The client’s address. */ readonly source?: string }

/** What waits for operators, oldest first. */
export type Approvals = { readonly approvals: readonly PendingApproval[] }

/** What became of a service’s requests on their way to its upstreams, since the start. */
export type Balancing = { readonly service: string; /** Sent again, after something of them had been sent. */ readonly retries: number; /** Not sent again, because the budget was used up. */ readonly retriesRefused: number; /** Answered 503, because the upstreams carry as many as they may. */ readonly overloaded: number; /** Sent to a second upstream, because the first took long. */ readonly hedges: number; readonly hedgesWon: number; readonly mirrored: number; readonly mirrorsDropped: number }

/** A final block with its transactions and who certified it. */
export type BlockDetail = { readonly height: number; readonly round: number; readonly digest: string; readonly parent: string; readonly proposer: string; /** Unix milliseconds. */ readonly timestampMs: number; readonly transactions: readonly TransactionSummary[]; readonly certificate: { readonly kind: string; readonly round: number; readonly digest: string | null; readonly signers: readonly string[] } }

/** A final block. */
export type BlockSummary = { readonly height: number; readonly round: number; readonly digest: string; readonly parent: string; readonly proposer: string; /** Unix milliseconds. */ readonly timestampMs: number; readonly transactions: number }

/** Final blocks, newest first. */
export type Blocks = { readonly height: number; readonly blocks: readonly BlockSummary[] }

/** A program that enforces denials elsewhere. */
export type Bouncer = { readonly name: string; readonly pulls: readonly BouncerPull[] }

/** Who asked with the key of a bouncer, on a node, last. */
export type BouncerPull = { readonly node: string; /** Its address. */ readonly source: string; /** What it says it is (User-Agent). */ readonly agent: string; /** Whether it pulls changes, or looks addresses up. */ readonly kind: 'stream' | 'lookup'; /** Unix milliseconds. */ readonly lastMs: number; /** Changes that it has not been told of; null for one that looks up. */ readonly behind: number | null }

/** As the policy lists them. */
export type Bouncers = { readonly bouncers: readonly Bouncer[]; /** Nodes that did not answer. */ readonly silent: readonly string[] }

/** What is well and what is not. */
export type Check = { readonly findings: readonly CheckFinding[] }

/** One thing that is well or is not. */
export type CheckFinding = { readonly group: 'ring' | 'ledger' | 'links' | 'clock' | 'policy' | 'upstreams' | 'certificates' | 'storage' | 'traffic' | 'key' | 'attestation' | 'fleet'; readonly level: 'ok' | 'warn' | 'bad'; readonly what: string; readonly fix: string | null }

/** Final, and on this node’s disk. */
export type Committed = { readonly id: string; readonly height: number; readonly digest: string; readonly elapsedMs: number; readonly waits?: WaitsForApproval }

/** One request, and what became of it. */
export type Decision = { readonly requestId: string; /** Unix milliseconds. */ readonly atMs: number; readonly node: string; readonly region: string; readonly traceId: string; readonly source: string; /** Fingerprint of the client’s TLS. */ readonly ja4?: string; readonly method: string; readonly host: string; /** Without the query. */ readonly path: string; readonly service?: string; readonly route?: string; readonly outcome: 'allow' | 'deny' | 'challenge' | 'throttle'; /** What it would have been in enforce mode. */ readonly shadowOutcome: 'allow' | 'deny' | 'challenge' | 'throttle'; readonly check: string; readonly status: number; readonly reason: string; readonly rule?: string; /** Of the ledger, when it was judged. */ readonly height: number; readonly viewAgeMs: number; /** The view was older than the route tolerates: refused, or judged on, as the policy says. */ readonly stale: boolean; readonly provisional: boolean; readonly wafScore: number; readonly matches: readonly RuleMatch[]; readonly guardUs: number; readonly totalUs: number }

/** Newest first. */
export type Decisions = { readonly decisions: readonly Decision[] }

/** What is denied, why, by whom, until when. */
export type Denial = { readonly id: string; readonly subject: DenialSubject; readonly reason: string; readonly issuer: string; /** The nodes that said so, when it took several. */ readonly statedBy?: readonly string[]; /** An operator denied it as well, for not as long. */ readonly operatorToo?: boolean; /** Unix milliseconds. */ readonly issuedAtMs: number; /** Unix milliseconds. */ readonly expiresAtMs: number; readonly height: number | null; readonly provisional: boolean }

export type DenialSubject = { readonly kind: 'ip'; readonly value: string } | { readonly kind: 'cidr'; readonly value: string } | { readonly kind: 'token' | 'subject' | 'session' | 'device'; readonly issuer?: string; readonly value: string } | { readonly kind: 'key'; readonly value: string } | { readonly kind: 'issuer'; readonly value: string } | { readonly kind: 'issued-before'; readonly issuer?: string; readonly subject?: string; /** As `2027-01-31T12:00:00.000Z`. */ readonly value: string } | { readonly kind: 'account'; readonly service: string; readonly value: string }

/** All denials in force here, and what waits for more nodes to say so. */
export type Denials = { readonly denials: readonly Denial[]; readonly pending: readonly PendingDenial[] }

/** A device that the ring knows. */
export type Device = { readonly serial: string; /** That it was made with: Ed25519, raw, base64url. */ readonly key: string; readonly manufacturer: string; /** SHA-256 of the public area of its TPM’s endorsement key, hex. */ readonly ek: string | null; /** SHA-256 of the newest entry of its voucher, hex. */ readonly head: string; /** When its voucher expires. */ readonly expiresAtMs: number | null; readonly region: string | null; readonly roles: readonly ('validator' | 'edge')[]; readonly by: string; /** Unix milliseconds. */ readonly registeredAtMs: number; readonly status: 'registered' | 'joined' | 'expelled' | 'removed' | 'transferred'; /** The node that it is, or was. */ readonly node: string | null }

/** Disks that the ring opens, and nodes that were wiped, newest first. */
export type Disks = { readonly disks: readonly NodeDisk[]; readonly wipes: readonly NodeWipe[] }

/** What services with an api were asked, on this node. */
export type Endpoints = { /** Unix milliseconds. */ readonly sinceMs: number; readonly operations: readonly OperationActivity[]; /** Most asked first; at most 500. */ readonly unknown: readonly UnknownEndpoint[]; /** Unknown endpoints that made room for others. */ readonly dropped: number }

/** Who may join, and where. */
export type Enrolment = { readonly ring: string; readonly height: number; readonly addresses: readonly NodeAddress[]; readonly invitations: readonly Invitation[]; readonly devices: readonly Device[]; /** What quotes are made over now; null while the policy asks for none. */ readonly beacon: string | null; readonly attestation: { readonly least: 'none' | 'software' | 'tpm'; readonly nodes: 'devices' | 'all'; readonly disks: boolean; /** Unix milliseconds. */ readonly every: number; /** Unix milliseconds. */ readonly absence: number }; readonly trust: readonly TrustOfNode[]; /** TPMs of nodes that did not join as devices. */ readonly endorsements: readonly { readonly node: string; readonly ek: string }[]; readonly expelled: readonly ExpelledNode[]; readonly references: readonly ReferenceValue[]; /** Devices that are no nodes, and get certificates by EST. */ readonly certificates: readonly { readonly name: string; readonly by: 'secret' | 'idevid'; /** Unix milliseconds. */ readonly atMs: number; /** SubjectPublicKeyInfo, DER, base64url. */ readonly publicKey: string }[]; /** How many this node sent away since it started, by code. */ readonly refusals: Readonly<Record<string, number>> }

/** Over all nodes that answered. */
export type Estimate = { readonly nodes: readonly string[]; readonly silent: readonly string[]; readonly routes: readonly RouteEstimate[] }

/** Of AuthZEN. */
export type Evaluation = { readonly decision: boolean; readonly context?: object }

/** Of AuthZEN: subject `user`, `service` or `anonymous`, resource `path` (`SERVICE/PATH`) or `service`. */
export type EvaluationRequest = { readonly subject: object; readonly action: object; readonly resource: object; readonly context?: object }

/** Of AuthZEN, in the order of the request; one decision where there was no list. */
export type Evaluations = { readonly evaluations?: readonly Evaluation[]; readonly decision?: boolean; readonly context?: object }

/** Of AuthZEN: what stands outside of the list holds for all in it. */
export type EvaluationsRequest = { readonly subject?: object; readonly action?: object; readonly resource?: object; readonly context?: object; readonly evaluations?: readonly object[]; readonly options?: object }

/** An exception of the policy, and whether its time is over. */
export type ExceptionInPolicy = { readonly name: string; readonly rule: number; readonly service: string; readonly route?: string; readonly path?: string; readonly variable: string; readonly owner: string; readonly reason: string; readonly until: string; /** Unix milliseconds. */ readonly untilMs: number; readonly lapsed: boolean }

/** The narrowest exceptions with which a recorded request would pass. */
export type ExceptionProposal = { readonly method: string; readonly path: string; readonly service: string | null; readonly route: string | null; /** Whether the rules refuse it now. */ readonly refused: boolean; /** False when it was refused before its body was read. */ readonly bodySeen: boolean; readonly exceptions: readonly ProposedException[]; /** With these exceptions. */ readonly passes: boolean; /** Rules that would still match. */ readonly remaining: readonly number[] }

/** For which request. */
export type ExceptionProposeRequest = { readonly requestId: string; /** Wider than the request’s own. */ readonly path?: string; /** Of this rule only. */ readonly rule?: number }

/** What became of the recorded requests, over all nodes that answered. */
export type ExceptionReplay = { readonly nodes: readonly string[]; readonly silent: readonly string[]; /** Recorded requests. */ readonly held: number; /** Of these, the ones that the exceptions are about. */ readonly judged: number; /** Not judged for lack of time. */ readonly left: number; /** Of those judged, refused now. */ readonly refused: number; /** Of these, not refused with the exceptions. */ readonly passing: number; /** At most 100 of each node, newest first. */ readonly letThrough: readonly LetThrough[] }

/** Which exceptions to try. */
export type ExceptionReplayRequest = { readonly exceptions: readonly ExceptionScope[] }

/** What an exception is about. */
export type ExceptionScope = { readonly rule: number; readonly service: string; readonly route?: string; readonly path?: string; readonly variable: string }

/** In the order of the policy. */
export type Exceptions = { readonly exceptions: readonly ExceptionInPolicy[] }

/** A node that the ring put out by itself. */
export type ExpelledNode = { readonly node: string; readonly code: string; /** Unix milliseconds. */ readonly atMs: number }

/** A decision with its trace, and the denial if one decided. */
export type Explanation = { /** Null when the node that decided does not hold the request. */ readonly again: JudgedAgain | null; readonly decision: Decision; readonly spans: readonly Span[]; readonly denial: Denial | null }

/** Decisions of others that the node takes in. */
export type Feed = { readonly name: string; readonly url: string; /** When it last answered, Unix milliseconds. */ readonly lastMs: number | null; /** Why it does not answer, or not as expected. */ readonly problem: string | null; /** Decisions that the node says. */ readonly held: number; /** That the policy does not let a node say, or too many. */ readonly refused: number; /** Of kinds that are no denials of addresses. */ readonly leftOut: number }

/** As the node’s configuration lists them. */
export type Feeds = { readonly feeds: readonly Feed[]; readonly indicators: readonly IndicatorSet[] }

/** A rule that matched, and everything that explains it. */
export type Finding = { readonly ruleId: number; readonly message: string; readonly severity: 'critical' | 'error' | 'warning' | 'notice'; readonly phase: number; /** `file:line` */ readonly at: string; readonly reported: boolean; readonly scoreBefore: number; readonly scoreAfter: number; readonly parts: readonly FindingPart[]; readonly partsLeftOut: number }

/** A value that a rule matched. Credentials are masked. */
export type FindingPart = { readonly variable: string; /** Of a chain of rules, from 0. */ readonly link: number; readonly transformations: readonly string[]; readonly operator: string; readonly argument: string; readonly negated: boolean; /** As it came in, at most 400 characters. */ readonly value: string; /** As the operator saw it: at most 240 characters around what matched. */ readonly seen: string; /** Where in `seen` it matched; null where the value is judged as a whole. */ readonly from: number | null; readonly to: number | null }

/** Labels, holds, releases and updates. */
export type Fleet = { readonly nodes: readonly FleetNode[]; readonly devices: readonly { readonly serial: string; readonly labels: readonly string[] }[]; readonly releases: readonly Release[]; readonly updates: readonly FleetUpdate[] }

/** A node of the fleet, as the asked one sees it. */
export type FleetNode = { readonly id: string; readonly region: string; readonly roles: readonly ('validator' | 'edge')[]; readonly labels: Readonly<Record<string, string>>; /** That it runs, as it says. */ readonly version: string | null; /** That the policy has it run. */ readonly wanted: string | null; readonly trying: string | null; readonly failed: { readonly version: string; /** Unix milliseconds. */ readonly atMs: number; readonly reason: string } | null; readonly hold: Hold | null; /** Null: it may become as old as it likes. */ readonly age: NodeAge | null; readonly reachable: boolean; readonly ready: boolean | null; readonly viewAgeMs: number | null; readonly attested: { readonly state: 'waiting' | 'trusted' | 'stale' | 'lapsed'; /** Unix milliseconds. */ readonly untilMs: number } | null; /** Null: not since the asked node started. */ readonly lastSeenMs: number | null }

/** How far an update is. */
export type FleetUpdate = { readonly name: string; readonly select: string; readonly version: string; readonly stage: 'one' | 'region' | 'all' | 'done'; /** Why nobody may begin now. */ readonly stopped: string | null; readonly failed: readonly string[]; readonly members: readonly { readonly id: string; readonly state: 'current' | 'trying' | 'failed' | 'silent' | 'held' | 'lapsed' | 'waiting' }[] }

/** A key that was replaced. */
export type FormerKey = { readonly keyId: string; /** It verifies until then. */ readonly untilMs: number }

/** What operators keep a node from: new work of the ring and updates; drained, clients as well. */
export type Hold = { readonly kind: 'cordon' | 'drain'; readonly by: string; readonly reason: string; /** Unix milliseconds. */ readonly sinceMs: number; /** Null: until it is lifted. */ readonly untilMs: number | null }

/** Findings that belong together. */
export type Incident = { readonly id: string; readonly severity: 'low' | 'medium' | 'high'; readonly title: string; readonly services: readonly string[]; /** Techniques of MITRE ATT&CK. */ readonly attack: readonly string[]; readonly detectors: readonly string[]; readonly nodes: readonly string[]; readonly sources: readonly string[]; /** Unix milliseconds. */ readonly firstMs: number; /** Unix milliseconds. */ readonly lastMs: number; readonly findings: number; /** Conclusions that say what another has said. */ readonly duplicates: number; readonly closed: IncidentClosing | null; /** Null: to nobody. */ readonly assigned: IncidentAssignment | null }

/** To whom, and why. */
export type IncidentAssignRequest = { /** An operator; null: nobody. Whoever asks, unless given. */ readonly to?: string | null; readonly note: string }

/** Who works on it. */
export type IncidentAssignment = { readonly id: string; /** Unix milliseconds. */ readonly atMs: number; /** The operator who works on it. */ readonly to: string | null; /** The operator who said so. */ readonly by: string; readonly note: string; /** By whose API. */ readonly node: string }

/** Why. */
export type IncidentCloseRequest = { readonly note: string }

/** Who said that it is done with. */
export type IncidentClosing = { readonly id: string; /** Unix milliseconds. */ readonly atMs: number; /** The operator. */ readonly by: string; readonly note: string; /** By whose API. */ readonly node: string }

/** An incident with its timeline. */
export type IncidentDetail = { readonly id: string; readonly severity: 'low' | 'medium' | 'high'; readonly title: string; readonly services: readonly string[]; /** Techniques of MITRE ATT&CK. */ readonly attack: readonly string[]; readonly detectors: readonly string[]; readonly nodes: readonly string[]; readonly sources: readonly string[]; /** Unix milliseconds. */ readonly firstMs: number; /** Unix milliseconds. */ readonly lastMs: number; readonly findings: number; /** Conclusions that say what another has said. */ readonly duplicates: number; readonly closed: IncidentClosing | null; /** Null: to nobody. */ readonly assigned: IncidentAssignment | null; readonly accounts: readonly string[]; readonly sessions: readonly string[]; readonly timeline: readonly IncidentEntry[] }

/** One detector about one subject, over all nodes. */
export type IncidentEntry = { /** Unix milliseconds. */ readonly firstMs: number; /** Unix milliseconds. */ readonly lastMs: number; readonly detector: string; readonly subject: IncidentSubject; readonly nodes: readonly string[]; /** How often it was concluded, all nodes together. */ readonly times: number; /** Of the last. */ readonly reason: string; readonly denied: boolean }

/** An incident, signed by the node that was asked, with its proofs. See `ringwall incident verify`. */
export type IncidentEvidence = { readonly format: string; readonly ring: string; readonly node: string; /** Unix milliseconds. */ readonly exportedAtMs: number; readonly incident: IncidentDetail; readonly receipts: readonly Receipt[]; readonly missing: readonly { readonly requestId: string; readonly why: string }[]; readonly denials: readonly unknown[]; readonly provenHeight: number; readonly blocks: string; readonly state: unknown; readonly nodes: readonly unknown[]; readonly parts: unknown; readonly signature: string }

/** What a finding is about; accounts and sessions are keyed hashes. */
export type IncidentSubject = { readonly kind: 'source' | 'network' | 'fingerprint' | 'account' | 'session' | 'path' | 'route' | 'service' | 'identity' | 'node'; readonly value: string }

/** The latest first. */
export type Incidents = { readonly incidents: readonly Incident[]; /** That there was no room for. */ readonly more: number }

/** Addresses that others call bad, as the node loaded them. */
export type IndicatorSet = { readonly name: string; readonly path: string; readonly format: 'list' | 'stix' | 'misp' | 'taxii' | 'inbox'; /** Indicators that it holds. */ readonly size: number; /** Of its tables. */ readonly bytes: number; /** Unix milliseconds. */ readonly loadedMs: number | null; /** Why it was not loaded, or not again. */ readonly problem: string | null; readonly files: number; /** Over when it was loaded. */ readonly expired: number; /** About the same prefix as another. */ readonly repeated: number; /** Beyond the most that it may hold. */ readonly full: number; readonly leftOut: readonly LeftOut[] }

/** The claims, when it is active (RFC 7662). */
export type Introspection = { readonly active: boolean }

/** A key that lets one node in. */
export type Invitation = { /** Its public half: Ed25519, raw, base64url. */ readonly key: string; readonly by: string; /** Unix milliseconds. */ readonly expiresAtMs: number; /** The only one that the node may stand in. */ readonly region: string | null; readonly roles: readonly ('validator' | 'edge')[]; readonly state: 'open' | 'used' | 'expired'; /** The node that it let in. */ readonly node: string | null }

/** What the rules say of the recorded request now. */
export type JudgedAgain = { readonly policyVersionThen: number; readonly policyVersionNow: number; readonly blocked: boolean; readonly score: number; readonly findings: readonly Finding[] }

/** A key that the validators hold together. */
export type Key = { readonly name: string; /** `none`: a ring of one validator has none, and no sealing key while the policy keeps the vault closed. */ readonly state: 'none' | 'forming' | 'ready'; /** Of the signing key its thumbprint (RFC 7638), `kid` of tokens; of the sealing key SHA-256 in base64url. */ readonly keyId: string | null; /** Ed25519; of the sealing key an element of ristretto255; raw, base64url. */ readonly publicKey: string | null; /** How many holders it takes to sign or to open. */ readonly threshold: number; readonly holders: readonly string[]; /** Hand-overs and refreshes of this key. */ readonly handOvers: number; readonly madeAtMs: number | null; readonly ceremony: KeyCeremony | null; /** What operators asked for. */ readonly asked: 'nothing' | 'refresh' | 'replace'; readonly faults: readonly KeyFault[]; readonly former: readonly FormerKey[] }

/** A ceremony under way. */
export type KeyCeremony = { readonly attempt: number; readonly phase: 'enrolling' | 'dealing' | 'answering'; readonly waitingFor: readonly string[] }

/** Who lied with the key, and how. */
export type KeyFault = { readonly party: string; readonly fault: string; /** In a ceremony: of the block that showed it. */ readonly height: number | null; readonly ceremony: number | null; /** In a signature or an opening: who saw it. */ readonly node: string | null }

/** The ring’s keys. */
export type Keys = { readonly keys: readonly Key[] }

/** A database user, for a time. Its password only who began it has. */
export type Lease = { readonly id: string; readonly database: string; readonly role: string; readonly holder: string; readonly user: string; readonly host: string; readonly port: number; readonly dbname: string; readonly state: 'making' | 'live' | 'ending'; /** Why it ends. */ readonly end: 'expired' | 'revoked' | 'denied' | 'policy' | null; /** Unix milliseconds. */ readonly beganAtMs: number; /** Unix milliseconds. */ readonly expiresAtMs: number; /** Unix milliseconds. */ readonly mostAtMs: number }

/** Leases of database users. */
export type Leases = { readonly leases: readonly Lease[] }

/** How far this node’s ledger is, and with whom. */
export type LedgerStatus = { readonly height: number; readonly round: number; readonly digest: string; /** Commitment to the state. */ readonly root: string; /** Unix milliseconds. */ readonly timestampMs: number; /** Since the last certified block; null: none since start. */ readonly viewAgeMs: number | null; /** Since the block was made that the view is of. */ readonly blockAgeMs: number; /** Blocks that peers are known to be ahead. */ readonly lag: number; /** Counts changes of the validators. */ readonly epoch: number; /** Whether this node has a vote, or follows those who have. */ readonly role: 'validator' | 'follower'; readonly validators: number; readonly quorum: number; readonly faultsTolerated: number; readonly reachable: readonly string[]; readonly unreachable: readonly string[]; readonly mempool: number; readonly syncing: boolean; /** Oldest block on this node’s disk. */ readonly firstHeight: number; /** Of the blocks on this node’s disk. */ readonly bytes: number; /** Block after which the newest snapshot was taken; 0: none yet. */ readonly snapshotHeight: number; readonly evidence: readonly { readonly validator: string; readonly kind: string; readonly round: number }[]; /** What was found wrong on disk at start. */ readonly repairs: readonly string[]; /** Why nothing is accepted any more; null while all is well. */ readonly halted: string | null }

/** What is in the files and was not taken in. */
export type LeftOut = { readonly kind: string; readonly count: number }

/** A recorded request that is refused now and would pass. */
export type LetThrough = { readonly node: string; readonly requestId: string; /** Unix milliseconds. */ readonly atMs: number; readonly source: string; readonly method: string; readonly path: string; /** Of the excepted rules; masked. */ readonly findings: readonly Finding[] }

/** The link to one peer. */
export type Link = { readonly id: string; readonly region: string; readonly connected: boolean; readonly reason: string | null; readonly roundTripMs: number | null; /** The peer’s clock minus ours. */ readonly clockOffsetMs: number | null; readonly sentBytes: number; readonly receivedBytes: number }

/** What is asked of the key. */
export type MintBody = { /** `request` and `signature`: see docs/keys.md. */ readonly request: object }

/** A certificate and the one above it, PEM. */
export type MintedSvid = { readonly certificate: string; readonly authority: string; /** Unix milliseconds. */ readonly expiresAtMs: number }

/** A token. */
export type MintedToken = { readonly token: string; /** `jti`. */ readonly id: string; readonly subject: string; readonly audience: string; /** Unix milliseconds. */ readonly expiresAtMs: number }

/** The model of requests on one node. */
export type Model = { readonly node: string; readonly train: boolean; readonly use: string | null; readonly stage: string | null; readonly threshold: number | null; readonly previous: string | null; /** Whether the node has the model in use. */ readonly held: boolean; /** Whether it refuses here. */ readonly enforces: boolean; /** Why it only watches, although the stage says otherwise. */ readonly reverted: string | null; readonly counts: { readonly judged: number; readonly over: number; readonly refused: number }; readonly examples: { readonly hostile: number; readonly honest: number; readonly labelled: number }; /** Told of single requests in 30 days. */ readonly epsilon: number; readonly epsilonMax: number | null; readonly models: readonly { readonly hash: string; readonly about: ModelAbout | null }[] }

/** How a model came to be. */
export type ModelAbout = { readonly hash: string; /** Unix milliseconds. */ readonly madeAtMs: number; readonly nodes: readonly string[]; readonly steps: number; /** Nodes that may have lied. */ readonly tolerates: number; /** On a part of the leader’s own requests that it did not train on. */ readonly auc: number | null; /** What it told of single requests, at δ = 1e-5. */ readonly epsilon: number }

/** What a request was. */
export type ModelLabelRequest = { readonly requestId: string; readonly hostile: boolean }

/** Taken. */
export type ModelLabelled = { readonly requestId: string; readonly hostile: boolean; readonly by: string }

/** A score is 1 / (1 + e^−sum). */
export type ModelScore = { readonly requestId: string; readonly model: string; readonly score: number; readonly sum: number; readonly top: readonly { readonly feature: string; readonly part: number }[] }

/** A new model. */
export type ModelTrained = { readonly hash: string; /** Unix milliseconds. */ readonly madeAtMs: number; readonly nodes: readonly string[]; readonly steps: number; readonly tolerates: number; readonly auc: number | null; readonly epsilon: number; readonly missing: readonly { readonly node: string; readonly why: string }[] }

/** Where the others find a node. */
export type NodeAddress = { readonly id: string; readonly region: string; /** HOST:PORT of its links. */ readonly address: string; /** Ed25519, raw, base64url. */ readonly publicKey: string }

/** How old a node may become (fleet.maxAge). */
export type NodeAge = { /** When the ring added it, or first asked for ages. */ readonly sinceMs: number; /** Unix milliseconds. */ readonly drainAtMs: number; /** Unix milliseconds. */ readonly endsAtMs: number; /** What becomes of it then. */ readonly end: 'out' | 'drain' }

/** A disk whose key the ring keeps. */
export type NodeDisk = { readonly id: string; /** Since when. */ readonly atMs: number }

/** What happened on the node. */
export type NodeEvent = { /** Unix milliseconds. */ readonly atMs: number; readonly kind: string; readonly level: 'info' | 'warn' | 'bad'; readonly what: string; readonly node: string }

/** Newest first. */
export type NodeEvents = { readonly events: readonly NodeEvent[] }

/** One node, by itself. */
export type NodeStatus = { readonly node: string; readonly region: string; readonly ring: string; readonly version: string; readonly pid: number; /** Unix milliseconds. */ readonly startedAtMs: number; readonly roles: readonly ('validator' | 'edge')[]; readonly listen: { readonly traffic: string; readonly admin: string; readonly fabric: string }; readonly ledger: LedgerStatus; /** What operators keep it from, or its age. */ readonly hold: Hold | null; /** Why it is not ready; null: it is. */ readonly notReady: string | null; /** Null: it may become as old as it likes. */ readonly age: NodeAge | null; readonly policyVersion: number; readonly denials: number; readonly provisionalDenials: number; /** Said by nodes, and not by enough of them yet. */ readonly pendingDenials: number; readonly unconfirmedDenials: readonly UnconfirmedDenials[]; readonly links: readonly Link[]; readonly upstreams: readonly Upstream[]; readonly balancing: readonly Balancing[]; readonly traffic: Traffic }

/** A node of the ring, as the asked one sees it. Null: it does not answer. */
export type NodeSummary = { readonly id: string; readonly region: string; readonly roles: readonly ('validator' | 'edge')[]; readonly self: boolean; readonly reachable: boolean; readonly reason: string | null; readonly roundTripMs: number | null; readonly height: number | null; readonly lag: number | null; readonly viewAgeMs: number | null; readonly policyVersion: number | null; readonly denials: number | null; readonly requestsPerSecond: number | null; readonly deniedPerSecond: number | null; readonly version: string | null; readonly adminUrl: string | null; /** How it stands with what it measures of itself; null: it need not attest. */ readonly attested: { readonly kind: 'none' | 'software' | 'tpm'; readonly state: 'waiting' | 'trusted' | 'stale' | 'lapsed' } | null }

/** A node that was wiped. */
export type NodeWipe = { readonly id: string; readonly publicKey: string; readonly by: string; readonly reason: string; /** Unix milliseconds. */ readonly atMs: number; readonly receipt: WipeReceipt | null }

/** All nodes of the ring. */
export type Nodes = { readonly nodes: readonly NodeSummary[] }

/** Where a node tells what happens. */
export type NotifyChannel = { readonly name: string; readonly kind: string; readonly told: number; readonly lost: number; /** Of the last attempt. */ readonly problem: string | null }

/** Of this node. */
export type NotifyChannels = { readonly channels: readonly NotifyChannel[] }

/** It was told. */
export type NotifyTest = { readonly name: string; readonly told: boolean }

/** A declared operation, and how often it was asked of this node. */
export type OperationActivity = { readonly service: string; /** Method and path as declared. */ readonly operation: string; readonly requests: number; /** Of these, outside of what is declared. */ readonly outside: number; readonly lastAtMs: number | null }

/** A rule and the part of requests that it matched. */
export type PairEstimate = { readonly ruleId: number; readonly variable: string; readonly requests: number; /** Distinct, as far as they are told apart. */ readonly clients: number; /** Of these, the ones that otherwise behave. */ readonly goodClients: number; readonly looksLike: 'false-positive' | 'attack' | 'unclear'; /** Unix milliseconds. */ readonly lastMs: number; /** The last of them. */ readonly requestId: string }

/** A statement that waits for operators. */
export type PendingApproval = { readonly id: string; readonly type: string; readonly issuer: string; /** Unix milliseconds. */ readonly atMs: number; readonly summary: string; readonly signedBy: readonly string[]; readonly needed: number; /** Unix milliseconds. */ readonly lapsesAtMs: number; /** Of a policy, against the one in force. */ readonly changes: readonly PolicyChange[] }

/** What some nodes say, and not enough of them yet. */
export type PendingDenial = { readonly id: string; readonly subject: DenialSubject; readonly statements: readonly Statement[]; readonly nodesNeeded: number; readonly regionsNeeded: number }

/** People of the ring’s own directory. */
export type People = { readonly people: readonly Person[] }

/** Somebody who may log in. */
export type Person = { readonly name: string; readonly groups: readonly string[]; readonly outside: readonly { readonly provider: string; readonly subject: string }[]; /** How many. */ readonly passkeys: number; /** Whether they have one. */ readonly password: boolean; /** Of an invitation that is open. */ readonly invitedUntilMs: number | null; /** Unix milliseconds: logins of before count for nothing. */ readonly sinceMs: number }

/** A policy to look at. */
export type PlanRequest = { /** YAML. */ readonly text: string }

/** What is done, step by step. */
export type Playbook = { readonly name: string; readonly about: string; /** Of its steps: a run does not go on by others. */ readonly digest: string; /** Whose findings start it; none: it is started by hand. */ readonly detectors: readonly string[]; /** What it has to be told. */ readonly inputs: readonly ('source' | 'service' | 'account' | 'person')[]; readonly steps: readonly PlaybookStep[]; readonly open: number; readonly over: number }

/** Who does the step that is under way. */
export type PlaybookClaim = { readonly node: string; readonly attempt: number; /** Unix milliseconds. */ readonly untilMs: number }

/** What the ring knew when the step was done. */
export type PlaybookEvidence = { readonly format: string; readonly ring: string; readonly height: number; readonly node: string; /** Unix milliseconds. */ readonly atMs: number; readonly run: unknown; readonly incidents: readonly unknown[]; readonly denials: readonly unknown[] }

/** One of them. */
export type PlaybookInput = { readonly name: string; readonly value: string }

/** About whom a run is. */
export type PlaybookInputs = { readonly source?: string; readonly service?: string; readonly account?: string; readonly person?: string }

/** What came of a step. */
export type PlaybookOutcome = { /** From 0. */ readonly step: number; /** Unix milliseconds. */ readonly atMs: number; readonly result: 'done' | 'failed' | 'undone' | 'kept'; /** ring, a node or an operator. */ readonly by: string; readonly note: string }

/** Nothing was changed. */
export type PlaybookRehearsal = { readonly playbook: string; readonly steps: readonly PlaybookRehearsedStep[] }

/** A run that is not started. */
export type PlaybookRehearsalRequest = { readonly playbook: string; readonly inputs: PlaybookInputs }

/** What a step would come to now. */
export type PlaybookRehearsedStep = { readonly step: string; readonly does: string; /** Why it would fail. */ readonly fault: string | null }

/** A run of a playbook. */
export type PlaybookRun = { readonly id: string; readonly playbook: string; readonly digest: string; readonly inputs: readonly PlaybookInput[]; readonly reason: string; readonly by: string; /** Nodes whose findings started it. */ readonly statedBy: readonly string[]; readonly status: 'proposed' | 'running' | 'done' | 'failed' | 'cancelled' | 'undone' | 'lapsed'; /** Unix milliseconds. */ readonly startedAtMs: number; /** Unix milliseconds. */ readonly changedAtMs: number; /** The step that is next or under way, from 0. */ readonly at: number; /** When time alone changes something; 0: never. */ readonly dueMs: number; readonly claim: PlaybookClaim | null; readonly approvedBy: readonly string[]; readonly outcomes: readonly PlaybookOutcome[]; /** By their names; empty when the playbook is another by now. */ readonly steps: readonly string[] }

/** The latest first. */
export type PlaybookRuns = { readonly runs: readonly PlaybookRun[]; /** That there was no room for. */ readonly more: number }

/** A step, by its name and kind. */
export type PlaybookStep = { readonly name: string; readonly does: string }

/** Those of the policy in force. */
export type Playbooks = { readonly playbooks: readonly Playbook[] }

/** One difference between policies. */
export type PolicyChange = { readonly kind: 'add' | 'remove' | 'change'; readonly path: string; readonly before: unknown; readonly after: unknown }

/** The policy that this node enforces. */
export type PolicyInForce = { readonly version: number; readonly height: number; readonly text: string; readonly changedAtMs: number | null }

/** What applying a policy would change. */
export type PolicyPlan = { /** Of the policy in force: to be named when applying. */ readonly version: number; readonly valid: boolean; readonly problems: readonly PolicyProblem[]; readonly changes: readonly PolicyChange[]; readonly tests: readonly PolicyTestResult[]; readonly costs: readonly RuleCost[]; /** Services that not all nodes serve (services.NAME.nodes). */ readonly served: readonly ServiceNodes[] }

/** One mistake in a policy. */
export type PolicyProblem = { readonly line: number; readonly column: number; readonly path: string; readonly message: string; readonly hint: string | null }

/** One of the policy’s own tests, and how it went. */
export type PolicyTestResult = { readonly name: string; readonly ok: boolean; readonly expected: string; readonly got: string; /** Of the rules, in units. */ readonly work: number }

/** Why a call was refused (RFC 9457). */
export type Problem = { readonly type: string; readonly title: string; readonly status: number; /** One sentence: what, and what to do. */ readonly detail: string; /** Stable; switch on it. */ readonly code: string; readonly problems?: readonly unknown[] }

/** An exception that the request needs. */
export type ProposedException = { readonly rule: number; readonly service: string; readonly route?: string; readonly path?: string; readonly variable: string; /** Of the rule. */ readonly message: string }

/** Whether the node takes traffic with a certified view. */
export type Readiness = { readonly ready: boolean; readonly reason: string; /** Since its view was certified. */ readonly viewAgeMs: number }

/** A decision, signed by its node, with proof of the state it rested on. See `ringwall receipt verify`. */
export type Receipt = { readonly format: string; readonly ring: string; readonly decision: Decision; readonly signature: string; readonly provenHeight: number; readonly blocks: string; readonly state: unknown; readonly nodes: readonly unknown[]; readonly policy: string; readonly denial: unknown }

/** A measured state that nodes may be in. */
export type ReferenceValue = { readonly kind: 'program' | 'pcrs'; readonly digest: string; readonly label: string; /** all, region:NAME or node:ID. */ readonly scope: string; /** Taken back: whoever is in it then is out. */ readonly endsAtMs: number | null }

/** A statement that nobody has signed. */
export type RehearsalRequest = { /** As in `tx` of a transaction, without its signature. */ readonly content: object }

/** The ring would take it, as things are now. */
export type Rehearsed = { readonly height: number }

/** A release that the ring agreed on. */
export type Release = { readonly version: string; readonly digest: string; readonly files: number; readonly bytes: number; readonly programs: readonly string[]; /** That signed it: Ed25519, raw, base64url. */ readonly key: string; readonly by: string; /** Unix milliseconds. */ readonly atMs: number }

/** What the rules of a route that only watches would do. */
export type RouteEstimate = { readonly label: string; readonly mode: 'shadow' | 'learn'; /** Unix milliseconds. */ readonly sinceMs: number; readonly requests: number; /** Estimated. */ readonly clients: number; /** Would be refused. */ readonly refused: number; /** Estimated. */ readonly refusedClients: number; /** Of the requests that would be refused, those that look like it. */ readonly falsePositives: number; readonly falsePositiveClients: number; /** Those that look like attacks. */ readonly attacks: number; readonly pairs: readonly PairEstimate[] }

/** What a choice of rules costs on a fixed sample request, in units of work. */
export type RuleCost = { /** The service or route that makes the choice. */ readonly where: string; readonly sample: 'page' | 'form' | 'json' | 'upload'; readonly work: number; readonly budget: number }

/** What one node counted. */
export type RuleCountsOfNode = { readonly node: string; readonly answered: boolean; readonly hits: number; readonly timed: number; readonly meanUs: number | null; readonly maxUs: number | null }

/** A rule in full. */
export type RuleDetail = { readonly id: number; /** `file:line`, on the node that was asked. */ readonly at: string; readonly phase: number; readonly severity: 'critical' | 'error' | 'warning' | 'notice'; readonly tags: readonly string[]; readonly message: string; /** What the rule does: in all places that use it the same, or mixed; excluded everywhere; for a higher paranoia; removed by another rule file. */ readonly mode: 'enforce' | 'shadow' | 'learn' | 'mixed' | 'excluded' | 'paranoia' | 'removed'; readonly where: readonly RulePlace[]; /** In force. */ readonly exceptions: number; /** Requests in which it matched, counted once a phase. */ readonly hits: number; /** How often it was timed: in a sample of requests. */ readonly timed: number; /** Of the sample; null: none yet. */ readonly meanUs: number | null; readonly maxUs: number | null; readonly file: string; readonly line: number; /** As it stands in its file, with the comments above it; empty when the file is not here. */ readonly source: string; /** What it does with a request that it matches: deny, pass, allow, ... */ readonly disruption: string; /** Of the refusal. */ readonly status: number; readonly links: readonly RuleLink[]; readonly exceptionsInForce: readonly RuleException[]; readonly byNode: readonly RuleCountsOfNode[] }

/** A variable that a rule does not look at, for a time. */
export type RuleException = { readonly name: string; readonly rule: number; readonly service: string; readonly route?: string; readonly path?: string; readonly variable: string; readonly owner: string; readonly reason: string; readonly until: string }

/** One SecRule or SecAction of a rule, as written. */
export type RuleLink = { readonly line: number; readonly variables: readonly string[]; readonly transformations: readonly string[]; /** Without the @; empty for SecAction. */ readonly operator: string; readonly argument: string; readonly negated: boolean; readonly actions: readonly string[] }

/** A rule that matched, and where. */
export type RuleMatch = { readonly ruleId: number; readonly message: string; readonly severity: string; readonly variable: string; readonly excerpt: string }

/** A service or route that uses the rule. */
export type RulePlace = { readonly label: string; readonly mode: 'enforce' | 'shadow' | 'learn' | 'off'; /** The policy leaves the rule out there. */ readonly excluded: boolean }

/** A rule of the policy in force. */
export type RuleRow = { readonly id: number; /** `file:line`, on the node that was asked. */ readonly at: string; readonly phase: number; readonly severity: 'critical' | 'error' | 'warning' | 'notice'; readonly tags: readonly string[]; readonly message: string; /** What the rule does: in all places that use it the same, or mixed; excluded everywhere; for a higher paranoia; removed by another rule file. */ readonly mode: 'enforce' | 'shadow' | 'learn' | 'mixed' | 'excluded' | 'paranoia' | 'removed'; readonly where: readonly RulePlace[]; /** In force. */ readonly exceptions: number; /** Requests in which it matched, counted once a phase. */ readonly hits: number; /** How often it was timed: in a sample of requests. */ readonly timed: number; /** Of the sample; null: none yet. */ readonly meanUs: number | null; readonly maxUs: number | null }

/** Rules by id, with counts since the nodes started. */
export type Rules = { /** Whose counts are in it. */ readonly nodes: readonly string[]; /** Nodes that did not answer. */ readonly silent: readonly string[]; /** When the first of them started, Unix milliseconds. */ readonly sinceMs: number; /** That rules looked at. */ readonly requests: number; /** Of these, the sample whose rules were timed. */ readonly timedRequests: number; readonly rules: readonly RuleRow[] }

/** As the policy has it under saml.keys. */
export type SamlKey = { readonly node: string; /** DER, base64. */ readonly certificate: string }

/** Which nodes would serve a service. */
export type ServiceNodes = { readonly service: string; /** By their labels. */ readonly select: string; /** Those that it selects by the labels that they have now. */ readonly nodes: readonly string[] }

/** A step of a trace. Times are Unix microseconds. */
export type Span = { readonly traceId: string; readonly spanId: string; readonly parentSpanId?: string; readonly name: string; readonly kind: 'server' | 'client' | 'internal'; readonly startUs: number; readonly endUs: number; readonly ok: boolean; readonly attributes: Readonly<Record<string, string | number | boolean>> }

/** Final. */
export type Stated = { readonly id: string; readonly height: number }

/** What one node says; it counts until it lapses. */
export type Statement = { readonly issuer: string; readonly reason: string; /** Unix milliseconds. */ readonly issuedAtMs: number; /** Unix milliseconds. */ readonly expiresAtMs: number; /** Unix milliseconds. */ readonly lapsesAtMs: number }

/** A statement with a pass. */
export type StatementBody = { /** As in `tx` of a transaction, in the name of the node that is asked. */ readonly content: object }

/** As RFC 7662 and RFC 7009 have it. */
export type TokenForm = { readonly token: string; readonly token_type_hint?: string }

/** What was asked most. */
export type Top = { readonly rows: readonly TopRow[] }

/** How often something was asked. `denied` counts all that was not allowed. */
export type TopRow = { readonly key: string; readonly requests: number; readonly denied: number }

/** All spans of a trace that nodes know. */
export type Trace = { readonly spans: readonly Span[] }

/** Counts since start, and rates of the last seconds. */
export type Traffic = { readonly requests: number; readonly allowed: number; readonly denied: number; readonly throttled: number; readonly upstreamErrors: number; /** Answered 503, because upstreams carry as many as they may. */ readonly overloaded: number; readonly requestsPerSecond: number; readonly deniedPerSecond: number }

/** A signed transaction. */
export type TransactionRequest = { /** `{content, signature}`; the signature is Ed25519 over `RINGWALL_TX_V1`, a newline and the content as canonical JSON (RFC 8785). */ readonly tx: object; /** How long to wait for finality. */ readonly waitMs?: number }

/** A transaction in a block. */
export type TransactionSummary = { readonly id: string; readonly type: string; readonly issuer: string; readonly summary: string }

/** What holders answer. Only the asker can read it. */
export type TransitAnswers = { readonly replies: readonly { readonly party: string; /** Base64url. */ readonly reply: string }[]; readonly refusals: readonly { readonly party: string; readonly reason: string }[] }

/** A key of the transit. */
export type TransitKey = { readonly name: string; readonly id: string; readonly use: 'encrypt' | 'sign' | 'mac'; readonly versions: readonly TransitVersion[]; readonly mayUse: boolean; readonly mayManage: boolean }

/** What whoever uses a key has to know of it. */
export type TransitKeyFacts = { readonly ring: string; readonly name: string; readonly id: string; readonly use: 'encrypt' | 'sign' | 'mac'; /** Those that can be used, the newest last. */ readonly versions: readonly TransitVersion[] }

/** Keys of the transit that the operator may use or manage. */
export type TransitKeys = { readonly keys: readonly TransitKey[] }

/** By the ring’s key, over what docs/transit.md says. */
export type TransitSignature = { /** Base64url. */ readonly signature: string }

/** A version of a key. */
export type TransitVersion = { readonly version: number; /** Unix milliseconds. */ readonly atMs: number; readonly by: string; /** Of a key that signs: Ed25519, raw, base64url. Empty for others. */ readonly signer: string }

/** A node that has to attest. `stale`: late; `lapsed`: nothing that it says counts, and it is out once its absence is over. */
export type TrustOfNode = { readonly node: string; /** What its last quote rests on. */ readonly kind: 'none' | 'software' | 'tpm'; readonly state: 'waiting' | 'trusted' | 'stale' | 'lapsed'; /** Of its last quote. */ readonly atMs: number | null; /** Unix milliseconds. */ readonly staleAtMs: number; /** Unix milliseconds. */ readonly untilMs: number; readonly program: string | null; readonly configuration: string | null; readonly pcrs: string | null }

/** Denials of the last hour that an issuer signed and nobody confirmed. */
export type UnconfirmedDenials = { readonly issuer: string; readonly count: number }

/** An endpoint that is not declared. */
export type UnknownEndpoint = { readonly service: string; readonly method: string; /** With {} for what looks like an id. */ readonly path: string; readonly requests: number; /** Unix milliseconds. */ readonly firstAtMs: number; /** Unix milliseconds. */ readonly lastAtMs: number; readonly statuses: readonly { readonly status: number; readonly requests: number }[] }

/** Where requests of a service go. */
export type Upstream = { readonly service: string; readonly url: string; readonly region: string | null; readonly weight: number; readonly subset: string | null; readonly healthy: boolean; /** Starting: fit, and not at its whole share yet. */ readonly state: 'up' | 'starting' | 'down' | 'ejected'; readonly reason: string | null; /** Of the last connect, or to the head of the last response. */ readonly latencyMs: number | null; /** Sent to it since the start, those sent again among them. */ readonly requests: number; /** Of those, what broke, timed out or was answered badly. */ readonly failures: number; readonly ejections: number; /** Requests that it carries now. */ readonly active: number; /** Requests that wait for a connection to it. */ readonly pending: number; readonly connections: number }

/** What holders answer. Only the asker can read it. */
export type VaultAnswers = { readonly replies: readonly { readonly party: string; /** Base64url. */ readonly reply: string }[]; /** Of what was asked for, in its order; base64url. */ readonly bodies: readonly { readonly capsule: string; readonly ciphertext: string }[]; readonly refusals: readonly { readonly party: string; readonly reason: string }[] }

/** A bucket of objects. */
export type VaultBucket = { readonly name: string; /** Markers too. */ readonly versions: number; /** Of plaintext, all versions together, by the last whole look of the node that is asked; null: it has not looked yet. */ readonly bytes: number | null; /** Shards that are enough. */ readonly data: number; readonly shards: number; /** Regions; empty: anywhere. */ readonly residency: readonly string[]; readonly versioning: 'off' | 'on' | 'suspended' }

/** What readers and writers of secrets need to know of the ring. Ask several nodes: one may lie. */
export type VaultFacts = { readonly ring: string; readonly height: number; /** That answers. */ readonly node: string; /** The sealing key with its holders, base64url; null while there is none. */ readonly publicKey: string | null; readonly nodes: readonly { readonly id: string; /** Ed25519, raw, base64url. */ readonly publicKey: string }[] }

/** Versions of a secret, newest first. */
export type VaultHistory = { readonly name: string; readonly versions: readonly { readonly version: number; readonly state: 'live' | 'hidden' | 'deleted' | 'expired' | 'superseded'; /** Unix milliseconds. */ readonly sealedAtMs: number; readonly expiresAtMs: number | null; readonly by: string; readonly endedAtMs: number | null }[]; /** With this node’s share, newest first. */ readonly openings: readonly VaultOpening[] }

/** What a node says of its own shards. */
export type VaultNode = { readonly id: string; readonly region: string; readonly self: boolean; /** Why nothing is known of it; null when it answered. */ readonly reason: string | null; readonly standing: VaultStanding | null }

/** Objects: what this node holds of them and mends, and who may have any. */
export type VaultObjects = { readonly node: string; /** That the ring knows. */ readonly versions: number; readonly versionsMax: number; /** That this node is to hold, by its last whole look. */ readonly shards: number; /** Of those, that were not there or not right. */ readonly missing: number; /** Versions whose repair waits for other nodes. */ readonly waiting: number; /** Some of those, with why. */ readonly waits: readonly { readonly version: string; readonly reason: string }[]; /** Of shards that it holds. */ readonly bytes: number; readonly bytesMax: number; /** Where they lie: folder, or the endpoint and the name of a bucket. */ readonly store: string; /** Since when, and why, that bucket cannot be asked; null when it can. */ readonly storeAway: { /** Unix milliseconds. */ readonly sinceMs: number; readonly reason: string } | null; /** When its last whole look ended. */ readonly passedAtMs: number | null; /** Shards that are still to be compared with their hashes. */ readonly uncompared: number; /** Every shard was compared since then; null: some have not been since it started. */ readonly comparedAtMs: number | null; /** What it makes anew now. */ readonly repairing: { readonly version: string; readonly index: number; readonly bytes: number; readonly of: number } | null; /** All that it makes anew in this look, and how far it is. */ readonly mending: { readonly shards: number; readonly ofShards: number; readonly bytes: number; readonly ofBytes: number } | null; /** Shards since it started, as all that follows. */ readonly repaired: number; readonly corrupt: number; readonly erased: number; readonly moved: number; readonly scrubbedBytes: number; readonly repairedBytes: number; readonly put: number; readonly read: number; /** Wrong or missing shards of others that it met. */ readonly faults: number; /** Whose those were, the last first. */ readonly culprits: readonly { readonly party: string; readonly wrong: number; readonly missing: number; /** Unix milliseconds. */ readonly lastAtMs: number }[]; /** Nodes whose shards are made anew elsewhere. */ readonly away: readonly string[]; readonly accessKeys: readonly { readonly id: string; readonly identity: string; readonly by: string; /** Unix milliseconds. */ readonly atMs: number }[] }

/** What is asked of the holders. */
export type VaultOpenBody = { /** `request` and `signature`: see docs/vault.md. */ readonly request: object }

/** An opening as a holder recorded it before it answered. */
export type VaultOpening = { /** Unix milliseconds. */ readonly atMs: number; readonly issuer: string; readonly version: number; /** SHA-256 of what the asker signed, base64url: the same on all holders. */ readonly request: string; readonly coordinator: string }

/** A secret, without what is in it. */
export type VaultSecret = { readonly name: string; /** The newest. */ readonly version: number; /** Of the newest version. */ readonly state: 'live' | 'hidden' | 'deleted' | 'expired' | 'superseded'; /** Unix milliseconds. */ readonly sealedAtMs: number; readonly expiresAtMs: number | null; readonly by: string; /** Versions that may be opened. */ readonly live: number; readonly mayRead: boolean; readonly mayWrite: boolean }

/** Secrets that the operator may read or write. */
export type VaultSecrets = { readonly secrets: readonly VaultSecret[] }

/** Objects as the node that is asked, and every other that answers, see and hold them. */
export type VaultShards = { /** That the ring knows, markers too. */ readonly versions: number; readonly versionsMax: number; readonly buckets: readonly VaultBucket[]; readonly nodes: readonly VaultNode[] }

/** How the shards of a node stand. */
export type VaultStanding = { /** That the ring knows. */ readonly versions: number; readonly versionsMax: number; /** That this node is to hold, by its last whole look. */ readonly shards: number; /** Of those, that were not there or not right. */ readonly missing: number; /** Versions whose repair waits for other nodes. */ readonly waiting: number; /** Some of those, with why. */ readonly waits: readonly { readonly version: string; readonly reason: string }[]; /** Of shards that it holds. */ readonly bytes: number; readonly bytesMax: number; /** Where they lie: folder, or the endpoint and the name of a bucket. */ readonly store: string; /** Since when, and why, that bucket cannot be asked; null when it can. */ readonly storeAway: { /** Unix milliseconds. */ readonly sinceMs: number; readonly reason: string } | null; /** When its last whole look ended. */ readonly passedAtMs: number | null; /** Shards that are still to be compared with their hashes. */ readonly uncompared: number; /** Every shard was compared since then; null: some have not been since it started. */ readonly comparedAtMs: number | null; /** What it makes anew now. */ readonly repairing: { readonly version: string; readonly index: number; readonly bytes: number; readonly of: number } | null; /** All that it makes anew in this look, and how far it is. */ readonly mending: { readonly shards: number; readonly ofShards: number; readonly bytes: number; readonly ofBytes: number } | null; /** Shards since it started, as all that follows. */ readonly repaired: number; readonly corrupt: number; readonly erased: number; readonly moved: number; readonly scrubbedBytes: number; readonly repairedBytes: number; readonly put: number; readonly read: number; /** Wrong or missing shards of others that it met. */ readonly faults: number; /** Whose those were, the last first. */ readonly culprits: readonly { readonly party: string; readonly wrong: number; readonly missing: number; /** Unix milliseconds. */ readonly lastAtMs: number }[]; /** Nodes whose shards are made anew elsewhere. */ readonly away: readonly string[] }

/** Enforced provisionally, waiting for a quorum. */
export type Waiting = { readonly id: string; readonly provisional: boolean; readonly waiting: string }

/** Final, but not applied before more operators have approved it. */
export type WaitsForApproval = { /** To be named when approving. */ readonly id: string; readonly signedBy: readonly string[]; /** How many operators must have signed. */ readonly needed: number; /** Unix milliseconds. */ readonly lapsesAtMs: number }

/** What a wiped node said of its end. */
export type WipeReceipt = { /** Unix milliseconds. */ readonly atMs: number; readonly files: number; readonly bytes: number; /** By the node’s own key, base64url. */ readonly signature: string }

/** How one of them stands there. */
export type WorkloadStanding = { readonly service: string; readonly spiffeId: string; /** Of its certificate there, Unix milliseconds; null while there is none. */ readonly expiresAtMs: number | null; /** Why the ring did not sign the last time; null when it did. */ readonly reason: string | null; /** Processes with an open call. */ readonly programs: readonly { readonly pid: number; readonly uid: number }[] }

/** Services that the policy gives the node that was asked, for programs on its machine. */
export type Workloads = { readonly node: string; /** Whether it serves the Workload API. */ readonly served: boolean; readonly workloads: readonly WorkloadStanding[] }

/** Operations that answer JSON, by operationId. */
export interface Operations {
  /** GET /v1/status: This node. */
  readonly status: { readonly answer: NodeStatus; readonly query: undefined; readonly body: undefined }
  /** GET /v1/disks: Disks that the ring opens, and nodes that were wiped. */
  readonly disks: { readonly answer: Disks; readonly query: undefined; readonly body: undefined }
  /** GET /v1/nodes: All nodes, as this one sees them. */
  readonly nodes: { readonly answer: Nodes; readonly query: undefined; readonly body: undefined }
  /** GET /v1/check: What is well and what is not, with fixes. */
  readonly check: { readonly answer: Check; readonly query: undefined; readonly body: undefined }
  /** GET /v1/policy: The policy in force. */
  readonly policy: { readonly answer: PolicyInForce; readonly query: undefined; readonly body: undefined }
  /** POST /v1/policy/plan: What a policy would change. */
  readonly policyPlan: { readonly answer: PolicyPlan; readonly query: undefined; readonly body: PlanRequest }
  /** POST /v1/transactions: Proposes a signed transaction and waits for finality. */
  readonly submitSigned: { readonly answer: Committed | Waiting; readonly query: undefined; readonly body: TransactionRequest }
  /** POST /v1/transactions/rehearsal: Says what the ring would say to a statement, before it is signed. */
  readonly rehearse: { readonly answer: Rehearsed; readonly query: undefined; readonly body: RehearsalRequest }
  /** POST /v1/access: Whether a principal may do something, as a request would be told. */
  readonly access: { readonly answer: Access; readonly query: undefined; readonly body: AccessRequest }
  /** POST /access/v1/evaluation: Access evaluation of AuthZEN 1.0. */
  readonly evaluation: { readonly answer: Evaluation; readonly query: undefined; readonly body: EvaluationRequest }
  /** POST /access/v1/evaluations: Access evaluations of AuthZEN 1.0, several at once. */
  readonly evaluations: { readonly answer: Evaluations; readonly query: undefined; readonly body: EvaluationsRequest }
  /** GET /v1/approvals: What waits for more operators to approve it. */
  readonly approvals: { readonly answer: Approvals; readonly query: undefined; readonly body: undefined }
  /** GET /v1/denials: Denials in force here, provisional ones first. */
  readonly denials: { readonly answer: Denials; readonly query: undefined; readonly body: undefined }
  /** GET /v1/decisions: Decisions of this node, newest first. */
  readonly decisions: { readonly answer: Decisions; readonly query: { readonly outcome?: 'allow' | 'deny' | 'challenge' | 'throttle'; readonly source?: string; readonly sinceMs?: number; readonly limit?: number }; readonly body: undefined }
  /** GET /v1/decisions/{requestId}: One decision, of whichever node, with its trace. */
  readonly explain: { readonly answer: Explanation; readonly query: undefined; readonly body: undefined }
  /** GET /v1/decisions/{requestId}/receipt: One decision with proof of what it rested on, to be verified offline. */
  readonly receipt: { readonly answer: Receipt; readonly query: undefined; readonly body: undefined }
  /** GET /v1/incidents: Findings of all nodes that belong together, the latest first. */
  readonly incidents: { readonly answer: Incidents; readonly query: { readonly state?: 'open' | 'closed' | 'all' }; readonly body: undefined }
  /** GET /v1/playbooks: Playbooks of the policy. */
  readonly playbooks: { readonly answer: Playbooks; readonly query: undefined; readonly body: undefined }
  /** POST /v1/playbooks/rehearsal: What each step would come to now. */
  readonly playbookRehearsal: { readonly answer: PlaybookRehearsal; readonly query: undefined; readonly body: PlaybookRehearsalRequest }
  /** GET /v1/playbooks/runs: Runs of playbooks, the latest first. */
  readonly playbookRuns: { readonly answer: PlaybookRuns; readonly query: { readonly state?: 'open' | 'over' | 'all' }; readonly body: undefined }
  /** GET /v1/playbooks/runs/{id}: One run. */
  readonly playbookRun: { readonly answer: PlaybookRun; readonly query: undefined; readonly body: undefined }
  /** GET /v1/playbooks/runs/{id}/evidence: What a step kept, of the node that did it. */
  readonly playbookEvidence: { readonly answer: PlaybookEvidence; readonly query: undefined; readonly body: undefined }
  /** GET /v1/notify: Where this node tells what happens. */
  readonly notifyChannels: { readonly answer: NotifyChannels; readonly query: undefined; readonly body: undefined }
  /** POST /v1/notify/{name}/test: Has this node tell the channel something. */
  readonly notifyTest: { readonly answer: NotifyTest; readonly query: undefined; readonly body: undefined }
  /** GET /v1/incidents/{id}: One incident with its timeline. */
  readonly incident: { readonly answer: IncidentDetail; readonly query: undefined; readonly body: undefined }
  /** GET /v1/incidents/{id}/evidence: An incident with receipts and denials, signed, to verify elsewhere. */
  readonly incidentEvidence: { readonly answer: IncidentEvidence; readonly query: undefined; readonly body: undefined }
  /** POST /v1/incidents/{id}/assign: Who works on it from now on. */
  readonly incidentAssign: { readonly answer: IncidentDetail; readonly query: undefined; readonly body: IncidentAssignRequest }
  /** POST /v1/incidents/{id}/close: It is done with, until something more is found. */
  readonly incidentClose: { readonly answer: IncidentDetail; readonly query: undefined; readonly body: IncidentCloseRequest }
  /** GET /v1/model: The model of requests on this node. */
  readonly model: { readonly answer: Model; readonly query: undefined; readonly body: undefined }
  /** POST /v1/model/train: Has the ring train a model, led by this node. It judges nothing until the policy names it. */
  readonly modelTrain: { readonly answer: ModelTrained; readonly query: undefined; readonly body: undefined }
  /** POST /v1/model/labels: What a request was, to train on; one that this node keeps. */
  readonly modelLabel: { readonly answer: ModelLabelled; readonly query: undefined; readonly body: ModelLabelRequest }
  /** GET /v1/model/scores/{requestId}: What the model in use says of a request, and why. */
  readonly modelScore: { readonly answer: ModelScore; readonly query: undefined; readonly body: undefined }
  /** GET /v1/feeds: Whose decisions this node takes in, and how it stands. */
  readonly feeds: { readonly answer: Feeds; readonly query: undefined; readonly body: undefined }
  /** GET /v1/bouncers: Programs that enforce denials elsewhere, and when each last asked. */
  readonly bouncers: { readonly answer: Bouncers; readonly query: undefined; readonly body: undefined }
  /** GET /v1/traces/{traceId}: The spans of a trace, of all nodes that answer. */
  readonly trace: { readonly answer: Trace; readonly query: undefined; readonly body: undefined }
  /** GET /v1/ledger: Final blocks, newest first. */
  readonly ledger: { readonly answer: Blocks; readonly query: { readonly from?: number; readonly limit?: number }; readonly body: undefined }
  /** GET /v1/ledger/{height}: One block. */
  readonly block: { readonly answer: BlockDetail; readonly query: undefined; readonly body: undefined }
  /** GET /v1/events: What happened on this node, newest first. */
  readonly events: { readonly answer: NodeEvents; readonly query: { readonly limit?: number }; readonly body: undefined }
  /** GET /v1/rules: Rules of the policy in force, with what they matched and cost. */
  readonly rules: { readonly answer: Rules; readonly query: { readonly scope?: 'ring' | 'node' }; readonly body: undefined }
  /** GET /v1/rules/{id}: One rule: its text, what it does, its counters by node. */
  readonly rule: { readonly answer: RuleDetail; readonly query: { readonly scope?: 'ring' | 'node' }; readonly body: undefined }
  /** GET /v1/estimate: What rules that only watch would refuse, and how much of it looks wrong. */
  readonly estimate: { readonly answer: Estimate; readonly query: { readonly scope?: 'ring' | 'node' }; readonly body: undefined }
  /** GET /v1/exceptions: What rules do not look at, lapsed exceptions too. */
  readonly exceptions: { readonly answer: Exceptions; readonly query: undefined; readonly body: undefined }
  /** POST /v1/exceptions/propose: The narrowest exceptions with which a recorded request would pass. */
  readonly exceptionPropose: { readonly answer: ExceptionProposal; readonly query: undefined; readonly body: ExceptionProposeRequest }
  /** POST /v1/exceptions/replay: What exceptions would let through, of the requests that nodes recorded. */
  readonly exceptionReplay: { readonly answer: ExceptionReplay; readonly query: undefined; readonly body: ExceptionReplayRequest }
  /** GET /v1/endpoints: Operations that services declare, and endpoints that none does, as asked of this node. */
  readonly endpoints: { readonly answer: Endpoints; readonly query: undefined; readonly body: undefined }
  /** GET /v1/keys: The key that the validators hold together. */
  readonly keys: { readonly answer: Keys; readonly query: undefined; readonly body: undefined }
  /** GET /v1/keys/saml: The key that this node signs SAML assertions by. */
  readonly samlKey: { readonly answer: SamlKey; readonly query: undefined; readonly body: undefined }
  /** GET /v1/workloads: Programs on the machine of the node, and the services that they are. */
  readonly workloads: { readonly answer: Workloads; readonly query: undefined; readonly body: undefined }
  /** POST /v1/tokens: A token, signed by the ring. */
  readonly tokenMint: { readonly answer: MintedToken; readonly query: undefined; readonly body: MintBody }
  /** POST /v1/tokens/introspect: Whether a token is good now, and what it says (RFC 7662). */
  readonly tokenIntrospect: { readonly answer: Introspection; readonly query: undefined; readonly body: undefined }
  /** POST /v1/svids: An X.509-SVID, signed by the ring. */
  readonly svidMint: { readonly answer: MintedSvid; readonly query: undefined; readonly body: MintBody }
  /** GET /v1/people: People of the ring’s own directory. */
  readonly people: { readonly answer: People; readonly query: undefined; readonly body: undefined }
  /** GET /v1/vault: The sealing key and its holders. */
  readonly vaultFacts: { readonly answer: VaultFacts; readonly query: undefined; readonly body: undefined }
  /** POST /v1/vault/open: Has secrets opened for whoever signed the request. */
  readonly vaultOpen: { readonly answer: VaultAnswers; readonly query: undefined; readonly body: VaultOpenBody }
  /** GET /v1/vault/secrets: Secrets that the operator may read or write. */
  readonly vaultSecrets: { readonly answer: VaultSecrets; readonly query: { readonly path?: string }; readonly body: undefined }
  /** GET /v1/vault/history: Versions of a secret, and openings with this node’s share. */
  readonly vaultHistory: { readonly answer: VaultHistory; readonly query: { readonly name?: string }; readonly body: undefined }
  /** GET /v1/leases: Database users that there are, of roles that the operator may use. */
  readonly leases: { readonly answer: Leases; readonly query: undefined; readonly body: undefined }
  /** GET /v1/leases/{id}: A lease of a database user. */
  readonly lease: { readonly answer: Lease; readonly query: undefined; readonly body: undefined }
  /** POST /v1/statements: Proposes what the holder of a pass states. */
  readonly statement: { readonly answer: Stated; readonly query: undefined; readonly body: StatementBody }
  /** GET /v1/vault/objects: How the shards of objects on this node stand, and the access keys of the ring. */
  readonly vaultObjects: { readonly answer: VaultObjects; readonly query: undefined; readonly body: undefined }
  /** GET /v1/vault/shards: Buckets, and how the shards of objects stand on every node of the ring. */
  readonly vaultShards: { readonly answer: VaultShards; readonly query: undefined; readonly body: undefined }
  /** GET /v1/transit/keys: Keys of the transit that the operator may use or manage. */
  readonly transitKeys: { readonly answer: TransitKeys; readonly query: undefined; readonly body: undefined }
  /** GET /v1/transit/key: A key of the transit. */
  readonly transitKey: { readonly answer: TransitKeyFacts; readonly query: { readonly name?: string }; readonly body: undefined }
  /** POST /v1/transit/use: Has keys of the transit used for whoever signed the request. */
  readonly transitUse: { readonly answer: TransitAnswers; readonly query: undefined; readonly body: VaultOpenBody }
  /** POST /v1/transit/sign: A signature by a key of the transit. */
  readonly transitSign: { readonly answer: TransitSignature; readonly query: undefined; readonly body: MintBody }
  /** GET /v1/enrolment: Invitations and devices, and where the nodes of the ring are found. */
  readonly enrolment: { readonly answer: Enrolment; readonly query: undefined; readonly body: undefined }
  /** GET /v1/fleet: Labels, holds and versions of nodes, releases, and how far updates are. */
  readonly fleet: { readonly answer: Fleet; readonly query: undefined; readonly body: undefined }
  /** GET /v1/top: What was asked most, on this node. */
  readonly top: { readonly answer: Top; readonly query: { readonly by?: 'source' | 'path' | 'rule' | 'service'; readonly windowMs?: number; readonly limit?: number }; readonly body: undefined }
}

/** Method and path of each of them. */
export const OPERATIONS = {
  status: ['GET', '/v1/status'],
  disks: ['GET', '/v1/disks'],
  nodes: ['GET', '/v1/nodes'],
  check: ['GET', '/v1/check'],
  policy: ['GET', '/v1/policy'],
  policyPlan: ['POST', '/v1/policy/plan'],
  submitSigned: ['POST', '/v1/transactions'],
  rehearse: ['POST', '/v1/transactions/rehearsal'],
  access: ['POST', '/v1/access'],
  evaluation: ['POST', '/access/v1/evaluation'],
  evaluations: ['POST', '/access/v1/evaluations'],
  approvals: ['GET', '/v1/approvals'],
  denials: ['GET', '/v1/denials'],
  decisions: ['GET', '/v1/decisions'],
  explain: ['GET', '/v1/decisions/{requestId}'],
  receipt: ['GET', '/v1/decisions/{requestId}/receipt'],
  incidents: ['GET', '/v1/incidents'],
  playbooks: ['GET', '/v1/playbooks'],
  playbookRehearsal: ['POST', '/v1/playbooks/rehearsal'],
  playbookRuns: ['GET', '/v1/playbooks/runs'],
  playbookRun: ['GET', '/v1/playbooks/runs/{id}'],
  playbookEvidence: ['GET', '/v1/playbooks/runs/{id}/evidence'],
  notifyChannels: ['GET', '/v1/notify'],
  notifyTest: ['POST', '/v1/notify/{name}/test'],
  incident: ['GET', '/v1/incidents/{id}'],
  incidentEvidence: ['GET', '/v1/incidents/{id}/evidence'],
  incidentAssign: ['POST', '/v1/incidents/{id}/assign'],
  incidentClose: ['POST', '/v1/incidents/{id}/close'],
  model: ['GET', '/v1/model'],
  modelTrain: ['POST', '/v1/model/train'],
  modelLabel: ['POST', '/v1/model/labels'],
  modelScore: ['GET', '/v1/model/scores/{requestId}'],
  feeds: ['GET', '/v1/feeds'],
  bouncers: ['GET', '/v1/bouncers'],
  trace: ['GET', '/v1/traces/{traceId}'],
  ledger: ['GET', '/v1/ledger'],
  block: ['GET', '/v1/ledger/{height}'],
  events: ['GET', '/v1/events'],
  rules: ['GET', '/v1/rules'],
  rule: ['GET', '/v1/rules/{id}'],
  estimate: ['GET', '/v1/estimate'],
  exceptions: ['GET', '/v1/exceptions'],
  exceptionPropose: ['POST', '/v1/exceptions/propose'],
  exceptionReplay: ['POST', '/v1/exceptions/replay'],
  endpoints: ['GET', '/v1/endpoints'],
  keys: ['GET', '/v1/keys'],
  samlKey: ['GET', '/v1/keys/saml'],
  workloads: ['GET', '/v1/workloads'],
  tokenMint: ['POST', '/v1/tokens'],
  tokenIntrospect: ['POST', '/v1/tokens/introspect'],
  svidMint: ['POST', '/v1/svids'],
  people: ['GET', '/v1/people'],
  vaultFacts: ['GET', '/v1/vault'],
  vaultOpen: ['POST', '/v1/vault/open'],
  vaultSecrets: ['GET', '/v1/vault/secrets'],
  vaultHistory: ['GET', '/v1/vault/history'],
  leases: ['GET', '/v1/leases'],
  lease: ['GET', '/v1/leases/{id}'],
  statement: ['POST', '/v1/statements'],
  vaultObjects: ['GET', '/v1/vault/objects'],
  vaultShards: ['GET', '/v1/vault/shards'],
  transitKeys: ['GET', '/v1/transit/keys'],
  transitKey: ['GET', '/v1/transit/key'],
  transitUse: ['POST', '/v1/transit/use'],
  transitSign: ['POST', '/v1/transit/sign'],
  enrolment: ['GET', '/v1/enrolment'],
  fleet: ['GET', '/v1/fleet'],
  top: ['GET', '/v1/top'],
} as const satisfies Record<keyof Operations, readonly [string, string]>
