import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ProposalOffers } from './proposal-offers.ts'

const AT = { validators: 4, round: 20, finalRound: 18 }
const HALF_A_MEGABYTE = 500_000

test('a proposal of the round’s leader is looked at, and so is what it says again when timers run out', () => {
  const offers = new ProposalOffers()
  for (let i = 0; i < 3; i += 1) assert.equal(offers.weigh({ round: 23, proposer: 3 }, 3, HALF_A_MEGABYTE, AT), 0)
})

test('the fourth proposal of a round weighs by its bytes, and other rounds are looked at as before', () => {
  const offers = new ProposalOffers()
  for (let i = 0; i < 3; i += 1) offers.weigh({ round: 23, proposer: 3 }, 3, 100, AT)
  assert.equal(offers.weigh({ round: 23, proposer: 3 }, 3, HALF_A_MEGABYTE, AT), 8)
  assert.equal(offers.weigh({ round: 23, proposer: 3 }, 3, 100, AT), 1)
  assert.equal(offers.weigh({ round: 27, proposer: 3 }, 3, HALF_A_MEGABYTE, AT), 0)
})

test('a proposal in another’s name, out of turn, or for a round far ahead is not worth decoding', () => {
  const offers = new ProposalOffers()
  assert.equal(offers.weigh({ round: 23, proposer: 3 }, 2, HALF_A_MEGABYTE, AT), 8, 'passed on by another')
  assert.equal(offers.weigh({ round: 22, proposer: 3 }, 3, HALF_A_MEGABYTE, AT), 8, 'the turn of 2')
  assert.equal(offers.weigh({ round: 87, proposer: 3 }, 3, HALF_A_MEGABYTE, AT), 8, 'beyond what a voter keeps')
  assert.equal(offers.weigh({ round: 83, proposer: 3 }, 3, HALF_A_MEGABYTE, AT), 0, 'the last that it keeps')
})

test('what comes after its round is final weighs little, however large: its sender may be behind', () => {
  assert.equal(new ProposalOffers().weigh({ round: 15, proposer: 3 }, 3, HALF_A_MEGABYTE, AT), 1)
})
