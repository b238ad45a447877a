import assert from 'node:assert/strict'
import { test } from 'node:test'
import { currentTicketSecret, newTicketSecret, ticketKeys } from './ticket-secret.ts'

const HOUR_MS = 3_600_000
const START = 1_790_000_000_000 - (1_790_000_000_000 % (6 * HOUR_MS))

test('those who begin with one secret have the same keys at any later time, however often they looked', () => {
  const secret = newTicketSecret(START)
  let often = secret
  for (let hour = 0; hour <= 30; hour++) often = currentTicketSecret(often, START + hour * HOUR_MS)
  const once = currentTicketSecret(secret, START + 30 * HOUR_MS)
  assert.deepEqual(ticketKeys(often), ticketKeys(once))
  assert.equal(ticketKeys(once).length, 48)
})

test('a secret and its keys last six hours, and what follows is another', () => {
  const secret = newTicketSecret(START)
  assert.equal(currentTicketSecret(secret, START + 6 * HOUR_MS - 1), secret)
  assert.equal(currentTicketSecret(secret, START - 100 * HOUR_MS), secret)
  const next = currentTicketSecret(secret, START + 6 * HOUR_MS)
  assert.notDeepEqual(ticketKeys(next), ticketKeys(secret))
  assert.notDeepEqual(Buffer.from(next.bytes), Buffer.from(secret.bytes))
  assert.notDeepEqual(newTicketSecret(START).bytes, newTicketSecret(START).bytes)
})
