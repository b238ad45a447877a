/**
 * A secret that only one TPM can read, and only for one of its keys: TPM2_MakeCredential in software (TPM 2.0 Library, part 1, sections 24 and
 * B.10.4). The TPM gives it to whoever can use its endorsement key, after it has seen that the named key lives in it as well.
 */
import { constants, createCipheriv, createHmac, publicEncrypt } from 'node:crypto'
import { parseTpmPublic } from './public-area.ts'
import { TpmMalformed } from './reader.ts'

const SEED_BYTES = 32
/** What tpm2_activatecredential expects before the two structures. */
const FILE_HEADER = Buffer.from('badcc0de00000001', 'hex')

function u16(value: number): Buffer {
  return Buffer.of(value >> 8, value & 0xff)
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

/** SP 800-108 in counter mode, as part 1 section 11.4.10.2 has it; one block is all that is needed. */
function kdfa(key: Uint8Array, label: string, context: Uint8Array, bits: number): Buffer {
  const parts = [u32(1), Buffer.from(`${label}\0`, 'latin1'), context, u32(bits)]
  return createHmac('sha256', key)
    .update(Buffer.concat(parts))
    .digest()
    .subarray(0, bits / 8)
}

/**
 * @param endorsementKey TPM2B_PUBLIC, RSA. @param attestationKey TPM2B_PUBLIC. @param secret Of at most 32 bytes. @param seed 32 random bytes.
 * @returns As `tpm2_activatecredential --credential-blob` reads it.
 * @throws {TpmMalformed} Also when the keys are not what they must be.
 */
export function makeCredential(
  endorsementKey: Uint8Array,
  attestationKey: Uint8Array,
  secret: Uint8Array,
  seed: Uint8Array,
): Buffer {
  const [endorsement, attestation] = [parseTpmPublic(endorsementKey), parseTpmPublic(attestationKey)]
  if (endorsement.kind !== 'rsa' || !endorsement.isEndorsementKey)
    throw new TpmMalformed('the endorsement key must be a restricted RSA key that decrypts')
  if (!attestation.isAttestationKey) throw new TpmMalformed('the attestation key must be a restricted key that signs')
  if (seed.length !== SEED_BYTES || secret.length > SEED_BYTES)
    throw new TpmMalformed('the secret or the seed has a wrong length')
  const wrapped = publicEncrypt(
    { key: endorsement.key, oaepHash: 'sha256', oaepLabel: Buffer.from('IDENTITY\0'), padding: constants.RSA_PKCS1_OAEP_PADDING },
    seed,
  )
  const cipher = createCipheriv('aes-128-cfb', kdfa(seed, 'STORAGE', attestation.name, 128), Buffer.alloc(16))
  const identity = Buffer.concat([cipher.update(Buffer.concat([u16(secret.length), secret])), cipher.final()])
  const integrity = createHmac('sha256', kdfa(seed, 'INTEGRITY', Buffer.alloc(0), 256))
    .update(identity)
    .update(attestation.name)
    .digest()
  const blob = Buffer.concat([u16(integrity.length), integrity, identity])
  return Buffer.concat([FILE_HEADER, u16(blob.length), blob, u16(wrapped.length), wrapped])
}
