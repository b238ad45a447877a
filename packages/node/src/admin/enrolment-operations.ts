/** What the admin API shows of invitations and devices, and of where others find the ring. */
import { trustState } from '../enrolment/trust.ts'
import type { RunningNode } from '../running-node.ts'
import type { Operation } from './http.ts'

export function enrolmentOperations(node: RunningNode): readonly Operation[] {
  return [{ method: 'GET', path: '/v1/enrolment', run: () => ({ json: enrolment(node) }) }]
}

function enrolment(node: RunningNode): unknown {
  const state = node.ledger.state()
  const nowMs = Date.now()
  const { trust } = state.enrolment
  return {
    ring: node.ring,
    height: node.view().height,
    addresses: state.nodes.map(({ id, region, address, publicKey }) => ({ id, region, address, publicKey })),
    invitations: state.enrolment.invitations().map(({ key, by, expiresAtMs, region, roles, used }) => ({
      key,
      by,
      expiresAtMs,
      region,
      roles,
      state: used !== null ? 'used' : expiresAtMs > nowMs ? 'open' : 'expired',
      node: used?.node ?? null,
    })),
    devices: state.enrolment.devices(),
    beacon: trust.beacons.at(-1)?.value ?? null,
    attestation: { ...node.view().policy.devices.attestation },
    trust: trust.nodes.map((record) => ({
      node: record.node,
      kind: record.kind,
      state: trustState(record, nowMs),
      atMs: record.atMs,
      staleAtMs: record.staleAtMs,
      untilMs: record.untilMs,
      program: record.program,
      configuration: record.configuration,
      pcrs: record.pcrs,
    })),
    endorsements: trust.endorsements,
    expelled: trust.expelled,
    references: trust.references,
    certificates: state.enrolment.est.clients.map(({ name, by, atMs, publicKey }) => ({ name, by, atMs, publicKey })),
    refusals: Object.fromEntries(node.reception.refusals),
  }
}
