/**
 * `npm run sim:threshold-mutants`: faults planted in `packages/threshold`, one at a time, and in the shell of the simulation (`planted.ts`);
 * its checkers have to find each, over elements that are their own logarithms, unless `--arithmetic real` says over the groups that nodes compute in.
 */

import { join } from 'node:path'
import { oneOf, readOptions, text, whole } from '../tools/options.ts'
import { huntAll, one as oneIn, type ShellMutant, type SourceMutant } from './planted.ts'
import { ARITHMETICS } from './threshold/arithmetic.ts'
import type { Mutation } from './threshold/run.ts'

const one = (name: string, file: string, find: string, put: string): SourceMutant => oneIn(name, 'threshold', file, find, put)

const IN_THE_PACKAGE: readonly SourceMutant[] = [
  one(
    'shares are not checked against the commitments',
    'dealing.ts',
    'return fits(groupNamed(ceremony.suite), dealing, receiver.index, share) ? share : undefined',
    'return share',
  ),
  one(
    'proofs of possession are not checked',
    'dealing.ts',
    'if (!verifyPossession(group, statement, constant, ephemeral, proof))',
    'if (false)',
  ),
  one(
    'the ephemeral key needs no proof',
    'proof.ts',
    '[statement, group.encode(constantNonce), ristretto.encode(ephemeralNonce)]',
    '[statement, group.encode(constantNonce), new Uint8Array(ephemeralNonce === undefined ? 1 : 0)]',
  ),
  one(
    'anything may be reshared',
    'dealing.ts',
    'if (ceremony.previous !== undefined && !group.equals(constant, ceremony.previous.verificationShare(dealer)))',
    'if (false)',
  ),
  one('the degree of a dealing is not looked at', 'dealing.ts', 'if (threshold !== ceremony.threshold)', 'if (threshold === 0)'),
  one('dealings in the name of others count', 'dealing.ts', 'if (dealer !== from)', 'if (false)'),
  one(
    'dealings of other ceremonies count',
    'wire.ts',
    'return context.length === CONTEXT_BYTES && holdsAt(bytes, MAGIC.length + 1, context)',
    'return context.length === CONTEXT_BYTES',
  ),
  one(
    'a second dealing is overlooked',
    'ceremony.ts',
    'if (sameBytes(held.message.body, message.body)) return nothing(state)',
    'if (held !== undefined) return nothing(state)',
  ),
  one('a dealer that dealt badly still counts', 'ceremony.ts', '!state.disqualified.has(dealing.dealer))', 'true)'),
  one(
    'complaints are believed without proof',
    'dealing.ts',
    "if (!verifyEquality(statement, complaint.proof)) return 'unproven'",
    '',
  ),
  one(
    'every complaint is right',
    'dealing.ts',
    "return fits(groupNamed(ceremony.suite), dealing, receiver.index, share) ? 'receiver' : 'dealer'",
    "return share === -1n ? 'receiver' : 'dealer'",
  ),
  one(
    'what was seen is not compared',
    'ceremony.ts',
    'if (answer !== undefined && !sameBytes(answer.transcript, state.transcript))',
    'if (false)',
  ),
  one('fewer dealings than needed make a key', 'plan.ts', 'return this.previous?.threshold ?? this.threshold', 'return 1'),
  one(
    'a resharing adds up instead of interpolating',
    'ceremony.ts',
    'ceremony.previous === undefined || stand.length === 0',
    'true',
  ),
  one('points of low order are let in', 'group.ts', 'return hasPrimeOrder(value) ? value : failOrder()', 'return value'),
  one(
    'the identity is let in',
    'group.ts',
    "if (equalBytes(bytes, IDENTITY)) fail('THRESHOLD_ELEMENT', 'the identity is not accepted')",
    '',
  ),
  one(
    'scalars have many spellings',
    'scalar.ts',
    "if (value >= ORDER) fail('THRESHOLD_SCALAR', 'a scalar is below the order of the group')\n  return value",
    'return value % ORDER',
  ),
  one('bytes left over are overlooked', 'wire.ts', 'if (this.#at !== this.#bytes.length)', 'if (false)'),
  one('identifier zero is accepted', 'scalar.ts', 'index < 1 ||', ''),
  one('identifiers may be there twice', 'scalar.ts', 'if (seen.has(index))', 'if (false)'),
  {
    name: 'duplicate signers count twice',
    package: 'threshold',
    edits: [
      { file: 'scalar.ts', find: 'if (seen.has(index))', put: 'if (false)' },
      { file: 'signer.ts', find: ' || own.length > 1', put: '' },
    ],
  },
  one('fewer signers than the threshold sign', 'frost.ts', 'if (commitments.length < publicKey.threshold)', 'if (false)'),
  {
    name: 'nonces are used again',
    package: 'threshold',
    edits: [
      { file: 'signer.ts', find: 'this.#stock.delete(entry.number)\n', put: '' },
      { file: 'frost.ts', find: '    this.wipe()\n    return taken', put: '    return taken' },
    ],
  },
  {
    name: 'any commitment passes for the own one',
    package: 'threshold',
    edits: [
      {
        file: 'signer.ts',
        find: '      !sameBytes(pair.commitment.hidingBytes, entry.hidingBytes) ||\n      !sameBytes(pair.commitment.bindingBytes, entry.bindingBytes)\n',
        put: '      false\n',
      },
    ],
  },
  one(
    'the challenge leaves the key out',
    'frost.ts',
    'H2(groupCommitmentBytes, publicKey.groupKey, message)',
    'H2(groupCommitmentBytes, message)',
  ),
  {
    name: 'the binding factor leaves the list out',
    package: 'threshold',
    edits: [{ file: 'frost.ts', find: 'H5(concatBytes(...list))', put: 'H5(new Uint8Array(0))' }],
    seenBy: 'frost.test.ts',
  },
  one('signatures are given out unchecked', 'frost.ts', 'if (verifyGroupSignature(context, response))', 'if (true)'),
  one(
    'whoever sent a bad signature share is not found',
    'frost.ts',
    'filter(([index, share]) => !verifyShare(context, index, share))',
    'filter(() => false)',
  ),
  one('a replay refills the stock', 'coordinator.ts', 'number > highest && ', ''),
  one(
    'two commitments under one number pass',
    'coordinator.ts',
    'if (held !== undefined && !sameCommitment(held.commitment, commitment))',
    'if (false)',
  ),
  one(
    'capsules are opened without their proof',
    'capsule.ts',
    'if (!verifyEquality(capsuleStatement(publicKey, label, u, uBar), proof))',
    'if (false)',
  ),
  one(
    'partial decryptions are not checked',
    'capsule.ts',
    'if (!verifyPartials(publicKey, capsule, partials)) {',
    'if (false) {',
  ),
  one('a batch is checked without weights', 'capsule.ts', ' & ((1n << WEIGHT_BITS) - 1n)', ' & 0n'),
  one(
    'the batch forgets the capsule half',
    'capsule.ts',
    'elements.push(a, publicKey.verificationShare(index), b, value)\n    scalars.push(negate(left), negate(multiply(left, challenge)), negate(right), negate(multiply(right, challenge)))',
    'elements.push(a, publicKey.verificationShare(index))\n    scalars.push(negate(left), negate(multiply(left, challenge)))\n    u = 0n',
  ),
  one('evidence is believed', 'blame.ts', 'return proves(ceremony, accusation, attests)', 'return true'),
  one('evidence of signing is believed', 'key-blame.ts', 'return proves(publicKey, accusation, attests)', 'return true'),
]

const IN_THE_SHELL: readonly ShellMutant<Mutation>[] = [
  { name: 'dealings are sent before they are durable', mutation: { postsBeforePersist: true } },
  { name: 'a restarted signer counts its nonces from zero', mutation: { forgetsJournal: true } },
]

const { runs, only, parties, arithmetic } = readOptions({
  runs: whole(400),
  only: text(undefined),
  parties: whole(4, 4, 32),
  arithmetic: oneOf(ARITHMETICS),
})

await huntAll<Mutation>({
  inPackages: IN_THE_PACKAGE,
  inTheShell: IN_THE_SHELL,
  packages: ['threshold'],
  only,
  script: (sim, mutation) => `
    import { runThreshold } from ${JSON.stringify(join(sim, 'threshold', 'run.ts'))}
    for (let seed = 1; seed <= ${runs}; seed += 1) {
      const { violation } = runThreshold(seed, { arithmetic: '${arithmetic}', parties: ${parties} + (seed % 2), mutation: ${mutation} })
      if (violation !== undefined) { console.log(JSON.stringify({ seed, violation })); break }
    }`,
})
