export { type OperatorVerdict, verifyOperatorToken } from './operator-token.ts'
export { createTokenVerifier, type TokenRefusal, type TokenVerifierOptions } from './token-verifier.ts'
