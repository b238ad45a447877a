/** One node: wires the packages in the order in which they need each other. No domain logic lives here. */

import { type KeyObject, randomInt } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import {
  ANOMALY_SUMMARY_VERSION,
  INSIDER_SUMMARY_VERSION,
  RULE_SUMMARY_VERSION,
  type Signal,
  SOURCE_SUMMARY_VERSION,
} from '@ringwall/detect'
import { readQuote } from '@ringwall/enroll'
import { createFabric } from '@ringwall/fabric'
import { createGuard, createRateLimiter, type GuardEnvironment } from '@ringwall/guard'
import { createProofReplays, verifyOperatorToken } from '@ringwall/identity'
import { type EvidenceStatement, LedgerError, type LedgerEvidence, openLedger } from '@ringwall/ledger'
import { Challenges, createProxy, type LoginEvent } from '@ringwall/proxy'
import { type NewFinding, Notifier } from '@ringwall/respond'
import {
  type Denial,
  type DenialSubject,
  denialOf,
  denialOfReuse,
  genesisHash,
  isCredentialSubject,
  isEnrolmentStatement,
  isFleetStatement,
  KEY_NAMES,
  type KeyName,
  nodeSubject,
  type Person,
  publicKeyOf,
  type RingApplication,
  type RingState,
  type SignedStatement,
  TX_SKEW_MS_MAX,
  type View,
} from '@ringwall/ring'
import {
  decodeBase64url,
  encodeBase64url,
  encodeTx,
  orderStatements,
  parseTx,
  signingBytes,
  subjectId,
  type TxBody,
  txId,
} from '@ringwall/ring/tx'
import { lockDirectory } from '@ringwall/store'
import { openTelemetry } from '@ringwall/telemetry'
import type { Reader } from '@ringwall/vault'
import { AcmeCertificates } from './acme/certificates.ts'
import { Proofs } from './acme/proofs.ts'
import { unsealer } from './acme/unseal.ts'
import { formatHostPort } from './address.ts'
import { AdminServer, CONSOLE_DIRECTORY } from './admin/http.ts'
import { adminOperations } from './admin/operations.ts'
import { AnomalyWatch, describeAnomaly, followAnomalies, keepAnomalies } from './anomaly-watch.ts'
import { ApiActivity } from './api-activity.ts'
import { AuditLog } from './audit-log.ts'
import { BotNames } from './bot-names.ts'
import { Bouncers } from './bouncers/bouncers.ts'
import { openBreaches } from './breached-passwords.ts'
import { ConductWatch, describeConduct } from './conduct-watch.ts'
import { type NodeConfig, USUAL_OBJECT_SETTINGS } from './config.ts'
import { DetectionWatch, describeDetected, followDetection, keepDetection, signalOf } from './detection.ts'
import { askAtStart } from './disk/ask-at-start.ts'
import { openDisk, PASSPHRASE_VARIABLE } from './disk/disk.ts'
import { DiskKeeper } from './disk/disk-keeper.ts'
import { ReleaseHolder } from './disk/release-holder.ts'
import { traceKey } from './disk/trace-key.ts'
import { Wiper } from './disk/wiper.ts'
import { announceOnLink } from './enrolment/announce.ts'
import { Attester } from './enrolment/attester.ts'
import { configuredMeasurer } from './enrolment/measure.ts'
import { NodeReception } from './enrolment/reception.ts'
import { summarizeEnrolment } from './enrolment/summary.ts'
import { showExpelled } from './enrolment/trust.ts'
import { Vouching } from './enrolment/vouching.ts'
import { StartError } from './errors.ts'
import { EstServer } from './est/est-server.ts'
import { EventLog } from './events.ts'
import { credentialsOf, ExpiryWatch } from './expiry-watch.ts'
import { CrowdsecFeed } from './feeds/crowdsec-feed.ts'
import { openFeed } from './feeds/feed-config.ts'
import { TaxiiFeed } from './feeds/taxii-feed.ts'
import { AgeWatch, showAged } from './fleet/age-watch.ts'
import { followReleases } from './fleet/follow-releases.ts'
import { HoldWatch } from './fleet/hold-watch.ts'
import { movedServices } from './fleet/moved-services.ts'
import { ageOfView, type Standing, whyNotCurrent } from './fleet/offline.ts'
import { summarizeFleet } from './fleet/summary.ts'
import { FloodWatch } from './floods.ts'
import { HashicorpFace } from './hashicorp/face.ts'
import { factsOf } from './hashicorp/face-node.ts'
import { ofAnomaly, ofDetected, ofFailedLogins, ofFlood, ofSlowLogins } from './incident-findings.ts'
import { IncidentDesk } from './incidents.ts'
import { openTaxiiSource } from './indicators/indicator-config.ts'
import { IndicatorStore } from './indicators/indicator-store.ts'
import { describeInsider, InsiderWatch } from './insider-watch.ts'
import { randomNonce, rawPublicKey, readPrivateKey, signMessage } from './keys.ts'
import { isKnownDenial } from './known-denials.ts'
import { LeaseKeeper } from './leases/lease-keeper.ts'
import { LoginWatch } from './logins.ts'
import { Members, peerOf } from './members.ts'
import { NodeModel } from './model/node-model.ts'
import { Objects } from './objects/objects.ts'
import { ownDenials } from './own-denials.ts'
import { ownEntry, readGenesis } from './own-entry.ts'
import { PassKeys, usePassKeys } from './pass-keys.ts'
import { LoginForms } from './people/login-forms.ts'
import { LoginPortal } from './people/login-portal.ts'
import { outsideHttp } from './people/outside-http.ts'
import { Passwords } from './people/passwords.ts'
import { ProviderKeys } from './people/provider-keys.ts'
import { ProviderSecrets } from './people/provider-secrets.ts'
import { SamlKey } from './people/saml-key.ts'
import { SignalStreams, STREAMS_VERSION } from './people/signal-streams.ts'
import { openPlaces } from './places.ts'
import { EarlyDenials, UNCONFIRMED_MAX } from './provisional.ts'
import { PeerQueries } from './queries.ts'
import { proxyRecorder } from './recorder.ts'
import { RequestArchive } from './request-archive.ts'
import { isAtLeast, messageOf, tellsOf } from './respond/incident-message.ts'
import { openChannel } from './respond/notify-channels.ts'
import { NodePlaybooks } from './respond/playbooks.ts'
import { ringApplication } from './ring-application.ts'
import { RingLimits } from './ring-limits.ts'
import { cachingCompiler } from './rule-cache.ts'
import { RuleTiming } from './rule-timing.ts'
import { RuleWatch } from './rule-watch.ts'
import { loadRuleLibrary } from './rules.ts'
import type { RingLedger, RunningNode } from './running-node.ts'
import { S3Server } from './s3/s3-server.ts'
import { Foresight } from './signing/foresight.ts'
import { KeyHolder } from './signing/key-holder.ts'
import type { NodeShare } from './signing/node-share.ts'
import { NonceNumbers } from './signing/nonce-numbers.ts'
import { Seal } from './signing/sealed-file.ts'
import { SigningService } from './signing/signing-service.ts'
import { SlowLoginWatch } from './slow-login-watch.ts'
import { sourceMeter } from './source-meter.ts'
import { describeSubject } from './subject-text.ts'
import { startTaxii } from './taxii/node-taxii.ts'
import { peersOf, sameKeys, tokensOf } from './token-trust.ts'
import { type Traffic, TrafficWorkers } from './traffic-workers.ts'
import { OpeningLog } from './vault/opening-log.ts'
import { VaultService } from './vault/vault-service.ts'
import { VERSION } from './version.ts'
import { WorkloadApi } from './workloads/workload-api.ts'

const TICK_MS = 500

const TX_VALID_MS = 60_000

const OWN_DENIAL_WAIT_MS = 30_000

/** A claim lasts little longer. */
const PLAY_WAIT_MS = 5_000

/** What comes within so long is told as one message. */
const NOTIFY_GROUP_MS = 5_000

const REDEEM_WAIT_MS = 8_000

const DRAIN_MS = 2_000

const KEY_TICK_MS = 500

/** A view is the ring’s when a quorum certified it so lately. */
const CURRENT_MS = 60_000

/** Blocks that are older come while catching up. */
const FORESEEN_MS_MAX = 10_000

/** @throws {StartError} And the errors of fabric and ledger: each message is one line that says what to do. */
export async function startNode(config: NodeConfig): Promise<RunningNode> {
  const startedAtMs = Date.now()
  const privateKey = readPrivateKey(config.key)
  const genesis = readGenesis(config.genesis)
  const publicKey = rawPublicKey(privateKey)
  const self = ownEntry(genesis, config, publicKey)
  const ring = genesisHash(genesis)
  mkdirSync(config.data, { recursive: true, mode: 0o700 })
  const lock = await lockDirectory(config.data).catch((cause: Error) => {
    throw new StartError('DATA_IN_USE', cause.message, { cause })
  })
  const events = new EventLog(config.id)
  const log = (level: 'info' | 'warn', line: string): void => events.add('node', level, line)
  const closers: (() => Promise<void> | void)[] = [() => lock.release()]
  /** Of what traffic cannot do without. */
  const served: (() => Promise<void> | void)[] = []
  const handOver = async (): Promise<void> => {
    for (const close of closers.splice(0).reverse()) await close()
  }
  const closeAll = async (): Promise<void> => {
    for (const close of served.splice(0).reverse()) await close()
    await handOver()
  }
  try {
    const local = { privateKey, passphrase: process.env[PASSPHRASE_VARIABLE], context: `${ring} ${config.id}` }
    const disk = await openDisk({
      data: config.data,
      mode: config.diskSeal,
      local,
      release: askAtStart(config, ring, genesis, privateKey),
      log,
    })
    const rules = loadRuleLibrary(config.rules)
    const foresight = new Foresight()
    closers.push(() => foresight.thread.stop())
    const application = ringApplication(
      genesis,
      rules,
      cachingCompiler(join(config.data, 'rules'), disk.seal, config.memoValuesMax),
    )
    const telemetry = await openTelemetry({
      directory: join(config.data, 'traces'),
      seal: await traceKey(config.data, disk.seal),
      node: config.id,
      region: self.region,
      waitingMax: config.recordsWaitingMax,
      pageCacheBytes: config.recordsPageCacheBytes,
      log,
      ...(config.otlp === undefined ? {} : { otlp: config.otlp }),
    })
    closers.push(() => telemetry.stop())
    const fabric = createFabric({
      ring,
      self: peerOf(self, config.genesis),
      privateKey,
      peers: genesis.nodes.filter(({ id }) => id !== config.id).map((node) => peerOf(node, config.genesis)),
      listen: config.listen.fabric,
      log,
    })
    fabric.onLink(({ id, connected, reason }) =>
      events.add(
        'link',
        connected ? 'info' : 'warn',
        connected ? `${id} is linked` : `${id} is gone: ${reason ?? 'link closed'}`,
      ),
    )

    let conduct: ConductWatch | undefined
    const validators = genesis.nodes.filter(({ roles }) => roles.includes('validator'))
    const ledger = await openLedger<RingState>({
      directory: join(config.data, 'ledger'),
      seal: disk.seal,
      application: { ...application, foresee: (state, txs) => foresight.foresee(state, txs) },
      genesis: { ring, validators: validators.map(({ id, publicKey }) => ({ id, publicKey: decodeBase64url(publicKey) })) },
      self: config.id,
      privateKey,
      fabric,
      onEvidence: (evidence) => showEvidence(evidence),
      onFault: (fault) => conduct?.ledgerFault(fault),
      roundMs: config.roundMs,
      heartbeatMs: config.heartbeatMs,
      snapshotBlocks: config.snapshotBlocks,
      ...(config.keepBlocks === undefined ? {} : { keepBlocks: config.keepBlocks }),
      log,
    })
    closers.push(() => ledger.stop())

    const early = new EarlyDenials(application)
    let view = viewOf(application, ledger, config.id)
    const members = new Members({ self: config.id, fabric, events, genesisFile: config.genesis })
    closers.push(() => members.stop())
    await members.follow(view.nodes)
    if (!view.nodes.some(({ id }) => id === config.id)) {
      const address = formatHostPort(config.listen.fabric)
      const add = `ringwall node add ${config.id} --key ${self.publicKey} --address ${address} --region ${self.region}`
      events.add(
        'node',
        'warn',
        `the ring does not list this node, so nobody links to it. If it is new, an operator adds it: ${add}`,
      )
    }
    const onLiars = (parties: readonly string[]): void => conduct?.liars(parties, 'when this node had something opened')
    const outside = outsideHttp()
    const providerKeys = new ProviderKeys({ view: () => view, http: outside, log: (line) => log('warn', line) })
    providerKeys.warm()
    const providerSecrets = new ProviderSecrets({
      self: config.id,
      view: () => view,
      state: () => ledger.state(),
      facts: () => factsOf({ ring, view: () => view, state: () => ledger.state(), onLiars }),
      reader: readerOfNode(config.id, privateKey),
      ask: (signed) => vault.open(signed),
      variable: (name) => process.env[name],
      log: (line) => log('warn', line),
    })
    closers.push(() => providerSecrets.stop())
    for (const line of providerSecrets.review()) events.add('policy', 'warn', line)
    const api = new ApiActivity()
    api.follow(view.policy)
    let stateAt = ledger.state()
    const replays = createProofReplays()
    let tokens = tokensOf(view, replays)
    let certifiedAtMs = ledger.status().certifiedAtMs
    let serving: Traffic | undefined
    let insiders: InsiderWatch | undefined
    let workloads: WorkloadApi | undefined
    let blocksWithNews = 0
    let tellSignals: SignalStreams | undefined
    const stopBlocks = ledger.onBlock((final) => {
      // A block that comes late was certified when its timestamp says, but for what clocks may differ by: catching up is not
      // being up to date.
      certifiedAtMs = Math.min(Date.now(), final.block.timestampMs + TX_SKEW_MS_MAX)
      if (final.txs.length > 0) blocksWithNews += 1
      const before = view
      const stateBefore = stateAt
      // After a snapshot nobody knows what the blocks between have had forgotten.
      if (final.block.height > before.height + 1)
        for (const service of Object.keys(before.policy.services)) serving?.purge(service, '/')
      stateAt = final.state
      view = application.view(final.state, final.block.height, final.block.timestampMs, config.id)
      if (view.policyVersion !== before.policyVersion) {
        api.follow(view.policy)
        providerKeys.warm()
        for (const line of providerSecrets.review()) events.add('policy', 'warn', line)
        events.add('policy', 'info', `policy ${view.policyVersion} is in force since height ${view.height}`)
      }
      const moved = movedServices(before, view)
      if (moved !== undefined) events.add('policy', 'info', moved)
      if (view.policyVersion !== before.policyVersion || moved !== undefined) {
        const why = moved ?? `policy ${view.policyVersion}`
        void serving?.reviewAll().then((count) => {
          if (count !== undefined && count > 0)
            events.add('policy', 'info', `${count} open requests and WebSockets ended: ${why}`)
        })
      }
      const expelled = showExpelled(stateBefore, final.state, events)
      for (const id of expelled) cut(nodeSubject(ring, id))
      if (expelled.includes(config.id)) withdraw()
      const aged = showAged(stateBefore, final.state, ring, final.block.timestampMs, events)
      for (const id of aged) cut(nodeSubject(ring, id))
      if (view.nodes !== before.nodes) void members.follow(view.nodes, [...expelled, ...aged])
      if (view.policyVersion !== before.policyVersion || !sameKeys(view, before)) tokens = tokensOf(view, replays)
      confirmDenials(final.txs, stateBefore, final.state)
      if (view.policyVersion !== before.policyVersion || view.nodes !== before.nodes || view.signingKey !== before.signingKey)
        workloads?.review()
      showKeyFaults(stateBefore, final.state)
      conduct?.agreed(stateBefore, final.state)
      signing.use(publicKeyOf(final.state.signingKey), signingHolder.share)
      signingHolder.follow(final.state)
      vault.use(publicKeyOf(final.state.sealingKey), sealingHolder.share)
      sealingHolder.follow(final.state)
      keeper?.follow(final.state)
      wiper.follow(final.state)
      holds.look()
      ages.look(Date.now())
      // A ceremony of the past is over, whatever its phase was then: no thread for it.
      if (Date.now() - final.block.timestampMs < FORESEEN_MS_MAX) foresight.follow(final.state)
      if (isLinked) reception.follow(final.state)
    })
    closers.push(stopBlocks)

    const confirmDenials = (txs: readonly Uint8Array[], before: RingState, state: RingState): void => {
      const confirmed: Denial[] = []
      const lifted: string[] = []
      for (const bytes of txs) {
        const { content } = parseTx(bytes)
        const { issuer } = content
        let { body } = content
        const nowMs = Date.now()
        insiders?.operated(issuer, body.type, content.atMs)
        const id = body.type === 'tx.approve' ? body.id : txId(content)
        const waits = application.approvals(state, nowMs).find((waiting) => waiting.id === id)
        if (waits !== undefined) {
          const missing = waits.needed - waits.signedBy.length
          const what = `${waits.content.body.type} of ${waits.content.issuer}`
          events.add('approval', 'info', `${what} waits for ${missing} more: ringwall approve ${id.slice(0, 16)}`)
          continue
        }
        if (body.type === 'tx.approve') {
          events.add('approval', 'info', `${issuer} approved ${id.slice(0, 16)}: ${body.reason}`)
          // What it let pass; unknown when it came into the state in this same block.
          body = before.approvals.get(id, 0)?.content.body ?? bodyIn(txs, id) ?? body
        }
        if (body.type === 'deny.add') {
          const id = subjectId(body.subject)
          const what = describeSubject(body.subject)
          const certain = state.denial(id)
          if (certain === undefined) {
            const { nodes } = application.corroboration(state)
            const said = state.pending.get(id)?.statements.length ?? 0
            events.add('denial', 'info', `${what}: ${issuer} says ${body.reason}; ${said} of ${nodes} nodes say so`)
            continue
          }
          confirmed.push(certain)
          cut(body.subject)
          events.add('denial', 'info', `${what} denied by ${issuer}: ${body.reason}`)
        } else if (body.type === 'person.reset' || body.type === 'person.remove') {
          const denial = denialOf(content, undefined)
          if (denial === undefined) continue
          confirmed.push(state.denial(denial.id) ?? denial)
          cut(denial.subject)
          for (const kind of kindsOf(before.people.get(body.name))) tellSignals?.changed(body.name, 'revoke', kind, content.atMs)
          events.add(
            'person',
            'info',
            `${body.name} ${body.type === 'person.reset' ? 'is to enrol anew' : 'is gone'}, by ${issuer}: ${body.reason}`,
          )
        } else if (body.type === 'person.put') {
          events.add('person', 'info', `${body.name}, groups ${body.groups.join(', ') || 'none'}, by ${issuer}: ${body.reason}`)
        } else if (body.type === 'person.enrol') {
          const { kind } = body.credential
          if (kind !== 'outside') tellSignals?.changed(body.name, 'create', kind, content.atMs)
          events.add('person', 'info', `${body.name} enrolled a ${body.credential.kind} by an invitation, through ${issuer}`)
        } else if (body.type === 'token.use') {
          const [use, reuse] = [denialOf(content, undefined), denialOfReuse(content, undefined)]
          if (use === undefined || reuse === undefined) continue
          confirmed.push(state.denial(use.id) ?? use)
          const ended = state.denial(reuse.id)
          if (ended === undefined || before.denial(reuse.id) !== undefined) continue
          confirmed.push(ended)
          cut(ended.subject)
          events.add('denial', 'warn', `${describeSubject(ended.subject)} is over: ${ended.reason}`)
        } else if (body.type === 'token.revoke') {
          const denial = denialOf(content, undefined)
          if (denial === undefined) continue
          confirmed.push(state.denial(denial.id) ?? denial)
          cut(denial.subject)
          events.add('denial', 'info', `${describeSubject(denial.subject)} ${denial.reason}, shown by ${issuer}`)
        } else if (body.type === 'deny.remove') {
          lifted.push(body.id)
          events.add('denial', 'info', `denial ${body.id} lifted by ${issuer}`)
        } else if (body.type === 'deny.withdraw') {
          const isGone = state.denial(body.id) === undefined && state.pending.get(body.id) === undefined
          if (isGone) lifted.push(body.id)
          events.add(
            'denial',
            'info',
            `${issuer} takes back its word on ${body.id}${isGone ? ', and it is lifted' : ''}: ${body.reason}`,
          )
        } else if (body.type === 'cache.purge') {
          serving?.purge(body.service, body.path)
          events.add('cache', 'info', `${issuer} had the answers of ${body.service}${body.path} forgotten: ${body.reason}`)
        } else if (body.type === 'node.add') events.add('node', 'info', `${body.node.id} joins, by ${issuer}: ${body.reason}`)
        else if (body.type === 'node.wipe') events.add('node', 'warn', `${body.id} is wiped, by ${issuer}: ${body.reason}`)
        else if (body.type === 'node.remove') events.add('node', 'warn', `${body.id} leaves, by ${issuer}: ${body.reason}`)
        else if (body.type === 'attest.quote') continue
        else if (isFleetStatement(body)) events.add('node', 'info', `${summarizeFleet(body)}; by ${issuer}`)
        else if (isEnrolmentStatement(body)) events.add('node', 'info', `${summarizeEnrolment(body)}; by ${issuer}`)
        else if (body.type === 'evidence') {
          const what = `signed two contradicting statements in round ${body.round}`
          events.add('node', 'warn', `${body.validator} is evicted: it ${what}; shown by ${issuer}`)
          conduct?.seen(body.validator, 'equivocation', `in round ${body.round}, shown by ${issuer}`)
        }
      }
      early.confirm(confirmed)
      early.lift(lifted)
    }

    const archive = new RequestArchive(config.requestBytesKept)
    const watch = new RuleWatch()
    // Workers write it themselves.
    const audit = config.workers > 1 ? undefined : await openAudit(config, ring, log)
    if (audit !== undefined) served.push(() => audit.stop())
    const timing = new RuleTiming()
    const indicators = new IndicatorStore(config.indicators, log, disk.options)
    served.push(() => indicators.stop())
    await indicators.start()
    const environment = (): GuardEnvironment => ({
      view,
      indicators: indicators.sets,
      provisional: early.enforced,
      tokens,
      nowMs: Date.now(),
      certifiedAtMs,
      stopwatch: timing.next(),
    })
    const limits = new RingLimits({ self: config.id, fabric, view: () => view })
    served.push(() => limits.stop())
    const challenges = new Challenges()
    // Workers open it for themselves: here it is seen whether they can.
    const breaches = await openBreaches(config, log)
    if (breaches !== undefined) served.push(() => breaches.close())
    const places = await openPlaces(config, log)
    if (places !== undefined) served.push(() => places.stop())
    const botNames = new BotNames({ servers: config.dnsServers })
    served.push(() => botNames.stop())
    const model =
      config.workers > 1
        ? undefined
        : new NodeModel({
            self: config.id,
            region: self.region,
            data: config.data,
            fabric,
            view: () => view,
            say: (level, line) => events.add('finding', level, line),
          })
    closers.push(() => model?.stop())
    const guard = createGuard({
      limiter: createRateLimiter({ seed: randomInt(2 ** 32) }),
      shared: limits,
      passes: challenges,
      ...(breaches === undefined ? {} : { breaches }),
      ...(places === undefined ? {} : { places }),
      botNames,
      ...(model === undefined ? {} : { model: model.judge }),
      witness: (judged, body, truncated, nowMs) => {
        if (judged.verdict.matches.length > 0 || model?.judge.isFlagged(judged.request) === true)
          archive.add(judged, body, truncated, view.policyVersion, nowMs)
        watch.observe(judged, nowMs)
        model?.observe(judged, body)
        audit?.judged(judged, body, nowMs)
      },
    })
    const seal = new Seal(privateKey, `${ring} ${config.id}`, disk.seal)
    // Also of a node that gets none itself: a validation of another's may meet it.
    const proofs = new Proofs(config.id, fabric, (all) => serving?.answerAcme(all))
    closers.push(() => proofs.stop())
    const acme =
      config.acme === undefined
        ? undefined
        : await AcmeCertificates.open({
            config: config.acme,
            folder: join(config.data, 'acme'),
            seal,
            disk: disk.seal,
            proofs,
            say: (level, line) => events.add('node', level, line),
          })
    if (acme !== undefined) closers.push(() => acme.stop())
    const forms = new LoginForms()
    const samlKey = new SamlKey(join(config.data, 'keys', 'saml'), seal, config.id)
    const signals = new SignalStreams({
      ring,
      self: config.id,
      view: () => view,
      version: () => blocksWithNews,
      mint: async (person, timeoutMs) => {
        const { message, signature } = await signing.mint({ person }, timeoutMs)
        return `${Buffer.from(message).toString()}.${encodeBase64url(signature)}`
      },
      http: outside,
      secret: (variable) => process.env[variable],
      fabric,
      file: join(config.data, 'signal-streams'),
      disk: disk.seal,
      log,
    })
    await signals.start()
    closers.push(() => signals.stop())
    tellSignals = signals
    const portal = new LoginPortal({
      signals,
      ring,
      node: config.id,
      samlKey: () => samlKey.held(),
      providerKeys,
      http: outside,
      secrets: providerSecrets,
      view: () => view,
      people: () => stateAt.people,
      tokens: () => tokens,
      isDenied: (of) => [view.denials, early.enforced].some((denials) => denials.matchCredential(of, Date.now()) !== undefined),
      forms,
      passwords: new Passwords(),
      mint: (asked, timeoutMs) => signing.mint(asked, timeoutMs),
      propose: (body, waitMs) => propose(signInOwnName(body), waitMs),
      redeem: (token) => redeem(token),
      isBreached: (password) => breaches?.has(password) ?? false,
      log: (line) => log('warn', line),
    })
    const workers =
      config.workers === 1
        ? undefined
        : new TrafficWorkers(config.workers, {
            config,
            disk: disk.options,
            region: self.region,
            ring,
            rules,
            view: () => view,
            certifiedAtMs: () => certifiedAtMs,
            early,
            indicators,
            limits,
            telemetry,
            archive,
            watch,
            portal,
            api,
            onLogin: (attempt) => loggedIn(attempt),
            onSignals: (signals, lost) => {
              for (const signal of signals) signalled(signal)
              if (lost > 0) telemetry.count('signals_lost_total', {}, lost)
            },
            onFlood: (reading, thread) => floods.observe(reading, performance.now(), thread),
            log,
          })
    const holds = new HoldWatch({
      self: config.id,
      state: () => ledger.state(),
      policy: () => view.policy.fleet,
      drain: (isOn) => serving?.drain(isOn),
      events,
    })
    const ownProxy = (): Traffic =>
      createProxy({
        listeners: config.takeOver ? config.listen.traffic.map((one) => ({ ...one, reusePort: true })) : config.listen.traffic,
        guard,
        environment,
        recorder: proxyRecorder(telemetry, audit),
        node: config.id,
        region: self.region,
        explainHeader: config.explainHeader,
        cacheBytes: config.cacheBytes,
        ...(config.acme === undefined ? {} : { unseal: unsealer(config.key, ring, config.id, disk.options) }),
        onApi: (event) => api.observe(event),
        onLogin: (attempt) => loggedIn(attempt),
        ended: {
          wants: () => detection.isOn || insiders?.watchesRequests === true,
          take: (request) => {
            if (request.subject !== undefined || detection.isOn) signalled(signalOf(request, ring))
          },
        },
        meter: sourceMeter((reading) => floods.observe(reading, performance.now())),
        challenges,
        portal,
        peer: (certificate, nowMs) => peersOf(view)(certificate, nowMs),
        log,
      })
    const proxy = workers ?? ownProxy()
    serving = proxy
    const passKeys = await PassKeys.open({
      fabric,
      view: () => view,
      file: join(config.data, 'pass-keys'),
      seal,
      log: (line) => log('warn', line),
      onKeys: (keys) => {
        usePassKeys(challenges, keys)
        forms.use(keys)
        workers?.usePassKeys(keys)
      },
    })
    served.push(() => passKeys.stop())
    /** About tokens, to be cut together: many denials may come in one message or block. */
    let revoked: DenialSubject[] = []
    const cutRevoked = (): void => {
      const subjects = revoked
      revoked = []
      workloads?.review()
      const count = proxy.cutCredentials(subjects)
      if (count === undefined || count === 0) return
      const more = subjects.length === 1 ? '' : ` and ${subjects.length - 1} more`
      const what = `${describeSubject(subjects[0]!)}${more}`
      events.add('denial', 'info', `${what}: ${count} open requests and WebSockets ended`)
    }
    const cut = (subject: DenialSubject): void => {
      if (subject.kind === 'ip' || subject.kind === 'cidr') proxy.cutSource(subject.value)
      else if (isCredentialSubject(subject) && revoked.push(subject) === 1) setImmediate(cutRevoked)
    }

    /** A denial that another node passes on. Answers whether it is worth passing on further. */
    const hear = (payload: Uint8Array): 'news' | 'known' | 'bad' => {
      const { kind, denial } = early.hear(ledger.state(), payload, Date.now())
      if (kind === 'bad') return isKnownDenial(view, early, payload) ? 'known' : 'bad'
      if (kind === 'known' || denial === undefined) return 'known'
      if (kind === 'enforced') cut(denial.subject)
      // Whoever hears of a denial helps to get it agreed: its first node may be gone by now.
      ledger.submit(payload, OWN_DENIAL_WAIT_MS).catch(() => {})
      return 'news'
    }
    fabric.onGossip((_from, payload) => hear(payload) !== 'bad')
    // A node that was away has missed what went around: its neighbours tell it, and it tells the rest.
    fabric.onMessage('gossip', (_from, payload) => {
      if (hear(payload) === 'news') fabric.gossip(payload)
    })
    fabric.onLink(({ id, connected }) => {
      if (connected) {
        for (const bytes of early.transactions()) fabric.send(id, 'gossip', bytes)
        passKeys.tell(id)
      } else limits.lost(id)
    })

    const propose = (bytes: Uint8Array, waitMs: number): ReturnType<RingLedger['submit']> => {
      const { kind, denial } = early.hear(ledger.state(), bytes, Date.now())
      if (denial !== undefined) {
        if (kind === 'enforced') cut(denial.subject)
        fabric.gossip(bytes)
      }
      return ledger.submit(bytes, waitMs)
    }

    const signInOwnName = (body: TxBody, atMs: number = Date.now()): Uint8Array => {
      const content = { ring, issuer: `node:${config.id}`, atMs, untilMs: atMs + TX_VALID_MS, nonce: randomNonce(), body }
      return encodeTx({ content, signature: encodeBase64url(signMessage(privateKey, signingBytes(content))) })
    }

    /** Whose redemption of a token that serves once was the first? The ledger says: it dates and names each. */
    const redeem = async (token: string): Promise<boolean> => {
      const bytes = signInOwnName({ type: 'token.use', token })
      const { content } = parseTx(bytes)
      const use = denialOf(content, undefined)
      if (use === undefined) return false
      try {
        await propose(bytes, REDEEM_WAIT_MS)
      } catch (error) {
        if (error instanceof LedgerError && error.code === 'TX_REFUSED') return false
        throw error
      }
      return ledger.state().denial(use.id)?.reason === use.reason
    }

    let isLinked = false
    const reception = new NodeReception({
      self: config.id,
      region: self.region,
      ring,
      genesis,
      application,
      fabric,
      events,
      state: () => ledger.state(),
      submit: (body, waitMs) => ledger.submit(signInOwnName(body), waitMs),
    })

    const attester = new Attester({
      self: config.id,
      ring,
      measurer: configuredMeasurer(config),
      vouching: new Vouching({
        self: config.id,
        ring,
        fabric,
        state: () => ledger.state(),
        sign: (message) => signMessage(privateKey, message),
        onDissent: (validator, reason) => conduct?.seen(validator, 'verdict', reason),
      }),
      tpm: config.tpm,
      caseInput: config.caseInput,
      onNoticed: () => withdraw(),
      events,
      state: () => ledger.state(),
      every: () => view.policy.devices.attestation.every,
      submit: (body, waitMs, atMs) => ledger.submit(signInOwnName(body, Math.round(atMs)), waitMs),
    })
    attester.start()
    let isWithdrawn = false
    /** Nobody may believe this node any more: clients are to go elsewhere. */
    const withdraw = (): void => {
      if (isWithdrawn) return
      isWithdrawn = true
      takesTraffic = false
      void proxy.stop(DRAIN_MS)
    }
    const ages = new AgeWatch({
      self: config.id,
      ring,
      state: () => ledger.state(),
      policy: () => view.policy.fleet,
      end: () => withdraw(),
      events,
    })
    let wasMember = view.nodes.some(({ id }) => id === config.id)
    const whyOut = (): string | undefined => {
      const isMember = view.nodes.some(({ id }) => id === config.id)
      wasMember ||= isMember
      if (attester.noticed !== undefined) return attester.noticed
      // One that it let go before this start is not one that it does not know yet.
      const isGone = !isMember && (wasMember || ledger.state().retired.some(({ id }) => id === config.id))
      return ages.why(Date.now()) ?? (isGone ? 'the ring has let it go' : undefined)
    }
    closers.push(() => attester.stop())

    /** Whoever catches a validator at lying shows it to the ring, which lets it go. Others may have shown it already. */
    const showEvidence = ({ validator, epoch, round, first, second }: LedgerEvidence): void => {
      const [a, b] = orderStatements(statementOf(first), statementOf(second))
      const tx = signInOwnName({ type: 'evidence', validator, epoch, round, first: a, second: b })
      ledger.submit(tx, OWN_DENIAL_WAIT_MS).catch((error: Error) => {
        if (view.nodes.some(({ id }) => id === validator))
          events.add('node', 'warn', `evidence against ${validator} is not agreed on: ${error.message}`)
      })
    }

    const signing = new SigningService({
      self: config.id,
      fabric,
      view: () => view,
      people: () => stateAt.people,
      transit: () => stateAt.transit,
      providerKeys: (provider) => providerKeys.keys(provider),
      prepare: (request) => providerKeys.prepare(request),
      sign: (message) => signMessage(privateKey, message),
      numbers: new NonceNumbers(join(config.data, 'keys', 'nonces.json'), disk.seal),
      events,
      onFault: (party, fault) => conduct?.seen(party, 'share', fault),
    })
    closers.push(() => signing.stop())
    const openHolder = async (
      key: KeyName,
      directory: string,
      onShare: (share: NodeShare | undefined) => void,
    ): Promise<KeyHolder> => {
      const holder = await KeyHolder.open({
        self: config.id,
        key,
        directory,
        seal,
        events,
        thread: foresight.thread,
        submit: (body) => ledger.submit(signInOwnName(body), OWN_DENIAL_WAIT_MS),
        onShare,
      })
      closers.push(() => holder.stop())
      holder.follow(ledger.state())
      return holder
    }
    const keys = join(config.data, 'keys')
    const signingHolder = await openHolder('signing', keys, (share) => signing.use(publicKeyOf(ledger.state().signingKey), share))
    const openings = await OpeningLog.open(join(config.data, 'vault', 'openings.log'), disk.seal)
    closers.push(() => openings.close())
    const vault = new VaultService({
      self: config.id,
      fabric,
      view: () => view,
      state: () => ledger.state(),
      sign: (message) => signMessage(privateKey, message),
      log: {
        add: (record) => {
          insiders?.opened(record)
          return openings.add(record)
        },
      },
    })
    closers.push(() => vault.stop())
    const releases = followReleases({
      linked: () => fabric.links().flatMap(({ id, connected }) => (connected ? [id] : [])),
      get: (from, path) => objects.get(from, path),
      events,
    })
    const objects: Objects = await Objects.open({
      self: config.id,
      ring,
      data: config.data,
      seal: disk.seal,
      settings: config.objects ?? USUAL_OBJECT_SETTINGS,
      fabric,
      view: () => view,
      state: () => ledger.state(),
      // What is erased must not be what an old view does not know yet.
      isCurrent: () => certifiedAtMs !== undefined && Date.now() - certifiedAtMs < CURRENT_MS && !ledger.status().syncing,
      sign: (message) => signMessage(privateKey, message),
      open: (request) => vault.open(request),
      submit: (body, waitMs) => ledger.submit(signInOwnName(body), waitMs),
      events,
      onWrong: (party, version, index) => conduct?.seen(party, 'shard', `shard ${index} of ${version}`),
      onLiars,
      other: releases?.answer,
    })
    closers.push(() => objects.stop())
    const sealingHolder = await openHolder('sealing', join(keys, 'sealing'), (share) =>
      vault.use(publicKeyOf(ledger.state().sealingKey), share),
    )
    const keyTick = setInterval(() => {
      signingHolder.tick()
      sealingHolder.tick()
    }, KEY_TICK_MS)
    closers.push(() => clearInterval(keyTick))
    const inOwnName = (body: TxBody): Promise<unknown> => ledger.submit(signInOwnName(body), OWN_DENIAL_WAIT_MS)
    const keeper =
      config.diskSeal === 'ring'
        ? new DiskKeeper({
            self: config.id,
            ring,
            data: config.data,
            disk,
            local,
            events,
            recovery: () => view.policy.vault.recovery,
            submit: inOwnName,
          })
        : undefined
    closers.push(() => keeper?.stop())
    const sign = (message: Uint8Array): Uint8Array => signMessage(privateKey, message)
    const state = (): RingState => ledger.state()
    new ReleaseHolder({
      self: config.id,
      ring,
      fabric,
      state,
      isBehind: () => ledger.status().syncing,
      vault,
      openings,
      sign,
      policy: () => view.policy.devices,
      quote: readQuote,
      onRelease: (id) => events.add('key', 'info', `${id} had its disk opened with this node's share`),
      onRefusal: (id, code, reason) => events.add('key', 'bad', `the disk of ${id} stays shut: ${code}: ${reason}`),
    })
    const wiper = new Wiper({
      self: config.id,
      ring,
      data: config.data,
      keyFile: config.key,
      more: config.audit === undefined ? [] : [config.audit.file],
      fabric,
      state,
      sign,
      submit: inOwnName,
      events,
    })
    const showKeyFaults = (before: RingState, now: RingState): void => {
      for (const name of KEY_NAMES) {
        const known = before.key(name).faults
        if (now.key(name).faults === known) continue
        for (const { party, fault, attempt } of now.key(name).faults.filter((one) => !known.includes(one)))
          events.add('key', 'warn', `${party} is at fault in ceremony ${attempt} of the ${name} key: ${fault}`)
      }
    }

    const denyNow = ownDenials({
      application,
      early,
      state: () => ledger.state(),
      view: () => view,
      sign: signInOwnName,
      cut,
      propose: (bytes, subject) =>
        void propose(bytes, OWN_DENIAL_WAIT_MS).catch((error: Error) => {
          const waiting = error instanceof LedgerError && error.code === 'NO_QUORUM'
          events.add(
            'denial',
            'warn',
            waiting
              ? `denial of ${describeSubject(subject)} waits for a quorum: ${error.message}`
              : `denial of ${describeSubject(subject)} refused: ${error.message}`,
          )
        }),
    })
    const denyInOwnName = (subject: DenialSubject, ttlMs: number, reason: string): void =>
      denyNow(subject, ttlMs, reason, Date.now())
    const notifier = new Notifier({
      channels: config.notify.map(openChannel),
      groupMs: NOTIFY_GROUP_MS,
      onLost: (channel, reason) => events.add('node', 'warn', `the channel ${channel} was not told: ${reason}`),
    })
    closers.push(() => notifier.stop())
    const desk = new IncidentDesk({
      self: config.id,
      fabric,
      file: join(config.data, 'incidents'),
      disk: disk.seal,
      onOpened: (incident) => {
        const { id, severity, title } = incident
        if (tellsOf(incident, config.id))
          for (const { name, incidents } of config.notify)
            if (incidents !== undefined && isAtLeast(severity, incidents))
              notifier.tell(name, messageOf(incident, ring, config.id))
        telemetry.count('incidents_total', { severity }, 1)
        events.add('incident', severity === 'high' ? 'bad' : 'warn', `incident ${id} (${severity}): ${title}`)
      },
      log,
    })
    await desk.start()
    closers.push(() => desk.stop())
    const playbooks = new NodePlaybooks({
      self: config.id,
      ring,
      folder: join(config.data, 'playbooks'),
      disk: disk.seal,
      state: () => ledger.state(),
      view: () => view,
      propose: async (body) => void (await propose(signInOwnName(body), PLAY_WAIT_MS)),
      isHeld: () => holds.hold !== undefined,
      notifier,
      incidents: () => desk.list(),
      say: (level, line) => events.add('incident', level, line),
    })
    const reportFound = (finding: NewFinding): void => {
      desk.add(finding)
      playbooks.found(finding)
    }
    conduct = new ConductWatch({
      self: config.id,
      look: () => {
        const { reachable, quorum } = ledger.status()
        return {
          links: fabric.links(),
          validators: ledger.state().validators.map(({ id }) => id),
          reachable,
          quorum,
          unconfirmed: early.unconfirmedByIssuer(Date.now()),
        }
      },
      unconfirmedMax: UNCONFIRMED_MAX,
      onSeen: (node, kind) => telemetry.count('node_faults_total', { node, kind }, 1),
      onNote: (line) => events.add('finding', 'info', line),
      onFinding: (finding) => {
        telemetry.count('findings_total', { rule: finding.detector }, 1)
        events.add('finding', finding.severity === 'low' ? 'warn' : 'bad', describeConduct(finding))
        reportFound(finding)
      },
    })
    conduct.start()
    closers.push(() => conduct?.stop())
    const logins = new LoginWatch({
      self: config.id,
      fabric,
      view: () => view,
      deny: denyInOwnName,
      onFinding: (finding) => {
        events.add('finding', 'warn', finding.reason)
        reportFound(ofFailedLogins(finding, Date.now()))
      },
      onSources: (from, payload) => {
        if (payload[0] === SOURCE_SUMMARY_VERSION) slowLogins.merge(from, payload)
        else if (payload[0] === RULE_SUMMARY_VERSION) detection.merge(from, payload, Date.now())
        else if (payload[0] === ANOMALY_SUMMARY_VERSION) anomalies.merge(from, payload)
        else if (payload[0] === INSIDER_SUMMARY_VERSION) insiders?.merge(from, payload)
        else if (payload[0] === STREAMS_VERSION) signals.merge(payload, Date.now())
        else desk.merge(from, payload, Date.now())
      },
    })
    closers.push(() => logins.stop())
    const slowLogins = new SlowLoginWatch({
      self: config.id,
      fabric,
      view: () => view,
      file: join(config.data, 'logins.bin'),
      disk: disk.seal,
      deny: denyInOwnName,
      say: (line) => events.add('finding', 'warn', line),
      onFinding: (finding) => reportFound(ofSlowLogins(finding, Date.now())),
      log,
    })
    const anomalies = new AnomalyWatch({
      ring,
      view: () => view,
      onFinding: (found) => {
        telemetry.count('findings_total', { rule: found.rule }, 1)
        events.add('finding', 'warn', describeAnomaly(found))
        reportFound(ofAnomaly(found))
      },
      salt: randomInt(2 ** 32),
    })
    closers.push(await keepAnomalies(anomalies, { file: join(config.data, 'anomalies.bin'), disk: disk.seal, log }))
    closers.push(followAnomalies(anomalies, fabric))
    const detection = new DetectionWatch({
      self: config.id,
      anomalies,
      view: () => view,
      deny: denyNow,
      locationOf: places === undefined ? undefined : (address) => places.locationOf(address),
      onFinding: (found) => {
        telemetry.count('findings_total', { rule: found.rule }, 1)
        events.add('finding', 'warn', describeDetected(found))
        reportFound(ofDetected(found))
      },
    })
    closers.push(await keepDetection(detection, { file: join(config.data, 'usual.bin'), disk: disk.seal, log }))
    closers.push(followDetection(detection, fabric))
    insiders = new InsiderWatch({
      fabric,
      view: () => view,
      file: join(config.data, 'insiders.bin'),
      disk: disk.seal,
      onFinding: (finding) => {
        telemetry.count('findings_total', { rule: finding.detector }, 1)
        events.add('finding', 'warn', describeInsider(finding))
        reportFound(finding)
      },
      log,
    })
    await insiders.start()
    closers.push(() => insiders?.stop())
    await slowLogins.start()
    // All that is opened is opened by now.
    await disk.settled()
    keeper?.follow(ledger.state())
    closers.push(() => slowLogins.stop())
    const signalled = (signal: Signal): void => {
      detection.observe(signal)
      insiders?.requested(signal)
    }
    const loggedIn = (attempt: LoginEvent): void => {
      if (attempt.failed) logins.failed(attempt)
      slowLogins.observe(attempt)
    }
    const floods = new FloodWatch({
      view: () => view,
      deny: denyInOwnName,
      say: (line) => events.add('finding', 'warn', line),
      count: (named) => telemetry.count('flood_sources_total', {}, named),
      onFound: (named, reason, isDenied) => reportFound(ofFlood(named, reason, isDenied, Date.now())),
    })

    /** What it said for this reason, and for no other, it says no longer. */
    const withdrawInOwnName = (subject: DenialSubject, reason: string, why: string): void => {
      const id = subjectId(subject)
      const self = `node:${config.id}`
      const said = ledger
        .state()
        .pending.get(id)
        ?.statements.find(({ issuer }) => issuer === self)
      if (said !== undefined && said.reason !== reason) return
      early.forgetOwn(id, reason)
      const standing = view.denials.find(id, Date.now())
      const isOurs = standing !== undefined && (standing.statedBy?.includes(self) ?? standing.issuer === self)
      if (said === undefined && !isOurs) return
      ledger.submit(signInOwnName({ type: 'deny.withdraw', id, reason: why }), OWN_DENIAL_WAIT_MS).catch((error: Error) => {
        events.add('denial', 'warn', `the word on ${describeSubject(subject)} is not taken back, and lapses: ${error.message}`)
      })
    }
    const feeds = config.feeds.map(
      (settings) =>
        new CrowdsecFeed({
          config: openFeed(settings),
          view: () => view,
          deny: denyInOwnName,
          withdraw: withdrawInOwnName,
          log,
        }),
    )

    const taxiiFeeds = (config.taxiiSources ?? []).map(
      (source) =>
        new TaxiiFeed({
          config: openTaxiiSource(source),
          folder: join(config.data, 'taxii', source.name),
          seal: disk.seal,
          log,
          onChange: () => void indicators.look(),
        }),
    )

    const lastSeenMs = new Map<string, number>()
    fabric.onLink(({ id, connected }) => {
      if (connected) lastSeenMs.delete(id)
      else lastSeenMs.set(id, Date.now())
    })
    const tick = setInterval(() => {
      early.tick(Date.now(), certifiedAtMs)
      holds.look()
      ages.look(Date.now())
    }, TICK_MS)
    closers.push(() => clearInterval(tick))

    let takesTraffic = false
    if (config.workloadSocket !== undefined)
      workloads = new WorkloadApi({
        self: config.id,
        socket: config.workloadSocket,
        authoritiesFile: join(config.data, 'keys', 'authorities.json'),
        view: () => view,
        denied: (of) => view.denials.matchCredential(of, Date.now()) ?? early.enforced.matchCredential(of, Date.now()),
        sign: (message) => signMessage(privateKey, message),
        mint: (asked, timeoutMs) => signing.mint(asked, timeoutMs),
        say: (level, line) => events.add('key', level, line),
      })
    const standing = (): Standing => ({
      startedAtMs,
      certifiedAtMs,
      blockTimestampMs: view.height === 0 ? 0 : view.blockTimestampMs,
      offlineMs: view.policy.fleet.offline,
    })
    const whyNotReady = (): string | undefined => {
      const { hold } = holds
      const drained = hold?.kind === 'drain' ? `drained by ${hold.by}: ${hold.reason}` : undefined
      if (!takesTraffic) return whyOut() ?? 'it takes no traffic yet, or no more'
      return whyOut() ?? drained ?? whyNotCurrent(standing(), Date.now())
    }
    const node: RunningNode = {
      config,
      disk,
      region: self.region,
      ring,
      startedAtMs,
      genesis,
      application,
      rules,
      ledger,
      fabric,
      proxy,
      workers,
      telemetry,
      early,
      archive,
      watch,
      model,
      audit,
      acme,
      events,
      api,
      queries: new PeerQueries(fabric),
      signing,
      samlCertificate: async () => (await samlKey.held()).certificate,
      vault,
      objects,
      openings,
      workloads,
      reception,
      desk,
      insiders,
      notifier,
      playbooks,
      bouncers: new Bouncers({ view: () => view, enforced: early.enforced, version: () => blocksWithNews + early.changes }),
      indicators: () => indicators.status(),
      feeds: () => [...feeds, ...taxiiFeeds].map((feed) => feed.status()),
      tokens: () => tokens,
      ready: () => whyNotReady() === undefined,
      whyNotReady,
      viewAgeMs: () => ageOfView(standing(), Date.now()),
      whyOut,
      hold: () => holds.hold,
      age: () => ages.age,
      lastSeenMs: (id) => lastSeenMs.get(id),
      view: () => view,
      certifiedAtMs: () => certifiedAtMs,
      access: (request, verdict) => guard.access(request, verdict, environment()),
      sign: (message) => signMessage(privateKey, message),
      propose,
      handOver: async () => {
        takesTraffic = false
        await handOver()
      },
      wiped: wiper.ended,
      proposeInOwnName: (body, waitMs) => propose(signInOwnName(body), waitMs),
      proposeContent: (content, waitMs) =>
        propose(encodeTx({ content, signature: encodeBase64url(signMessage(privateKey, signingBytes(content))) }), waitMs),
      stop: closeAll,
    }
    node.queries.serve(node)
    closers.push(() => node.queries.stop())

    const face = new HashicorpFace({
      id: config.id,
      ring,
      version: VERSION,
      isReady: () => node.ready(),
      view: () => view,
      state,
      open: (signed) => vault.open(signed),
      mint: (asked, timeoutMs) => signing.mint(asked, timeoutMs),
      propose: node.proposeContent,
      proposeInOwnName: node.proposeInOwnName,
      onLiars,
    })
    const leaseKeeper = new LeaseKeeper({
      self: config.id,
      view: () => view,
      state,
      facts: () => factsOf({ ring, view: () => view, state, onLiars }),
      reader: readerOfNode(config.id, privateKey),
      ask: (signed) => vault.open(signed),
      submit: inOwnName,
      isHeld: () => holds.hold !== undefined,
      events,
    })
    closers.push(() => leaseKeeper.stop())
    const admin = new AdminServer({
      listen: config.listen.admin,
      operations: adminOperations(node),
      consoleDirectory: CONSOLE_DIRECTORY,
      ownerOf: (key) => node.bouncers.ownerOf(key),
      onOperation: (operator, operation) => insiders?.operated(`operator:${operator}`, operation, Date.now()),
      other: face,
      signIn: (token) => verifyOperatorToken(token, { ring, operators: view.operators, nowMs: Date.now() }),
    })
    await fabric.start()
    isLinked = true
    objects.start()
    reception.follow(ledger.state())
    closers.push(() => fabric.stop())
    await admin.start()
    closers.push(() => admin.stop())
    if (workloads !== undefined) {
      const started = workloads
      await started.start()
      closers.push(() => started.stop())
    }
    if (config.announce === true) {
      const own = view.nodes.find(({ id }) => id === config.id) ?? self
      const end = await announceOnLink(own).catch((error: Error) =>
        events.add('node', 'warn', `nobody on the link hears of this node: ${error.message}`),
      )
      if (end !== undefined) closers.push(end)
    }
    let estUntil: { readonly file: string; readonly notAfterMs: number } | undefined
    if (config.est !== undefined) {
      const est = new EstServer({
        config: config.est,
        self: config.id,
        ring,
        state,
        view: () => view,
        sign,
        mint: (asked, timeoutMs) => signing.mint(asked, timeoutMs),
        submit: (body, waitMs) => ledger.submit(signInOwnName(body), waitMs),
        say: (level, line) => events.add('key', level, line),
      })
      await est.start()
      closers.push(() => est.stop())
      estUntil = { file: config.est.certificate, notAfterMs: est.notAfterMs }
    }
    if (config.s3 !== undefined) {
      const say = (level: 'info' | 'warn', line: string): void => events.add('vault', level, line)
      const s3 = new S3Server({ config: config.s3, self: config.id, service: objects.service, say })
      await s3.start()
      closers.push(() => s3.stop())
    }
    if (config.taxii !== undefined) {
      const taxii = await startTaxii({
        config: config.taxii,
        data: config.data,
        ring,
        sets: config.indicators,
        indicators,
        seal: disk.seal,
        view: () => view,
        version: () => blocksWithNews,
        operator: (token) => {
          const verdict = verifyOperatorToken(token, { ring, operators: view.operators, nowMs: Date.now() })
          return verdict.ok ? verdict.operator : undefined
        },
        say: log,
      })
      closers.push(() => taxii.stop())
    }
    // Traffic comes last: a node that cannot judge takes none.
    await proxy.start()
    served.push(() => proxy.stop(DRAIN_MS))
    takesTraffic = true
    ages.look(Date.now())
    for (const feed of feeds) {
      feed.start()
      closers.push(() => feed.stop())
    }
    releases?.start({
      self: config.id,
      version: VERSION,
      startedAtMs,
      state,
      policy: () => view.policy.fleet,
      sample: () => {
        const { requests, upstreamErrors, overloaded } = proxy.stats()
        return { isReady: node.ready(), whyOut: whyOut(), requests, errors: upstreamErrors + overloaded }
      },
      isSpared: () => {
        const { reachable, quorum, validators } = ledger.status()
        const isVoter = view.nodes.some(({ id, roles }) => id === config.id && roles.includes('validator'))
        return !isVoter || reachable.length === validators || reachable.length - 1 >= quorum
      },
      submit: inOwnName,
    })
    closers.push(() => releases?.stop())
    for (const feed of taxiiFeeds) {
      await feed.start()
      closers.push(() => feed.stop())
    }
    playbooks.start()
    closers.push(() => playbooks.stop())
    acme?.start()
    const expiry = new ExpiryWatch(
      () => [...ages.credentials(), ...credentialsOf(proxy.certificates(), estUntil, ledger.state())],
      events,
    )
    expiry.start()
    closers.push(() => expiry.stop())
    events.add('node', 'info', `serving at height ${view.height}, policy ${view.policyVersion}`)
    return node
  } catch (error) {
    await closeAll()
    throw error
  }
}

async function openAudit(
  config: NodeConfig,
  ring: string,
  log: (level: 'info' | 'warn', line: string) => void,
): Promise<AuditLog | undefined> {
  if (config.audit === undefined) return undefined
  const audit = new AuditLog(config.audit, { ring, node: config.id, listen: config.listen.traffic[0]!, log })
  await audit.start().catch((cause: Error) => {
    throw new StartError('CONFIG_INVALID', `audit.file: ${cause.message}`, { cause })
  })
  return audit
}

/** Of what somebody shows to this ring alone, each once. */
function kindsOf(person: Person | undefined): readonly ('passkey' | 'password')[] {
  const kinds = new Set(person?.credentials.map(({ kind }) => kind))
  return (['passkey', 'password'] as const).filter((kind) => kinds.has(kind))
}

/** The statement of the transaction with this id. */
function bodyIn(txs: readonly Uint8Array[], id: string): TxBody | undefined {
  return txs.map((bytes) => parseTx(bytes).content).find((content) => txId(content) === id)?.body
}

/** This node, where it has secrets opened for itself. */
function readerOfNode(id: string, key: KeyObject): Reader {
  return { issuer: `node:${id}`, certificate: '', sign: async (message) => encodeBase64url(signMessage(key, message)) }
}

function statementOf({ kind, digest, signature }: EvidenceStatement): SignedStatement {
  return { kind, digest: digest ?? null, signature: encodeBase64url(signature) }
}

function viewOf(application: RingApplication, ledger: RingLedger, self: string): View {
  const { height, timestampMs } = ledger.status()
  return application.view(ledger.state(), height, timestampMs, self)
}
