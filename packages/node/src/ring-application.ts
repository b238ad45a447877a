/** The ring's application with the cryptography, the rules and the guard of a node. */
import { randomInt } from 'node:crypto'
import { readCsr, readQuote, readVoucher } from '@ringwall/enroll'
import { judgePolicy } from '@ringwall/guard'
import { compileAuthorization } from '@ringwall/identity'
import {
  createRingApplication,
  type GenesisDocument,
  type RingApplication,
  type RuleCompiler,
  type RuleLibrary,
} from '@ringwall/ring'
import { compileRules } from '@ringwall/waf'
import { sha256Hex, verifySignature } from './keys.ts'

/** @throws {GenesisInvalid} When the first policy is not valid with these rules. */
export function ringApplication(
  genesis: GenesisDocument,
  rules: RuleLibrary,
  compile: RuleCompiler = compileRules,
): RingApplication {
  return createRingApplication({
    genesis,
    verify: verifySignature,
    hash: sha256Hex,
    hashSeed: [randomInt(2 ** 32), randomInt(2 ** 32)],
    compile,
    rules,
    judge: judgePolicy,
    authorization: compileAuthorization,
    voucher: readVoucher,
    quote: readQuote,
    csr: readCsr,
  })
}
