/** The corpus of wrapped and otherwise forged answers of a SAML provider: each is refused by its code, and those that it is made of are taken. */
import assert from 'node:assert/strict'
import { generateKeyPairSync, sign } from 'node:crypto'
import { test } from 'node:test'
import { NOW } from '../people/test-people.ts'
import { readSamlResponse } from './saml-response.ts'
import {
  assertion,
  byMac,
  conditionsOf,
  dataOf,
  expected,
  provider,
  resigned,
  response,
  type Says,
  type Signing,
  STATUS,
  signedBy,
  strangers,
  taken,
} from './test-saml.ts'

function told(xml: string | Uint8Array, more: Partial<typeof expected> | object = {}): string {
  const word = readSamlResponse(Buffer.from(xml), provider, { ...expected, ...more })
  return 'ok' in word ? word.code : `${word.subject} ${word.groups}`
}

/** An answer whose assertion is signed. */
const good = (says: Says = {}, how: Signing = {}): string => signedBy(response(assertion(says)), 'Assertion', how)
/** Whom somebody would be who is not. */
const evil = assertion({ id: '_evil', nameId: 'root' })
const [signature, bare] = taken(good())
const original = /<saml:Assertion[\s\S]*<\/saml:Assertion>/.exec(good())![0]
const [, originalBare] = taken(original)
/** In place of the assertion. */
const with_ = (inside: string): string => good().replace(original, () => inside)
const afterIssuer = (xml: string, inside: string): string => xml.replace('</saml:Issuer>', () => `</saml:Issuer>${inside}`)
const inObject = (held: string): string =>
  signature.replace('</ds:Signature>', () => `<ds:Object>${held}</ds:Object></ds:Signature>`)

const wholeSigned = signedBy(response(assertion()), 'Response')
const [wholeSignature, wholeBare] = taken(wholeSigned)
const evilResponse = response(evil, '_evil-response')
const EVIL_TRANSFORM = '<ds:Transform Algorithm="http://www.w3.org/TR/1999/REC-xslt-19991116"/>'
const EXCLUSIVE = 'http://www.w3.org/2001/10/xml-exc-c14n#'
const ENVELOPED = 'http://www.w3.org/2000/09/xmldsig#enveloped-signature'
const MORE = 'http://www.w3.org/2001/04/xmldsig-more#'
const minutes = (count: number): string => new Date(NOW + count * 60_000).toISOString()

test('what a provider signed is taken: the assertion, the response around it, or both, by several algorithms', () => {
  for (const one of [
    good(),
    wholeSigned,
    signedBy(good(), 'Response'),
    good({}, { algorithm: `${MORE}rsa-sha512`, digest: 'http://www.w3.org/2001/04/xmlenc#sha512' }),
    good({}, { prefixes: ['saml', 'xs'] }),
    good({ nameId: 'alice&#10;' }),
    `<?xml version="1.0" encoding="UTF-8"?>\r\n${good()}`,
    good().replaceAll('samlp:', 'p2:').replace('xmlns:samlp', 'xmlns:p2'),
  ])
    assert.equal(told(one), 'alice engineers')
})

const corpus: Readonly<Record<string, readonly [xml: string | Uint8Array, code: string]>> = {
  // Wrapping, after Somorovsky et al., “On Breaking SAML” (2012): its eight, and others.
  'XSW1: the signed response within the signature of a forged one': [
    afterIssuer(
      evilResponse,
      wholeSignature.replace('</ds:Signature>', () => `<ds:Object>${wholeBare}</ds:Object></ds:Signature>`),
    ),
    'OUTSIDE_WRAPPED',
  ],
  'XSW2: the signed response beside the signature of a forged one': [
    afterIssuer(evilResponse, `${wholeBare}${wholeSignature}`),
    'OUTSIDE_WRAPPED',
  ],
  'XSW3: a forged assertion before the signed one': [with_(`${evil}${original}`), 'OUTSIDE_WRAPPED'],
  'XSW4: a forged assertion around the signed one': [
    with_(evil.replace('</saml:Assertion>', () => `${original}</saml:Assertion>`)),
    'OUTSIDE_WRAPPED',
  ],
  'XSW5: the signature in a forged assertion, the signed one after it': [
    with_(`${afterIssuer(evil, signature)}${originalBare}`),
    'OUTSIDE_WRAPPED',
  ],
  'XSW6: the signed assertion within the signature of a forged one': [
    with_(
      afterIssuer(
        evil,
        signature.replace('</ds:Signature>', () => `${originalBare}</ds:Signature>`),
      ),
    ),
    'OUTSIDE_WRAPPED',
  ],
  'XSW7: a forged assertion in extensions': [
    good().replace(STATUS, () => `<samlp:Extensions>${evil}</samlp:Extensions>${STATUS}`),
    'OUTSIDE_WRAPPED',
  ],
  'XSW8: the signed assertion as an object of the signature of a forged one': [
    with_(afterIssuer(evil, inObject(originalBare))),
    'OUTSIDE_WRAPPED',
  ],
  'a forged assertion after the signed one': [with_(`${original}${evil}`), 'OUTSIDE_WRAPPED'],
  'the forged one has the id of the signed one': [with_(`${assertion({ nameId: 'root' })}${original}`), 'OUTSIDE_WRAPPED'],
  'the forged one alone, with the id and the signature of the signed one': [
    with_(afterIssuer(assertion({ nameId: 'root' }), signature)),
    'OUTSIDE_DIGEST',
  ],
  'an element of no namespace with the id, beside': [good().replace(STATUS, () => `${STATUS}<x ID="_a1"/>`), 'OUTSIDE_WRAPPED'],
  'an id in another spelling': [good().replace(STATUS, () => `${STATUS}<x Id="_a1"/>`), 'OUTSIDE_WRAPPED'],
  'the signature beside the assertion': [bare.replace(STATUS, () => `${STATUS}${signature}`), 'OUTSIDE_WRAPPED'],
  'an unsigned response with the signed assertion deep in it': [
    with_(`<samlp:Extensions>${original}</samlp:Extensions>`),
    'OUTSIDE_WRAPPED',
  ],
  'an assertion of another namespace, called so': [with_(`${original}<Assertion xmlns="urn:x"/>`), 'OUTSIDE_WRAPPED'],
  'two signatures': [good().replace(signature, () => `${signature}${signature}`), 'OUTSIDE_WRAPPED'],
  'a signature that holds an object': [good().replace(signature, () => inObject('<x/>')), 'OUTSIDE_WRAPPED'],
  'two references': [
    resigned(good(), (info) => info.replace(/<ds:Reference[\s\S]*<\/ds:Reference>/, (one) => `${one}${one}`)),
    'OUTSIDE_WRAPPED',
  ],
  'a reference to the whole document': [resigned(good(), (info) => info.replace('URI="#_a1"', 'URI=""')), 'OUTSIDE_WRAPPED'],
  'a reference by XPointer': [
    resigned(good(), (info) => info.replace('URI="#_a1"', 'URI="#xpointer(id(\'_a1\'))"')),
    'OUTSIDE_WRAPPED',
  ],
  'a reference elsewhere': [resigned(good(), (info) => info.replace('#_a1', 'https://evil.example/')), 'OUTSIDE_WRAPPED'],
  // Signatures.
  'no signature': [bare, 'OUTSIDE_UNSIGNED'],
  'a changed name': [good().replace('>alice<', '>root<'), 'OUTSIDE_DIGEST'],
  'a changed name in a signed response': [wholeSigned.replace('>alice<', '>root<'), 'OUTSIDE_DIGEST'],
  'a good response around an assertion that somebody else signed': [
    signedBy(good({}, { key: strangers.privateKey }), 'Response'),
    'OUTSIDE_SIGNATURE',
  ],
  'by a key that the document brings along': [good({}, { key: strangers.privateKey }), 'OUTSIDE_SIGNATURE'],
  'the digest of what was changed, without a new signature': [
    signedBy(response(assertion({ nameId: 'root' })), 'Assertion').replace(
      /<ds:SignatureValue>[^<]*</,
      () => `${/<ds:SignatureValue>[^<]*/.exec(good())![0]}<`,
    ),
    'OUTSIDE_SIGNATURE',
  ],
  'RSA with SHA-1': [good({}, { algorithm: 'http://www.w3.org/2000/09/xmldsig#rsa-sha1' }), 'OUTSIDE_ALGORITHM'],
  'a digest of SHA-1': [good({}, { digest: 'http://www.w3.org/2000/09/xmldsig#sha1' }), 'OUTSIDE_ALGORITHM'],
  'a MAC with the public key': [
    resigned(good(), (info) => info.replace(`${MORE}rsa-sha256`, `${MORE}hmac-sha256`), byMac),
    'OUTSIDE_ALGORITHM',
  ],
  'a MAC of one bit': [
    resigned(
      good(),
      (info) =>
        info.replace(
          `<ds:SignatureMethod Algorithm="${MORE}rsa-sha256"/>`,
          `<ds:SignatureMethod Algorithm="${MORE}hmac-sha256"><ds:HMACOutputLength>1</ds:HMACOutputLength></ds:SignatureMethod>`,
        ),
      byMac,
    ),
    'OUTSIDE_ALGORITHM',
  ],
  'no algorithm': [
    resigned(
      good(),
      (info) => info.replace(`${MORE}rsa-sha256`, 'none'),
      () => Buffer.from('x'),
    ),
    'OUTSIDE_ALGORITHM',
  ],
  'an algorithm of another kind of key': [
    resigned(
      good(),
      (info) => info.replace(`${MORE}rsa-sha256`, `${MORE}ecdsa-sha256`),
      (bytes) => sign('sha256', bytes, generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey),
    ),
    'OUTSIDE_KEY',
  ],
  'a transform of XSLT': [
    resigned(good(), (info) => info.replace('</ds:Transforms>', `${EVIL_TRANSFORM}</ds:Transforms>`)),
    'OUTSIDE_TRANSFORM',
  ],
  'a transform of XPath': [
    resigned(good(), (info) => info.replace(ENVELOPED, 'http://www.w3.org/TR/1999/REC-xpath-19991116')),
    'OUTSIDE_TRANSFORM',
  ],
  'no transform that leaves the signature out': [good({}, { transforms: [EXCLUSIVE] }), 'OUTSIDE_TRANSFORM'],
  'transforms in another order': [
    resigned(good(), (info) =>
      info
        .replace(ENVELOPED, 'X')
        .replace(`<ds:Transform Algorithm="${EXCLUSIVE}"`, `<ds:Transform Algorithm="${ENVELOPED}"`)
        .replace('"X"', `"${EXCLUSIVE}"`),
    ),
    'OUTSIDE_TRANSFORM',
  ],
  'inclusive canonicalization': [
    good({}, { transforms: [ENVELOPED, 'http://www.w3.org/TR/2001/REC-xml-c14n-20010315'] }),
    'OUTSIDE_TRANSFORM',
  ],
  'canonicalization that keeps comments': [
    resigned(good(), (info) =>
      info.replace(
        `CanonicalizationMethod Algorithm="${EXCLUSIVE}"`,
        `CanonicalizationMethod Algorithm="${EXCLUSIVE}WithComments"`,
      ),
    ),
    'OUTSIDE_TRANSFORM',
  ],
  // What the parsers of others read in several ways.
  'a comment within the name': [good({ nameId: 'alice<!---->.evil.example' }), 'OUTSIDE_MALFORMED'],
  'a comment put in afterwards': [good().replace('>alice<', '>al<!-- x -->ice<'), 'OUTSIDE_MALFORMED'],
  'an element within the name': [good({ nameId: 'root<x/>' }), 'OUTSIDE_SUBJECT'],
  'CDATA within the name': [good().replace('>alice<', '><![CDATA[alice]]><'), 'OUTSIDE_MALFORMED'],
  'a processing instruction within the name': [good().replace('>alice<', '>al<?x ?>ice<'), 'OUTSIDE_MALFORMED'],
  'a document type': [`<!DOCTYPE x>${good()}`, 'OUTSIDE_MALFORMED'],
  'an entity of its own': [`<!DOCTYPE x [<!ENTITY who "root">]>${good().replace('>alice<', '>&who;<')}`, 'OUTSIDE_MALFORMED'],
  'an entity without a document type': [good().replace('>alice<', '>&who;<'), 'OUTSIDE_MALFORMED'],
  'a file as an entity': [
    `<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]>${good().replace('>alice<', '>&f;<')}`,
    'OUTSIDE_MALFORMED',
  ],
  'a billion laughs': [
    `<!DOCTYPE x [<!ENTITY a "ha">${'bcdefghij'
      .split('')
      .map((one, index) => `<!ENTITY ${one} "${`&${'abcdefghij'[index]};`.repeat(10)}">`)
      .join('')}]>${good().replace('>alice<', '>&j;<')}`,
    'OUTSIDE_MALFORMED',
  ],
  'elements without end': [good().replace(STATUS, () => `${STATUS}${'<x>'.repeat(2_000)}`), 'OUTSIDE_MALFORMED'],
  'a document without end': [good().replace(STATUS, () => `${STATUS}<x y="${'z'.repeat(70_000)}"/>`), 'OUTSIDE_MALFORMED'],
  'the same attribute twice': [good().replace('ID="_a1"', 'ID="_evil" ID="_a1"'), 'OUTSIDE_MALFORMED'],
  'another encoding': [Buffer.from(good(), 'utf16le'), 'OUTSIDE_MALFORMED'],
  'a character that XML does not have': [good().replace('>alice<', '>al\u0000ice<'), 'OUTSIDE_MALFORMED'],
  'encrypted, whatever is in it': [
    with_('<saml:EncryptedAssertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion"/>'),
    'OUTSIDE_ENCRYPTED',
  ],
  // What is signed, but not for this.
  'another issuer': [good({ issuer: 'https://other.example/saml' }), 'OUTSIDE_ISSUER'],
  'an issuer of another format': [
    signedBy(response(assertion().replace('<saml:Issuer>', '<saml:Issuer Format="urn:x">')), 'Assertion'),
    'OUTSIDE_ISSUER',
  ],
  'a response of another issuer': [
    signedBy(response(assertion(), '_r1', STATUS, 'https://other.example/saml'), 'Response'),
    'OUTSIDE_ISSUER',
  ],
  'another audience': [
    good({
      conditions: conditionsOf(
        '<saml:AudienceRestriction><saml:Audience>urn:ringwall:x:other</saml:Audience></saml:AudienceRestriction>',
      ),
    }),
    'OUTSIDE_AUDIENCE',
  ],
  'two restrictions, of which one is another audience': [
    good({
      conditions: conditionsOf(
        `<saml:AudienceRestriction><saml:Audience>${expected.entityId}</saml:Audience></saml:AudienceRestriction><saml:AudienceRestriction><saml:Audience>x</saml:Audience></saml:AudienceRestriction>`,
      ),
    }),
    'OUTSIDE_AUDIENCE',
  ],
  'no audience': [good({ conditions: conditionsOf('') }), 'OUTSIDE_AUDIENCE'],
  'no conditions': [good({ conditions: '' }), 'OUTSIDE_AUDIENCE'],
  'a condition that nobody knows': [good({ conditions: conditionsOf('<saml:Condition/>') }), 'OUTSIDE_MALFORMED'],
  'another recipient': [good({ data: dataOf({ Recipient: 'https://evil.example/acs' }) }), 'OUTSIDE_RECIPIENT'],
  'no recipient': [good({ data: dataOf({ Recipient: undefined }) }), 'OUTSIDE_RECIPIENT'],
  'the answer to another request': [good({ data: dataOf({ InResponseTo: '_other' }) }), 'OUTSIDE_OCCASION'],
  'an answer that nobody asked for': [good({ data: dataOf({ InResponseTo: undefined }) }), 'OUTSIDE_OCCASION'],
  'no bearer': [good({ method: 'urn:oasis:names:tc:SAML:2.0:cm:holder-of-key' }), 'OUTSIDE_OCCASION'],
  'a bearer for ever': [good({ data: dataOf({ NotOnOrAfter: undefined }) }), 'OUTSIDE_TIME'],
  'a bearer who is late': [good({ data: dataOf({ NotOnOrAfter: minutes(-2) }) }), 'OUTSIDE_TIME'],
  'an assertion that is over': [good({ conditions: conditionsOf(undefined, minutes(-9), minutes(-2)) }), 'OUTSIDE_TIME'],
  'an assertion of tomorrow': [good({ conditions: conditionsOf(undefined, minutes(5), minutes(9)) }), 'OUTSIDE_TIME'],
  'issued before the login began': [good({ issueInstant: minutes(-5) }), 'OUTSIDE_TIME'],
  'issued in an hour': [good({ issueInstant: minutes(60) }), 'OUTSIDE_TIME'],
  'a moment of no zone': [good({ issueInstant: '2027-01-15T08:00:00' }), 'OUTSIDE_MALFORMED'],
  'a session that is over': [
    good({ statement: `<saml:AuthnStatement AuthnInstant="${minutes(-60)}" SessionNotOnOrAfter="${minutes(-2)}"/>` }),
    'OUTSIDE_TIME',
  ],
  'nobody logged in': [good({ statement: '' }), 'OUTSIDE_MALFORMED'],
  'a failed login': [good().replace('status:Success', 'status:Responder'), 'OUTSIDE_STATUS'],
  'SAML 1.1': [good({ version: '1.1' }), 'OUTSIDE_MALFORMED'],
  'two subjects': [good({ nameId: 'alice</saml:NameID></saml:Subject><saml:Subject><saml:NameID>root' }), 'OUTSIDE_SUBJECT'],
  'two names': [good({ nameId: 'alice</saml:NameID><saml:NameID>root' }), 'OUTSIDE_SUBJECT'],
  'no name': [good({ nameId: '' }), 'OUTSIDE_SUBJECT'],
  'a request in place of a response': [good().replaceAll('samlp:Response', 'samlp:AuthnRequest'), 'OUTSIDE_MALFORMED'],
  nothing: ['', 'OUTSIDE_MALFORMED'],
}

test(`${Object.keys(corpus).length} forged answers are refused, each by its code`, () => {
  assert.ok(Object.keys(corpus).length >= 30)
  for (const [what, [xml, code]] of Object.entries(corpus)) assert.equal(told(xml), code, what)
})

test('an answer that was good once is good for that login alone', () => {
  assert.equal(told(good(), { inResponseTo: '_next' }), 'OUTSIDE_OCCASION')
  assert.equal(told(good(), { nowMs: NOW + 600_000 }), 'OUTSIDE_TIME')
  assert.equal(told(good(), { recipient: 'https://app.example:8443/.ringwall/saml/acs' }), 'OUTSIDE_RECIPIENT')
  assert.equal(told(good(), { entityId: 'urn:ringwall:y:app' }), 'OUTSIDE_AUDIENCE')
})

test('nothing of what is not signed is read: attributes beside a signed assertion are nobody’s', () => {
  const beside = good().replace(
    '</samlp:Response>',
    '<saml:AttributeStatement xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion"><saml:Attribute Name="groups"><saml:AttributeValue>owners</saml:AttributeValue></saml:Attribute></saml:AttributeStatement></samlp:Response>',
  )
  assert.equal(told(beside), 'alice engineers')
})

test('a changed byte is worth nothing, or nothing else', () => {
  const xml = good()
  let taken = 0
  for (let at = 0; at < xml.length; at += 3) {
    const changed = `${xml.slice(0, at)}${xml[at] === 'x' ? 'y' : 'x'}${xml.slice(at + 1)}`
    const answer = told(changed)
    // What is around the assertion, and what a signature says of its key, is not signed.
    assert.ok(answer.startsWith('OUTSIDE_') || answer === 'alice engineers', `${at}: ${answer}`)
    if (!answer.startsWith('OUTSIDE_')) taken += 1
  }
  assert.ok(taken < xml.length / 6, String(taken))
})
