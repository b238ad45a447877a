/** Decoders of tokens, and of the JSON in them. */

import { sign } from 'node:crypto'
import { createTokenVerifier, verifyOperatorToken } from '@ringwall/identity'
import { bearerToken } from '../packages/guard/src/bearer.ts'
import { parseStrictObject } from '../packages/identity/src/strict-json.ts'
import { bytesOf, type Decoder, JSON_TOKENS, KIB, latin1, never, same, textOf, tokens } from './decoder.ts'
import { must } from './must.ts'
import { genesis, NOW, operatorJwk, operatorKey, ring } from './samples.ts'

/** Whether an object of the text names a key twice, by a reading of its own: a parser that hands out every key it meets. */
function repeatsKey(text: string): boolean {
  const stack: (Set<string> | undefined)[] = []
  const structure = /"(?:[^"\\]|\\.)*"|[{}[\]:,]|[^\s"{}[\]:,]+/gs
  const parts = text.match(structure) ?? []
  for (const [at, part] of parts.entries()) {
    if (part === '{') stack.push(new Set())
    else if (part === '[') stack.push(undefined)
    else if (part === '}' || part === ']') stack.pop()
    else if (part.startsWith('"') && parts[at + 1] === ':') {
      const keys = stack.at(-1)
      const key = JSON.parse(part) as string
      if (keys?.has(key)) return true
      keys?.add(key)
    }
  }
  return false
}

export const strictJson: Decoder = {
  name: 'identity: strict JSON',
  weight: 2,
  samples: [
    bytesOf('{"alg":"EdDSA","kid":"ada","typ":"JWT"}'),
    bytesOf('{"iss":"ada","aud":["a","b"],"exp":1800000100,"iat":1800000000,"deep":{"a":[{"b":{"c":null}}],"d":"\\u0041"}}'),
    bytesOf('{ "a" : 1 , "b" : { "a" : 2 } }'),
    bytesOf(`{"a"${' '.repeat(70)}:1}`),
  ],
  tokens: [...JSON_TOKENS, ...tokens('"a":1,', '"\\u0061":2,', ' '.repeat(70), '"kid":"b",', ',')],
  bytesMax: 8 * KIB,
  tries: (input) => {
    const text = textOf(input)
    const value = parseStrictObject(text)
    must(value === undefined || !repeatsKey(text), 'a key that occurs twice is taken')
    return value !== undefined
  },
  isDeclared: never,
}

const encodePart = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')

function jws(header: object, claims: object): Uint8Array {
  const signed = `${encodePart(header)}.${encodePart(claims)}`
  return bytesOf(`${signed}.${sign(null, Buffer.from(signed), operatorKey).toString('base64url')}`)
}

const nowS = NOW / 1_000

const operatorTokens = [jws({ alg: 'EdDSA', kid: 'ada' }, { iss: 'ada', aud: ring, iat: nowS, exp: nowS + 240 })]

export const operatorToken: Decoder = {
  name: 'identity: operator token',
  weight: 1,
  samples: operatorTokens,
  tokens: tokens('.', 'eyJhbGciOiJub25lIn0', '=', '..', encodePart({ alg: 'none' })),
  bytesMax: 4 * KIB,
  tries: (input) => {
    const verdict = verifyOperatorToken(latin1(input), { ring, operators: genesis.operators, nowMs: NOW + 1_000 })
    must(!verdict.ok || operatorTokens.some((token) => same(token, input)), 'a token that nobody signed is taken')
    return verdict.ok
  },
  isDeclared: never,
}

export const issuer = 'https://issuer.example'

const bearerTokens = [
  jws({ alg: 'EdDSA', kid: 'k1' }, { iss: issuer, aud: 'app', sub: 'ada', jti: 'j1', iat: nowS, exp: nowS + 300 }),
  jws({ alg: 'EdDSA', kid: 'k1', typ: 'at+jwt' }, { iss: issuer, aud: ['app', 'b'], sub: 'bo', exp: nowS + 300, nbf: nowS }),
]

const newVerifier = () =>
  createTokenVerifier({
    issuers: [
      {
        issuer,
        audience: 'app',
        algorithms: ['EdDSA'],
        jwks: { keys: [{ kty: 'OKP', crv: 'Ed25519', x: operatorJwk.x, kid: 'k1', alg: 'EdDSA' }] },
      } as unknown as Parameters<typeof createTokenVerifier>[0]['issuers'][number],
    ],
  })

const verifier = newVerifier()

export const bearer: Decoder = {
  name: 'identity: bearer token',
  weight: 0.5,
  samples: bearerTokens,
  tokens: operatorToken.tokens,
  bytesMax: 10 * KIB,
  tries: async (input) => {
    const header = latin1(input)
    const read = bearerToken([['Authorization', `Bearer ${header}`]])
    if (read.kind !== 'token') return false
    const verdict = await verifier.verify(read.token, NOW + 1_000)
    must(!verdict.ok || bearerTokens.some((token) => latin1(token) === read.token), 'a token that nobody signed is taken')
    return verdict.ok
  },
  isDeclared: never,
}
