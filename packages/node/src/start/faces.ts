/** What others speak to: the admin API with what stands beside it, programs on this machine, devices, S3 and TAXII clients. */
import { verifyOperatorToken } from '@ringwall/identity'
import { AdminServer, CONSOLE_DIRECTORY } from '../admin/http.ts'
import { adminOperations } from '../admin/operations.ts'
import { announceOnLink } from '../enrolment/announce.ts'
import { EstServer } from '../est/est-server.ts'
import type { ExpiringFile } from '../expiry-watch.ts'
import { HashicorpFace } from '../hashicorp/face.ts'
import { denialOfCredential } from '../known-denials.ts'
import { LeaseKeeper } from '../leases/lease-keeper.ts'
import type { RunningNode } from '../running-node.ts'
import { S3Server } from '../s3/s3-server.ts'
import { startTaxii } from '../taxii/node-taxii.ts'
import { VERSION } from '../version.ts'
import type { NodeParts } from './running.ts'
import { vaultReading } from './vault-reading.ts'

/** Opens the admin API, and keeps leases; nothing listens yet. */
export function openFaces(parts: NodeParts, node: RunningNode): AdminServer {
  const { ground, agreement, watches } = parts
  const { config, ring } = ground
  const face = hashicorpFace(parts, node)
  keepLeases(parts)
  return new AdminServer({
    listen: config.listen.admin,
    operations: adminOperations(node),
    consoleDirectory: CONSOLE_DIRECTORY,
    ownerOf: (key) => node.bouncers.ownerOf(key),
    onOperation: (operator, operation) => watches.insiders.operated(`operator:${operator}`, operation, Date.now()),
    other: face,
    signIn: (token) => verifyOperatorToken(token, { ring, operators: agreement.now.view.operators, nowMs: Date.now() }),
    isOperator: (name) => agreement.now.view.operators.some((one) => one.name === name),
  })
}

/** @returns The certificate of one that has its own. */
export async function startFaces(parts: NodeParts, admin: AdminServer): Promise<ExpiringFile | undefined> {
  const { closing } = parts.ground
  await admin.start()
  closing.add(() => admin.stop())
  const { workloads } = parts
  if (workloads !== undefined) {
    await workloads.start()
    closing.add(() => workloads.stop())
  }
  await announce(parts)
  const expiring = await startEst(parts)
  await startS3(parts)
  await startTaxiiServer(parts)
  return expiring
}

function hashicorpFace({ ground, agreement, watches, keys }: NodeParts, node: RunningNode): HashicorpFace {
  const { early, ledger, now } = agreement
  return new HashicorpFace({
    id: ground.config.id,
    ring: ground.ring,
    version: VERSION,
    isReady: () => node.ready(),
    view: () => now.view,
    state: () => ledger.state(),
    denials: { matchCredential: (credential, nowMs) => denialOfCredential(now.view, early, credential, nowMs) },
    open: (signed) => keys.vault.open(signed),
    mint: (asked, timeoutMs) => keys.signing.mint(asked, timeoutMs),
    propose: node.proposeContent,
    proposeInOwnName: node.proposeInOwnName,
    onLiars: watches.onLiars,
  })
}

function keepLeases({ ground, agreement, own, membership, watches, keys }: NodeParts): void {
  const { events, closing } = ground
  const leases = new LeaseKeeper({
    ...vaultReading(ground, agreement, own, watches, keys),
    submit: (body) => own.submit(body),
    isHeld: () => membership.holds.hold !== undefined,
    events,
  })
  closing.add(() => leases.stop())
}

/** Devices on the same link find the ring by it. */
async function announce({ ground, agreement }: NodeParts): Promise<void> {
  const { config, self, events, closing } = ground
  if (config.announce !== true) return
  const own = agreement.now.view.nodes.find(({ id }) => id === config.id) ?? self
  const end = await announceOnLink(own).catch((error: Error) =>
    events.add('node', 'warn', `nobody on the link hears of this node: ${error.message}`),
  )
  if (end !== undefined) closing.add(end)
}

async function startEst({ ground, agreement, own, keys }: NodeParts): Promise<ExpiringFile | undefined> {
  const { config, ring, events, closing } = ground
  const { ledger, now } = agreement
  if (config.est === undefined) return undefined
  const est = new EstServer({
    config: config.est,
    self: config.id,
    ring,
    state: () => ledger.state(),
    view: () => now.view,
    sign: (message) => own.sign(message),
    mint: (asked, timeoutMs) => keys.signing.mint(asked, timeoutMs),
    submit: (body, waitMs) => own.submit(body, waitMs),
    say: (level, line) => events.add('key', level, line),
  })
  await est.start()
  closing.add(() => est.stop())
  return { file: config.est.certificate, notAfterMs: est.notAfterMs }
}

async function startS3({ ground, objects }: NodeParts): Promise<void> {
  const { config, events, closing } = ground
  if (config.s3 === undefined) return
  const say = (level: 'info' | 'warn', line: string): void => events.add('vault', level, line)
  const s3 = new S3Server({ config: config.s3, self: config.id, service: objects.objects.service, say })
  await s3.start()
  closing.add(() => s3.stop())
}

async function startTaxiiServer({ ground, agreement, judging }: NodeParts): Promise<void> {
  const { config, ring, disk, log, closing } = ground
  const { now } = agreement
  if (config.taxii === undefined) return
  const taxii = await startTaxii({
    config: config.taxii,
    data: config.data,
    ring,
    sets: config.indicators,
    indicators: judging.indicators,
    seal: disk.seal,
    view: () => now.view,
    version: () => now.blocksWithNews,
    operator: (token) => {
      const verdict = verifyOperatorToken(token, { ring, operators: now.view.operators, nowMs: Date.now() })
      return verdict.ok ? verdict.operator : undefined
    },
    say: log,
  })
  closing.add(() => taxii.stop())
}
