import assert from 'node:assert/strict'
import { createPublicKey, sign, verify } from 'node:crypto'
import { test } from 'node:test'
import { deflateRawSync } from 'node:zlib'
import type { SamlPolicy } from '@ringwall/ring'
import { checkAssertion, checkPerson, type PersonView, sessionKeys, signedAssertionInfo } from '../people/person-check.ts'
import { type AssertionRequest, parsePersonRequest } from '../people/person-request.ts'
import { alice, NOW, node, occasion, passkeyProof, RING, signed, viewWith } from '../people/test-people.ts'
import { canonicalXml } from './canonical.ts'
import { identityProviderMetadata, idpEntityId, readPartyRequest, refusalXml, responseXml } from './identity-provider.ts'
import { readSamlResponse } from './saml-response.ts'
import { certificate, keys, provider } from './test-saml.ts'
import { childrenOf, parseXml, textOf, xmlText } from './xml.ts'
import { DSIG } from './xml-signature.ts'

const policy: SamlPolicy = {
  service: 'app',
  origin: 'https://app.example',
  keys: [{ node: 'n1', certificate }],
  parties: [
    {
      entityId: 'urn:wiki',
      acs: ['https://wiki.example/acs', 'https://wiki.example/acs?b&c'],
      groups: [],
      nameId: 'name',
      signature: 'node',
    },
    { entityId: 'urn:ring', acs: ['https://r.example/acs'], groups: [], nameId: 'pseudonym', signature: 'ring' },
    { entityId: 'urn:board', acs: ['https://b.example/acs'], groups: ['board'], nameId: 'name', signature: 'node' },
  ],
}

const view = (more: Parameters<typeof viewWith>[0] = {}): PersonView => viewWith({ ...more, ringPolicy: { saml: policy } })

function sessionToken(): string {
  const checked = checkPerson({ ...occasion, type: 'login', person: 'alice', proof: passkeyProof() }, view(), NOW)
  assert.ok(checked.ok)
  return signed(checked.message)
}

const request = (more: Partial<AssertionRequest> = {}): AssertionRequest => ({
  type: 'assertion',
  acs: 'https://wiki.example/acs',
  atMs: NOW,
  inResponseTo: '_request',
  party: 'urn:wiki',
  ring: RING,
  token: sessionToken(),
  ...more,
})

test('an assertion says who it is to whom it is for, and an independent reader takes it', () => {
  for (const acs of policy.parties[0]!.acs) {
    const asserted = checkAssertion(request({ acs }), view(), NOW)
    assert.ok(!('ok' in asserted))
    const { assertion, signedInfo } = signedAssertionInfo(asserted)
    assert.equal(canonicalXml(parseXml(Buffer.from(signedInfo))), signedInfo)
    const xml = responseXml(
      asserted,
      assertion,
      signedInfo,
      sign('sha256', Buffer.from(signedInfo), keys.privateKey),
      certificate,
    )
    const expected = { entityId: 'urn:wiki', inResponseTo: '_request', recipient: acs, sinceMs: NOW - 1_000, nowMs: NOW }
    const word = readSamlResponse(
      Buffer.from(xml),
      { ...provider, entityId: idpEntityId(policy), attributes: { name: 'uid', groups: 'groups', email: 'x' } },
      expected,
    )
    assert.deepEqual(word, { subject: 'alice', name: 'alice', groups: ['staff'], email: undefined })
  }
})

test('what the ring’s key signs for a party is its SignedInfo and nothing else, made anew by each holder', () => {
  const of = request({ party: 'urn:ring', acs: 'https://r.example/acs' })
  const checked = checkPerson(parsePersonRequest(JSON.parse(JSON.stringify(of))), view(), NOW)
  assert.ok(checked.ok)
  const asserted = checkAssertion(of, view(), NOW)
  assert.ok(!('ok' in asserted))
  const { assertion, signedInfo } = signedAssertionInfo(asserted)
  assert.equal(Buffer.from(checked.message).toString(), signedInfo)
  const signature = sign(null, checked.message, node.privateKey)
  const xml = responseXml(asserted, assertion, signedInfo, signature, undefined)
  // As RFC 9231 section 2.3.12 has it verified: by the key that the metadata publish.
  const metadata = identityProviderMetadata(policy, sessionKeys(view()))
  const [, der] = /<dsig11:DEREncodedKeyValue[^>]*>([^<]+)</.exec(metadata) ?? []
  const key = createPublicKey({ key: Buffer.from(der!, 'base64'), format: 'der', type: 'spki' })
  const root = parseXml(Buffer.from(xml))
  const [held] = childrenOf(root, 'urn:oasis:names:tc:SAML:2.0:assertion', 'Assertion')
  const [ds] = childrenOf(held!, DSIG, 'Signature')
  const [info] = childrenOf(ds!, DSIG, 'SignedInfo')
  assert.ok(
    verify(
      null,
      Buffer.from(canonicalXml(info!)),
      key,
      Buffer.from(textOf(childrenOf(ds!, DSIG, 'SignatureValue')[0]!)!, 'base64'),
    ),
  )
  assert.doesNotMatch(assertion, /alice/, 'a pseudonym')
})

test('no holder makes an assertion without a session of somebody whom the party is for', () => {
  const codeOf = (of: AssertionRequest, by: PersonView = view(), nowMs: number = NOW): string => {
    const checked = checkPerson(of, by, nowMs)
    return checked.ok ? 'ok' : checked.code
  }
  assert.equal(codeOf(request()), 'ok')
  assert.equal(codeOf(request({ party: 'urn:nobody' })), 'MINT_NOT_ENTITLED')
  assert.equal(codeOf(request({ acs: 'https://evil.example/' })), 'MINT_NOT_ENTITLED')
  assert.equal(codeOf(request({ party: 'urn:board', acs: 'https://b.example/acs' })), 'MINT_NOT_ENTITLED')
  assert.equal(codeOf(request({ atMs: NOW - 61_000 })), 'MINT_STALE')
  assert.equal(codeOf(request({ ring: 'cd'.repeat(32) })), 'MINT_OTHER_RING')
  assert.equal(codeOf(request({ token: `${sessionToken().slice(0, -86)}${'A'.repeat(86)}` })), 'MINT_PERSON')
  assert.equal(codeOf(request(), view({ people: [{ ...alice, sinceMs: NOW }] })), 'MINT_PERSON')
  assert.equal(codeOf(request({ atMs: NOW + 1_900_000 }), view(), NOW + 1_900_000), 'MINT_PERSON', 'the session is over')
  assert.equal(codeOf(request(), viewWith()), 'MINT_NOT_ENTITLED', 'the policy knows no parties')
  for (const bad of [{ inResponseTo: 'a b' }, { inResponseTo: '"><x/>' }, { acs: 'a b' }, { more: 1 }])
    assert.throws(() => parsePersonRequest({ ...request(), ...bad }), { name: 'MintRequestInvalid' })
})

test('a party’s request is read strictly, and answered at an address of its own', () => {
  const asked = (more: { attributes?: string; issuer?: string; tag?: string; at?: number } = {}): string => {
    const { attributes = '', issuer = 'urn:wiki', tag = 'AuthnRequest', at = NOW } = more
    const xml = `<p:${tag} xmlns:p="urn:oasis:names:tc:SAML:2.0:protocol" ID="_1" Version="2.0" IssueInstant="${new Date(at).toISOString()}"${attributes}><Issuer xmlns="urn:oasis:names:tc:SAML:2.0:assertion">${xmlText(issuer)}</Issuer></p:${tag}>`
    return deflateRawSync(xml).toString('base64')
  }
  const told = (encoded: string): string => {
    const read = readPartyRequest(encoded, policy, NOW)
    return typeof read === 'string' ? read : `ok ${read.acs} ${read.force} ${read.passive}`
  }
  assert.equal(told(asked()), 'ok https://wiki.example/acs false false')
  assert.equal(told(asked({ attributes: ' ForceAuthn="true" IsPassive="1"' })), 'ok https://wiki.example/acs true true')
  assert.equal(
    told(asked({ attributes: ' Destination="https://app.example/.ringwall/saml/sso"' })),
    'ok https://wiki.example/acs false false',
  )
  for (const [bad, why] of [
    [asked({ attributes: ' AssertionConsumerServiceURL="https://evil.example/"' }), /not its own/],
    [asked({ attributes: ' Destination="https://other.example/"' }), /somebody else/],
    [asked({ attributes: ' ProtocolBinding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Artifact"' }), /HTTP-POST/],
    [asked({ issuer: 'urn:nobody' }), /not known/],
    [asked({ tag: 'LogoutRequest' }), /AuthnRequest/],
    [asked({ at: NOW - 400_000 }), /too old/],
    [asked({ attributes: ' x:y="1"' }), /not declared/],
    ['AAAA', /compressed/],
    ['-', /base64/],
    [deflateRawSync(Buffer.alloc(1_000_000)).toString('base64'), /compressed/],
    [deflateRawSync('<!DOCTYPE a><a/>').toString('base64'), /document types/],
  ] as const)
    assert.match(told(bad), why)
  const read = readPartyRequest(asked(), policy, NOW)
  assert.ok(typeof read !== 'string')
  assert.match(refusalXml(policy, read, 'NoPassive', NOW), /status:NoPassive/)
})

test('metadata name every key of the policy', () => {
  const root = parseXml(Buffer.from(identityProviderMetadata(policy, [])))
  assert.equal(root.attributes[0]?.value, 'https://app.example/.ringwall/saml/idp')
})
