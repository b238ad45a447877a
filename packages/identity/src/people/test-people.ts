/** Somebody with a passkey and a password, made of what browsers and authenticators say: for tests. */
import { createPrivateKey, generateKeyPairSync, hash, type KeyObject, sign } from 'node:crypto'
import { createDenialIndex, type Denial, NO_SIGNING_KEY_VIEW, People, type Person } from '@ringwall/ring'
import { seededKey } from './password-key.ts'
import type { PersonView } from './person-check.ts'
import { type LoginOccasion, type LoginProof, loginChallenge, passwordLoginBytes } from './person-request.ts'

export const NOW = 1_800_000_000_000
export const RING = 'ab'.repeat(32)
export const node = generateKeyPairSync('ed25519')
export const raw = (key: KeyObject): string => key.export({ format: 'der', type: 'spki' }).subarray(-32).toString('base64url')

export interface AuthenticatorSays {
  readonly type?: string
  readonly challenge?: string
  readonly origin?: string
  readonly crossOrigin?: boolean
  readonly topOrigin?: string
  readonly rpId?: string
  readonly flags?: number
  readonly attested?: Uint8Array
}

/** A software authenticator. */
export class Authenticator {
  readonly id = Buffer.from('a credential').toString('base64url')
  readonly pair: { readonly publicKey: KeyObject; readonly privateKey: KeyObject }

  constructor(kind: 'ed25519' | 'ec' | 'rsa' = 'ec') {
    if (kind === 'ec') this.pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    else this.pair = kind === 'rsa' ? generateKeyPairSync('rsa', { modulusLength: 2_048 }) : generateKeyPairSync('ed25519')
  }

  get publicKey(): string {
    return this.pair.publicKey.export({ format: 'der', type: 'spki' }).toString('base64url')
  }

  says({
    type = 'webauthn.get',
    challenge = '',
    origin = 'https://app.example',
    crossOrigin = false,
    topOrigin,
    rpId = 'app.example',
    flags = 0x05,
    attested = new Uint8Array(0),
  }: AuthenticatorSays): { authenticatorData: string; clientDataJSON: string; signature: string } {
    const client = Buffer.from(JSON.stringify({ type, challenge, origin, crossOrigin, topOrigin }))
    const data = Buffer.concat([hash('sha256', rpId, 'buffer'), Buffer.of(flags), Buffer.alloc(4), attested])
    const signed = Buffer.concat([data, hash('sha256', client, 'buffer')])
    const { privateKey } = this.pair
    const signature = sign(privateKey.asymmetricKeyType === 'ed25519' ? null : 'sha256', signed, privateKey)
    return {
      authenticatorData: data.toString('base64url'),
      clientDataJSON: client.toString('base64url'),
      signature: signature.toString('base64url'),
    }
  }
}

export const authenticator = new Authenticator()
/** As a password makes it. */
export const passwordPair: KeyObject = seededKey(Buffer.alloc(32, 7))

export const alice: Person = {
  credentials: [
    { id: authenticator.id, kind: 'passkey', publicKey: authenticator.publicKey, rpId: 'app.example' },
    {
      cost: { lanes: 1, memoryKiB: 19_456, passes: 2 },
      kind: 'password',
      publicKey: createPrivateKey(passwordPair.export({ format: 'pem', type: 'pkcs8' })).export({ format: 'jwk' }).x as string,
      salt: Buffer.alloc(16).toString('base64url'),
    },
  ],
  groups: ['staff'],
  invitation: null,
  name: 'alice',
  sinceMs: NOW - 86_400_000,
}

export const peoplePolicy = {
  login: 'required',
  methods: ['passkey', 'password'] as ('passkey' | 'password')[],
  providers: [] as string[],
  groups: [] as string[],
  idle: 1_800_000,
  lasts: 43_200_000,
} as const

/** A ring of one validator, with alice and one service. */
export function viewWith(
  more: { people?: readonly Person[]; policy?: object; ringPolicy?: object; denials?: readonly Denial[] } = {},
): PersonView {
  const services = { app: { people: { ...peoplePolicy, ...more.policy } }, other: {} }
  return {
    ring: RING,
    denials: createDenialIndex(more.denials ?? []),
    signingKey: NO_SIGNING_KEY_VIEW,
    nodes: [{ id: 'n1', region: 'r', address: 'h:1', publicKey: raw(node.publicKey), roles: ['validator'] }],
    policy: { services, providers: [], ...more.ringPolicy },
    people: People.from(more.people ?? [alice]),
  } as unknown as PersonView
}

export const occasion: LoginOccasion = { atMs: NOW - 10_000, nonce: 'A'.repeat(22), ring: RING, service: 'app' }

export function passkeyProof(of: LoginOccasion = occasion, says: AuthenticatorSays = {}): LoginProof {
  return { kind: 'passkey', id: authenticator.id, ...authenticator.says({ challenge: loginChallenge(of), ...says }) }
}

export function passwordProof(of: LoginOccasion = occasion, name = 'alice', key: KeyObject = passwordPair): LoginProof {
  return { kind: 'password', signature: sign(null, passwordLoginBytes(of, name), key).toString('base64url') }
}

/** The token that the view's validator makes of what it is to sign. */
export function signed(message: Uint8Array): string {
  return `${Buffer.from(message).toString()}.${sign(null, message, node.privateKey).toString('base64url')}`
}
