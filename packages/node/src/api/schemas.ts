/** The shapes of the admin API as JSON Schema (draft 2020-12), by name: components of the OpenAPI document. */

/** The part of JSON Schema that is used here, and that the client's types are generated from. */
export interface Schema {
  readonly type?: string | readonly string[]
  readonly description?: string
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  readonly additionalProperties?: boolean | Schema
  readonly items?: Schema
  readonly enum?: readonly (string | number)[]
  readonly const?: string
  readonly oneOf?: readonly Schema[]
  readonly $ref?: string
  readonly minimum?: number
  readonly maximum?: number
}

const text: Schema = { type: 'string' }
const number: Schema = { type: 'number' }
const whole: Schema = { type: 'integer' }
const flag: Schema = { type: 'boolean' }
const anything: Schema = {}

const orNull = (schema: Schema): Schema => ({ oneOf: [schema, { type: 'null' }] })
const list = (items: Schema): Schema => ({ type: 'array', items })
const choice = (...values: readonly string[]): Schema => ({ type: 'string', enum: values })
const ref = (name: string): Schema => ({ $ref: `#/components/schemas/${name}` })
const described = (description: string, schema: Schema): Schema => ({ ...schema, description })

/** An object all of whose properties are always there, but those whose name ends in `?`. */
function object(description: string, properties: Readonly<Record<string, Schema>>): Schema {
  const entries = Object.entries(properties)
  return {
    type: 'object',
    description,
    properties: Object.fromEntries(entries.map(([name, schema]) => [name.replace(/\?$/, ''), schema])),
    required: entries.flatMap(([name]) => (name.endsWith('?') ? [] : [name])),
    additionalProperties: false,
  }
}

const ms = described('Unix milliseconds.', number)
const outcome = choice('allow', 'deny', 'challenge', 'throttle')

export const schemas: Readonly<Record<string, Schema>> = {
  Problem: object('Why a call was refused (RFC 9457).', {
    type: text,
    title: text,
    status: whole,
    detail: described('One sentence: what, and what to do.', text),
    code: described('Stable; switch on it.', text),
    'problems?': list(anything),
  }),
  Readiness: object('Whether the node takes traffic with a certified view.', { ready: flag, reason: text }),
  LedgerStatus: object('How far this node’s ledger is, and with whom.', {
    height: whole,
    round: whole,
    digest: text,
    root: described('Commitment to the state.', text),
    timestampMs: ms,
    viewAgeMs: described('Since the last certified block; null: none since start.', orNull(number)),
    lag: described('Blocks that peers are known to be ahead.', whole),
    epoch: described('Counts changes of the validators.', whole),
    role: described('Whether this node has a vote, or follows those who have.', choice('validator', 'follower')),
    validators: whole,
    quorum: whole,
    faultsTolerated: whole,
    reachable: list(text),
    unreachable: list(text),
    mempool: whole,
    syncing: flag,
    firstHeight: described('Oldest block on this node’s disk.', whole),
    bytes: described('Of the blocks on this node’s disk.', whole),
    snapshotHeight: described('Block after which the newest snapshot was taken; 0: none yet.', whole),
    evidence: list(object('A validator that contradicted itself.', { validator: text, kind: text, round: whole })),
    repairs: described('What was found wrong on disk at start.', list(text)),
    halted: described('Why nothing is accepted any more; null while all is well.', orNull(text)),
  }),
  Link: object('The link to one peer.', {
    id: text,
    region: text,
    connected: flag,
    reason: orNull(text),
    roundTripMs: orNull(number),
    clockOffsetMs: described('The peer’s clock minus ours.', orNull(number)),
    sentBytes: number,
    receivedBytes: number,
  }),
  Upstream: object('Where requests of a service go.', {
    service: text,
    url: text,
    region: orNull(text),
    healthy: flag,
    reason: orNull(text),
  }),
  Traffic: object('Counts since start, and rates of the last seconds.', {
    requests: whole,
    allowed: whole,
    denied: whole,
    throttled: whole,
    upstreamErrors: whole,
    requestsPerSecond: number,
    deniedPerSecond: number,
  }),
  NodeStatus: object('One node, by itself.', {
    node: text,
    region: text,
    ring: text,
    version: text,
    pid: whole,
    startedAtMs: ms,
    roles: list(choice('validator', 'edge')),
    listen: object('Where it listens.', { traffic: text, admin: text, fabric: text }),
    ledger: ref('LedgerStatus'),
    policyVersion: whole,
    denials: whole,
    provisionalDenials: whole,
    pendingDenials: described('Said by nodes, and not by enough of them yet.', whole),
    unconfirmedDenials: list(ref('UnconfirmedDenials')),
    links: list(ref('Link')),
    upstreams: list(ref('Upstream')),
    traffic: ref('Traffic'),
  }),
  UnconfirmedDenials: object('Denials of the last hour that an issuer signed and nobody confirmed.', {
    issuer: text,
    count: whole,
  }),
  NodeSummary: object('A node of the ring, as the asked one sees it. Null: it does not answer.', {
    id: text,
    region: text,
    roles: list(choice('validator', 'edge')),
    self: flag,
    reachable: flag,
    reason: orNull(text),
    roundTripMs: orNull(number),
    height: orNull(whole),
    lag: orNull(whole),
    viewAgeMs: orNull(number),
    policyVersion: orNull(whole),
    denials: orNull(whole),
    requestsPerSecond: orNull(number),
    deniedPerSecond: orNull(number),
    version: orNull(text),
    adminUrl: orNull(text),
  }),
  Nodes: object('All nodes of the ring.', { nodes: list(ref('NodeSummary')) }),
  CheckFinding: object('One thing that is well or is not.', {
    group: choice('ring', 'ledger', 'links', 'clock', 'policy', 'upstreams', 'storage', 'traffic'),
    level: choice('ok', 'warn', 'bad'),
    what: text,
    fix: orNull(text),
  }),
  Check: object('What is well and what is not.', { findings: list(ref('CheckFinding')) }),
  PolicyInForce: object('The policy that this node enforces.', { version: whole, height: whole, text, changedAtMs: orNull(ms) }),
  PolicyProblem: object('One mistake in a policy.', {
    line: whole,
    column: whole,
    path: text,
    message: text,
    hint: orNull(text),
  }),
  PolicyChange: object('One difference between policies.', {
    kind: choice('add', 'remove', 'change'),
    path: text,
    before: anything,
    after: anything,
  }),
  PolicyPlan: object('What applying a policy would change.', {
    version: described('Of the policy in force: to be named when applying.', whole),
    valid: flag,
    problems: list(ref('PolicyProblem')),
    changes: list(ref('PolicyChange')),
    tests: list(ref('PolicyTestResult')),
    costs: list(ref('RuleCost')),
  }),
  PolicyTestResult: object('One of the policy’s own tests, and how it went.', {
    name: text,
    ok: flag,
    expected: text,
    got: text,
    work: described('Of the rules, in units.', whole),
  }),
  RuleCost: object('What a choice of rules costs on a fixed sample request, in units of work.', {
    where: described('The service or route that makes the choice.', text),
    sample: choice('page', 'form', 'json', 'upload'),
    work: whole,
    budget: whole,
  }),
  PlanRequest: object('A policy to look at.', { text: described('YAML.', text) }),
  TransactionRequest: object('A signed transaction.', {
    tx: described(
      '`{content, signature}`; the signature is Ed25519 over `RINGWALL_TX_V1`, a newline and the content as canonical JSON (RFC 8785).',
      { type: 'object' },
    ),
    'waitMs?': described('How long to wait for finality.', { type: 'integer', minimum: 0, maximum: 60_000 }),
  }),
  RehearsalRequest: object('A statement that nobody has signed.', {
    content: described('As in `tx` of a transaction, without its signature.', { type: 'object' }),
  }),
  Rehearsed: object('The ring would take it, as things are now.', { height: whole }),
  Committed: object('Final, and on this node’s disk.', {
    id: text,
    height: whole,
    digest: text,
    elapsedMs: number,
    'waits?': ref('WaitsForApproval'),
  }),
  WaitsForApproval: object('Final, but not applied before more operators have approved it.', {
    id: described('To be named when approving.', text),
    signedBy: list(text),
    needed: described('How many operators must have signed.', whole),
    lapsesAtMs: ms,
  }),
  PendingApproval: object('A statement that waits for operators.', {
    id: text,
    type: text,
    issuer: text,
    atMs: ms,
    summary: text,
    signedBy: list(text),
    needed: whole,
    lapsesAtMs: ms,
    changes: described('Of a policy, against the one in force.', list(ref('PolicyChange'))),
  }),
  Approvals: object('What waits for operators, oldest first.', { approvals: list(ref('PendingApproval')) }),
  Waiting: object('Enforced provisionally, waiting for a quorum.', { id: text, provisional: flag, waiting: text }),
  DenialSubject: {
    oneOf: [
      object('One address.', { kind: { const: 'ip' }, value: text }),
      object('A prefix.', { kind: { const: 'cidr' }, value: text }),
      object('A token, by its jti.', { kind: { const: 'token' }, value: text }),
      object('A subject, by its sub.', { kind: { const: 'subject' }, value: text }),
      object('An account, hashed.', { kind: { const: 'account' }, service: text, value: text }),
    ],
  },
  Denial: object('What is denied, why, by whom, until when.', {
    id: text,
    subject: ref('DenialSubject'),
    reason: text,
    issuer: text,
    'statedBy?': described('The nodes that said so, when it took several.', list(text)),
    issuedAtMs: ms,
    expiresAtMs: ms,
    height: orNull(whole),
    provisional: flag,
  }),
  Statement: object('What one node says; it counts until it lapses.', {
    issuer: text,
    reason: text,
    issuedAtMs: ms,
    expiresAtMs: ms,
    lapsesAtMs: ms,
  }),
  PendingDenial: object('What some nodes say, and not enough of them yet.', {
    id: text,
    subject: ref('DenialSubject'),
    statements: list(ref('Statement')),
    nodesNeeded: whole,
    regionsNeeded: whole,
  }),
  Denials: object('All denials in force here, and what waits for more nodes to say so.', {
    denials: list(ref('Denial')),
    pending: list(ref('PendingDenial')),
  }),
  RuleMatch: object('A rule that matched, and where.', {
    ruleId: whole,
    message: text,
    severity: text,
    variable: text,
    excerpt: text,
  }),
  Decision: object('One request, and what became of it.', {
    requestId: text,
    atMs: ms,
    node: text,
    region: text,
    traceId: text,
    source: text,
    method: text,
    host: text,
    path: described('Without the query.', text),
    'service?': text,
    'route?': text,
    outcome,
    shadowOutcome: described('What it would have been in enforce mode.', outcome),
    check: text,
    status: whole,
    reason: text,
    'rule?': text,
    height: described('Of the ledger, when it was judged.', whole),
    viewAgeMs: number,
    stale: described('The view was older than the route tolerates: refused, or judged on, as the policy says.', flag),
    provisional: flag,
    wafScore: number,
    matches: list(ref('RuleMatch')),
    guardUs: number,
    totalUs: number,
  }),
  Decisions: object('Newest first.', { decisions: list(ref('Decision')) }),
  Span: object('A step of a trace. Times are Unix microseconds.', {
    traceId: text,
    spanId: text,
    'parentSpanId?': text,
    name: text,
    kind: choice('server', 'client', 'internal'),
    startUs: number,
    endUs: number,
    ok: flag,
    attributes: { type: 'object', additionalProperties: { oneOf: [text, number, flag] } },
  }),
  Explanation: object('A decision with its trace, and the denial if one decided.', {
    decision: ref('Decision'),
    spans: list(ref('Span')),
    denial: orNull(ref('Denial')),
  }),
  Receipt: object('A decision, signed by its node, with proof of the state it rested on. See `ringwall receipt verify`.', {
    format: text,
    ring: text,
    decision: ref('Decision'),
    signature: text,
    provenHeight: whole,
    blocks: text,
    state: anything,
    nodes: list(anything),
    policy: text,
    denial: anything,
  }),
  Trace: object('All spans of a trace that nodes know.', { spans: list(ref('Span')) }),
  BlockSummary: object('A final block.', {
    height: whole,
    round: whole,
    digest: text,
    parent: text,
    proposer: text,
    timestampMs: ms,
    transactions: whole,
  }),
  Blocks: object('Final blocks, newest first.', { height: whole, blocks: list(ref('BlockSummary')) }),
  TransactionSummary: object('A transaction in a block.', { id: text, type: text, issuer: text, summary: text }),
  BlockDetail: object('A final block with its transactions and who certified it.', {
    height: whole,
    round: whole,
    digest: text,
    parent: text,
    proposer: text,
    timestampMs: ms,
    transactions: list(ref('TransactionSummary')),
    certificate: object('A quorum’s signatures on this block or a descendant.', {
      kind: text,
      round: whole,
      digest: orNull(text),
      signers: list(text),
    }),
  }),
  NodeEvent: object('What happened on the node.', {
    atMs: ms,
    kind: text,
    level: choice('info', 'warn', 'bad'),
    what: text,
    node: text,
  }),
  NodeEvents: object('Newest first.', { events: list(ref('NodeEvent')) }),
  OperationActivity: object('A declared operation, and how often it was asked of this node.', {
    service: text,
    operation: described('Method and path as declared.', text),
    requests: whole,
    outside: described('Of these, outside of what is declared.', whole),
    lastAtMs: orNull(ms),
  }),
  UnknownEndpoint: object('An endpoint that is not declared.', {
    service: text,
    method: text,
    path: described('With {} for what looks like an id.', text),
    requests: whole,
    firstAtMs: ms,
    lastAtMs: ms,
    statuses: list(object('How often a status was the answer.', { status: whole, requests: whole })),
  }),
  Endpoints: object('What services with an api were asked, on this node.', {
    sinceMs: ms,
    operations: list(ref('OperationActivity')),
    unknown: described('Most asked first; at most 500.', list(ref('UnknownEndpoint'))),
    dropped: described('Unknown endpoints that made room for others.', whole),
  }),
  TopRow: object('How often something was asked. `denied` counts all that was not allowed.', {
    key: text,
    requests: whole,
    denied: whole,
  }),
  Top: object('What was asked most.', { rows: list(ref('TopRow')) }),
}
