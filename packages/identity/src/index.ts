export { compileAuthorization, POLICIES_MAX, userId } from './cedar-authorizer.ts'
export { type OperatorVerdict, verifyOperatorToken } from './operator-token.ts'
export { createTokenVerifier, type TokenRefusal, type TokenVerifierOptions } from './token-verifier.ts'
