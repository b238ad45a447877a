/** The verifier of a password as PostgreSQL keeps it: SCRAM-SHA-256 (RFC 5803, RFC 7677), by node:crypto. */
import { createHmac, hash, pbkdf2Sync, randomBytes } from 'node:crypto'

const ITERATIONS = 4_096
const SALT_BYTES = 16
/** Of a password: no dictionary has it, so that its verifier may be seen. */
const PASSWORD_BYTES = 24

const mac = (key: Uint8Array, text: string): Buffer => createHmac('sha256', key).update(text).digest()

/** @param password Printable ASCII: SASLprep (RFC 4013) leaves it as it is. */
export function scramVerifier(password: string, salt: Uint8Array = randomBytes(SALT_BYTES)): string {
  const salted = pbkdf2Sync(password, salt, ITERATIONS, 32, 'sha256')
  const storedKey = hash('sha256', mac(salted, 'Client Key'), 'base64')
  const serverKey = mac(salted, 'Server Key').toString('base64')
  return `SCRAM-SHA-256$${ITERATIONS}:${Buffer.from(salt).toString('base64')}$${storedKey}:${serverKey}`
}

export function newPassword(): { readonly password: string; readonly verifier: string } {
  const password = randomBytes(PASSWORD_BYTES).toString('base64url')
  return { password, verifier: scramVerifier(password) }
}
