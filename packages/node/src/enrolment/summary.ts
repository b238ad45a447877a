/** What was said of invitations and devices, in a line for people. */
import type { EnrolmentStatement } from '@ringwall/ring'

export function summarizeEnrolment(body: EnrolmentStatement): string {
  switch (body.type) {
    case 'node.invite':
      return `invites a node as ${body.roles.join(' and ')}${body.region === null ? '' : ` in ${body.region}`}: ${body.reason}`
    case 'node.join':
      return `${body.node.id} joins as ${body.node.roles.join(' and ')}, by invitation`
    case 'device.register':
      return `a device may join as ${body.roles.join(' and ')}: ${body.reason}`
    case 'device.transfer':
      return `the device ${body.serial} goes to another owner: ${body.reason}`
    case 'device.remove':
      return `the device ${body.serial} is removed for good: ${body.reason}`
    case 'attest.quote':
      return body.alarm === null
        ? `attests${body.tpm === null ? ' by software' : ' by its TPM'}`
        : `raises an alarm: ${body.alarm}`
    case 'attest.enrol':
      return `an attestation key, vouched for by ${body.verdicts.map(({ node }) => node).join(', ')}`
    case 'attest.reference':
      return `${body.allowed ? `allows ${body.scope === 'all' ? '' : `to ${body.scope} `}` : 'no longer allows '}the ${body.kind} ${body.digest.slice(0, 16)}… (${body.label}): ${body.reason}`
    case 'attest.bind':
      return `${body.node} has the TPM ${body.ek.slice(0, 16)}…: ${body.reason}`
    case 'attest.accept':
      return `what ${body.node} measures next is how it is to be: ${body.reason}`
    case 'est.invite':
      return `lets ${body.name} get a certificate, once: ${body.reason}`
    case 'est.enrol':
      return `${body.name} may have certificates, ${body.secret === null ? 'by the key that it was made with' : 'by a one-time secret'}`
    case 'est.revoke':
      return `${body.name} gets no more certificates: ${body.reason}`
    case 'device.join':
      return `${body.node.id} joins as ${body.node.roles.join(' and ')}: it is the device ${body.serial}`
  }
}
