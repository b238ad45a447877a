/** What the admin API says of people: who there is, and how each may log in. Keys are no secrets, and of no use here. */
import type { Person } from '@ringwall/ring'
import type { RunningNode } from '../running-node.ts'
import type { Operation } from './http.ts'

export function peopleOperations(node: RunningNode): readonly Operation[] {
  return [{ method: 'GET', path: '/v1/people', run: () => ({ json: { people: node.ledger.state().people.list().map(shown) } }) }]
}

function shown({ name, groups, credentials, invitation, sinceMs }: Person): unknown {
  const invited = invitation !== null && invitation.untilMs > Date.now()
  return {
    name,
    groups,
    passkeys: credentials.filter(({ kind }) => kind === 'passkey').length,
    outside: credentials.flatMap((one) => (one.kind === 'outside' ? [{ provider: one.provider, subject: one.subject }] : [])),
    password: credentials.some(({ kind }) => kind === 'password'),
    invitedUntilMs: invited ? invitation.untilMs : null,
    sinceMs,
  }
}
