/** `ringwall check`: what is well and what is not, with a fix for each. */
import { statfs } from 'node:fs/promises'
import { faultsOf } from '@ringwall/consensus'
import type { CertificateStatus } from '@ringwall/proxy'
import { KEY_NAMES, type KeyName, viewOfKey } from '@ringwall/ring'
import { checkAttestation } from './enrolment/check-attestation.ts'
import { checkAges, checkServed } from './fleet/check-fleet.ts'
import { UNCONFIRMED_MAX } from './provisional.ts'
import type { RunningNode } from './running-node.ts'
import { checkWorkloads } from './workloads/check-workloads.ts'

export interface CheckFinding {
  readonly group:
    | 'ring'
    | 'ledger'
    | 'links'
    | 'clock'
    | 'policy'
    | 'upstreams'
    | 'certificates'
    | 'storage'
    | 'traffic'
    | 'key'
    | 'attestation'
    | 'fleet'
  readonly level: 'ok' | 'warn' | 'bad'
  readonly what: string
  readonly fix: string | null
}

const SKEW_WARN_MS = 500
const LAPSES_SOON_MS = 86_400_000
const SKEW_BAD_MS = 4_000
const AGE_WARN_MS = 10_000
const FREE_BYTES_WARN = 1_000_000_000
const FREE_BYTES_BAD = 100_000_000
const DAY_MS = 86_400_000
/** Renewals by ACME come 30 days ahead: what is nearer than this was not renewed. */
const EXPIRY_WARN_DAYS = 21
const EXPIRY_BAD_DAYS = 3

export async function checkNode(node: RunningNode): Promise<readonly CheckFinding[]> {
  return [
    ...checkRing(node),
    ...checkLedger(node),
    ...checkLinks(node),
    ...KEY_NAMES.flatMap((name) => checkKey(node, name)),
    ...checkWorkloads(node),
    ...checkAttestation(node.ledger.state(), node.view().policy.devices, Date.now()),
    ...checkAges(node.ledger.state(), node.view().policy.fleet, Date.now()),
    ...checkServed(node.ledger.state(), node.view().policy),
    ...checkPolicy(node),
    ...checkUpstreams(node),
    ...checkCertificates(node.proxy.certificates(), Date.now()),
    ...checkAcme(node),
    ...(await checkStorage(node)),
    ...checkDisk(node),
  ]
}

const ok = (group: CheckFinding['group'], what: string): CheckFinding => ({ group, level: 'ok', what, fix: null })

function checkRing(node: RunningNode): readonly CheckFinding[] {
  const { validators, quorum, reachable, unreachable, evidence } = node.ledger.status()
  const findings: CheckFinding[] = []
  const missing = unreachable.join(', ')
  if (reachable.length < quorum) {
    findings.push({
      group: 'ring',
      level: 'bad',
      what: `no quorum: ${reachable.length} of ${validators} validators answer, ${quorum} are needed; grants wait, denials still spread`,
      fix: `bring back ${missing}: ringwall node --config FILE on its machine`,
    })
  } else if (unreachable.length > 0) {
    const left = reachable.length - quorum
    findings.push({
      group: 'ring',
      level: 'warn',
      what: `${missing} ${unreachable.length === 1 ? 'does' : 'do'} not answer; ${left === 0 ? 'one more failure stops agreement' : `${left} more may fail`}`,
      fix: `restart ${missing}: ringwall node --config FILE on its machine; it catches up by itself`,
    })
  } else
    findings.push(ok('ring', `${reachable.length} of ${validators} validators answer; ${faultsOf(validators)} may fail or lie`))
  for (const { validator, kind, round } of evidence) {
    findings.push({
      group: 'ring',
      level: 'bad',
      what: `${validator} signed two different ${kind} in round ${round}: it is faulty or taken over`,
      fix: `the ring evicts it; make its machine anew, with a new id and key: ringwall node init`,
    })
  }
  for (const { issuer, count } of node.early.unconfirmedByIssuer(Date.now())) {
    const id = issuer.replace(/^node:/, '')
    const many = count >= UNCONFIRMED_MAX
    findings.push({
      group: 'ring',
      level: many ? 'bad' : 'warn',
      what: `${issuer} signed ${count} ${count === 1 ? 'denial' : 'denials'} within the hour that nobody confirmed${many ? '; what it signs no longer holds before it is confirmed' : ''}`,
      fix: `compare what ${id} found with its traffic: ringwall events --node ${id}; a node that denies what nobody else sees may be taken over`,
    })
  }
  return findings
}

function checkLedger(node: RunningNode): readonly CheckFinding[] {
  const { halted, height, lag, syncing, mempool, repairs, role, votes } = node.ledger.status()
  const certifiedAtMs = node.certifiedAtMs()
  const ageMs = certifiedAtMs === undefined ? undefined : Date.now() - certifiedAtMs
  const findings: CheckFinding[] = []
  if (halted !== undefined) {
    const fix =
      'compare the nodes’ ledgers (ringwall ledger show), find out who signed both histories, and see docs/operations.md'
    findings.push({ group: 'ledger', level: 'bad', what: halted, fix })
  }
  if (ageMs === undefined) {
    findings.push({
      group: 'ledger',
      level: 'bad',
      what: `height ${height}; no block was certified since this node started`,
      fix: 'see the ring’s lines above: a quorum has to answer',
    })
  } else if (ageMs > AGE_WARN_MS) {
    findings.push({
      group: 'ledger',
      level: 'bad',
      what: `the last certified block is ${Math.round(ageMs / 1_000)} s old (height ${height})`,
      fix: 'see the ring’s lines above: a quorum has to answer',
    })
  } else findings.push(ok('ledger', `height ${height}, last certified block ${(ageMs / 1_000).toFixed(1)} s ago`))
  if (lag > 1 || syncing)
    findings.push({ group: 'ledger', level: 'warn', what: `${lag} blocks behind the others; catching up`, fix: null })
  if (role === 'follower') findings.push(ok('ledger', 'this node follows the validators; it has no vote of its own'))
  if (!votes && role === 'validator') {
    findings.push({
      group: 'ledger',
      level: 'warn',
      what: 'this validator does not vote: it no longer knows what it signed before',
      fix: 'nothing: it votes again once the ring has gone on without it for some seconds',
    })
  }
  if (mempool > 0) findings.push({ group: 'ledger', level: 'warn', what: `${mempool} transactions wait to be agreed`, fix: null })
  for (const line of repairs)
    findings.push({ group: 'ledger', level: 'warn', what: line, fix: 'check the disk: smartctl -a DEVICE' })
  return findings
}

/** Nothing in a ring of one, which has no such key, and of the sealing key none while the vault was never opened. */
function checkKey(node: RunningNode, name: KeyName): readonly CheckFinding[] {
  const state = node.ledger.state()
  const { key, threshold, holders, ceremony, faults } =
    name === 'signing' ? node.view().signingKey : viewOfKey(state.sealingKey, state.validators)
  const holdsShare = name === 'signing' ? node.signing.holdsShare : node.vault.holdsShare
  const verb = name === 'signing' ? 'sign' : 'open'
  if (key === undefined && ceremony === undefined) return []
  const findings: CheckFinding[] = []
  const waits =
    ceremony === undefined || ceremony.waitingFor.length === 0 ? '' : `; it waits for ${ceremony.waitingFor.join(', ')}`
  if (key === undefined) {
    const what = `the ${name} key is being made${waits}`
    findings.push({ group: 'key', level: 'warn', what, fix: 'nothing, when the ring is new; else bring those back' })
  } else if (holders.includes(node.config.id) && !holdsShare) {
    findings.push({
      group: 'key',
      level: 'warn',
      what: `this node has no share of the ${name} key, and ${verb}s nothing with the others`,
      fix: `nothing, while a ceremony ends; else: ringwall key refresh ${name}`,
    })
  } else findings.push(ok('key', `the ${name} key stands: ${threshold} of ${holders.length} ${verb}`))
  if (key !== undefined && ceremony !== undefined && waits !== '')
    findings.push({ group: 'key', level: 'warn', what: `the ${name} key is being handed on${waits}`, fix: 'bring those back' })
  const liars = new Set(
    [...faults.filter(({ fault }) => !fault.startsWith('silent')), ...(name === 'signing' ? node.signing.faults : [])].map(
      ({ party }) => party,
    ),
  )
  const members = new Set(node.view().nodes.map(({ id }) => id))
  for (const party of liars) {
    if (!members.has(party)) continue
    findings.push({
      group: 'key',
      level: 'bad',
      what: `${party} lied with its part of the ${name} key: it is faulty or taken over`,
      fix: `look at it with ringwall key show ${name}, and let it go: ringwall node rm ${party}`,
    })
  }
  return findings
}

function checkLinks(node: RunningNode): readonly CheckFinding[] {
  const links = node.fabric.links()
  const findings: CheckFinding[] = []
  for (const { id, connected, reason, roundTripMs, clockOffsetMs } of links) {
    if (!connected) {
      findings.push({
        group: 'links',
        level: 'warn',
        what: `${id}: ${reason ?? 'no link'}`,
        fix: `is ${id} running, and its fabric port open to this machine?`,
      })
      continue
    }
    findings.push(ok('links', `${id}: ${roundTripMs === undefined ? 'linked' : `${roundTripMs.toFixed(1)} ms`}`))
    const skew = Math.abs(clockOffsetMs ?? 0)
    if (skew > SKEW_WARN_MS) {
      findings.push({
        group: 'clock',
        level: skew > SKEW_BAD_MS ? 'bad' : 'warn',
        what: `${id}’s clock is ${(skew / 1_000).toFixed(1)} s ${(clockOffsetMs as number) > 0 ? 'ahead' : 'behind'}${skew > SKEW_BAD_MS ? '; its blocks are refused beyond 5 s' : ''}`,
        fix: 'run a time service (chrony, systemd-timesyncd) on both machines',
      })
    }
  }
  if (links.length > 0 && !findings.some(({ group }) => group === 'clock')) findings.push(ok('clock', 'the nodes’ clocks agree'))
  return findings
}

function checkPolicy(node: RunningNode): readonly CheckFinding[] {
  const { policyVersion, policy, policyText } = node.view()
  const services = Object.keys(policy.services).length
  const findings = [ok('policy', `version ${policyVersion}, ${services} service${services === 1 ? '' : 's'}`)]
  const { tests, problems } = node.application.review(node.ledger.state(), policyText, Date.now())
  const passed = tests.filter((test) => test.ok).length
  if (problems.length === 0)
    findings.push(ok('policy', tests.length === 0 ? 'it has no tests of its own' : `its ${passed} tests pass`))
  for (const { message } of problems) {
    findings.push({
      group: 'policy',
      level: 'warn',
      what: `with the rules that this node has, ${message}`,
      fix: 'are the rule sets of all nodes the same? else correct the policy: ringwall policy test',
    })
  }
  for (const [name, service] of Object.entries(policy.services)) {
    if (service.waf.mode !== 'enforce') {
      findings.push({
        group: 'policy',
        level: 'warn',
        what: `${name}: the WAF ${service.waf.mode === 'off' ? 'is off' : `only watches (${service.waf.mode})`}`,
        fix: `set services.${name}.waf.mode to enforce, then ringwall policy apply`,
      })
    }
  }
  const nowMs = Date.now()
  const running = policy.exceptions.filter(({ until }) => Date.parse(until) > nowMs)
  if (running.length > 0) findings.push(ok('policy', `${running.length} exceptions from rules`))
  for (const { name, owner, until } of running.filter((one) => Date.parse(one.until) - nowMs < LAPSES_SOON_MS)) {
    findings.push({
      group: 'policy',
      level: 'warn',
      what: `the exception ${name} of ${owner} lapses at ${until}`,
      fix: 'mend the rule or the application, or renew it: ringwall rule except REQUEST-ID',
    })
  }
  if (node.config.explainHeader) {
    findings.push({
      group: 'policy',
      level: 'warn',
      what: 'explainHeader tells clients which rule refused them',
      fix: 'set explainHeader: false in node.yaml for production',
    })
  }
  return findings
}

function checkUpstreams(node: RunningNode): readonly CheckFinding[] {
  const all = node.proxy.upstreams()
  return all.map(({ service, url, healthy, state, reason }) => {
    if (healthy) return ok('upstreams', `${service}: ${url}`)
    const others = all.some((other) => other.service === service && other.healthy)
    return {
      group: 'upstreams',
      level: others ? 'warn' : 'bad',
      what: `${service}: ${url} ${reason ?? 'does not answer'}; ${others ? 'others carry its share' : 'its clients get 502'}`,
      fix:
        state === 'ejected'
          ? `see why it answers as it does; services.${service}.outliers says when it is left out`
          : `start what listens on ${url}, or correct services.${service}.upstreams`,
    }
  })
}

/** @param nowMs Unix milliseconds. */
export function checkCertificates(certificates: readonly CertificateStatus[], nowMs: number): readonly CheckFinding[] {
  return certificates.flatMap(({ certificate, names, notBeforeMs, notAfterMs, problem }): readonly CheckFinding[] => {
    const whom = names.length === 0 ? 'no host name' : `${names.slice(0, 3).join(', ')}${names.length > 3 ? ', …' : ''}`
    const what = `${certificate} (${whom})`
    const days = Math.floor((notAfterMs - nowMs) / DAY_MS)
    const until = new Date(notAfterMs).toISOString().slice(0, 10)
    const findings: CheckFinding[] = []
    const fix = 'renew it; the new files are taken up by themselves'
    if (problem !== undefined) {
      const level = days < EXPIRY_BAD_DAYS ? 'bad' : 'warn'
      findings.push({
        group: 'certificates',
        level,
        what: `new files are refused: ${problem}; what was read before stays in use`,
        fix: 'put a certificate and its own key there; they are taken up by themselves',
      })
    }
    if (nowMs < notBeforeMs)
      findings.push({
        group: 'certificates',
        level: 'bad',
        what: `${what} is not valid yet`,
        fix: 'is this machine’s clock right?',
      })
    else if (days < 0) findings.push({ group: 'certificates', level: 'bad', what: `${what} has expired at ${until}`, fix })
    else if (days < EXPIRY_WARN_DAYS)
      findings.push({
        group: 'certificates',
        level: days < EXPIRY_BAD_DAYS ? 'bad' : 'warn',
        what: `${what} expires in ${days} days, at ${until}`,
        fix,
      })
    else findings.push(ok('certificates', `${what}: valid until ${until}`))
    return findings
  })
}

function checkAcme({ acme }: RunningNode): readonly CheckFinding[] {
  return (acme?.status() ?? []).flatMap(({ names, problem, dueMs }) => {
    if (problem === undefined) return []
    const what = `no new certificate for ${names.join(', ')}: ${problem}`
    const fix = `see that the name leads here, ports 80 and 443 from outside; tried again at ${new Date(dueMs).toISOString().slice(0, 19)}Z`
    return [{ group: 'certificates', level: 'warn', what, fix } as const]
  })
}

/** What a seal is worth depends on what else opens it. */
function checkDisk({ disk, config }: RunningNode): readonly CheckFinding[] {
  if (disk.lock === 'ring') return [ok('storage', 'the ring keeps the key of the disk: nothing on this machine opens it')]
  if (config.diskSeal === 'ring') {
    const fix = 'vault: { disks: true } in the policy, and at least two validators; until then the key file opens it'
    return [{ group: 'storage', level: 'warn', what: 'the ring does not keep the key of the disk yet', fix }]
  }
  if (disk.lock === 'passphrase') return [ok('storage', 'the disk is sealed under the key file and a passphrase')]
  if (disk.lock === 'none') {
    const fix = 'disk: { seal: local } in node.yaml, and a restart'
    return [
      { group: 'storage', level: 'warn', what: `${config.data} lies in the clear: who reads the disk reads all of it`, fix },
    ]
  }
  const what = 'the disk is sealed under the node’s key file alone: who takes both reads it'
  return [ok('storage', `${what}; a passphrase or another place for the key file prevents that`)]
}

async function checkStorage(node: RunningNode): Promise<readonly CheckFinding[]> {
  const { bavail, bsize } = await statfs(node.config.data)
  const free = bavail * bsize
  const what = `${(free / 1e9).toFixed(1)} GB free for ${node.config.data}`
  if (free > FREE_BYTES_WARN) return [ok('storage', what)]
  return [
    {
      group: 'storage',
      level: free > FREE_BYTES_BAD ? 'warn' : 'bad',
      what,
      fix: 'free some space: a node that cannot write stops voting',
    },
  ]
}
