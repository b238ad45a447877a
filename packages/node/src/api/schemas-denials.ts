/** Denials, and where they come from and go to. */
import { choice, described, flag, list, ms, number, object, orNull, ref, type Schema, text, whole } from './shapes.ts'

export const denialsSchemas: Readonly<Record<string, Schema>> = {
  DenialSubject: {
    oneOf: [
      object('One address.', { kind: { const: 'ip' }, value: text }),
      object('A prefix.', { kind: { const: 'cidr' }, value: text }),
      object(
        'Tokens: one by its jti, those of a subject, a session (sid) or a device (device_id); of one issuer where it is named.',
        {
          kind: choice('token', 'subject', 'session', 'device'),
          'issuer?': text,
          value: text,
        },
      ),
      object('Tokens that a key signed or is bound to, by its thumbprint (RFC 7638).', { kind: { const: 'key' }, value: text }),
      object('All tokens of an issuer.', { kind: { const: 'issuer' }, value: text }),
      object('Tokens issued before a moment: all, of an issuer, of a subject.', {
        kind: { const: 'issued-before' },
        'issuer?': text,
        'subject?': text,
        value: described('As `2027-01-31T12:00:00.000Z`.', text),
      }),
      object('An account, hashed.', { kind: { const: 'account' }, service: text, value: text }),
    ],
  },
  Denial: object('What is denied, why, by whom, until when.', {
    id: text,
    subject: ref('DenialSubject'),
    reason: text,
    issuer: text,
    'statedBy?': described('The nodes that said so, when it took several.', list(text)),
    'operatorToo?': described('An operator denied it as well, for not as long.', flag),
    issuedAtMs: ms,
    expiresAtMs: ms,
    height: orNull(whole),
    provisional: flag,
  }),
  Statement: object('What one node says; it counts until it lapses.', {
    issuer: text,
    reason: text,
    issuedAtMs: ms,
    expiresAtMs: ms,
    lapsesAtMs: ms,
  }),
  PendingDenial: object('What some nodes say, and not enough of them yet.', {
    id: text,
    subject: ref('DenialSubject'),
    statements: list(ref('Statement')),
    nodesNeeded: whole,
    regionsNeeded: whole,
  }),
  Denials: object('All denials in force here, and what waits for more nodes to say so.', {
    denials: list(ref('Denial')),
    pending: list(ref('PendingDenial')),
  }),
  Feed: object('Decisions of others that the node takes in.', {
    name: text,
    url: text,
    lastMs: described('When it last answered, Unix milliseconds.', orNull(number)),
    problem: described('Why it does not answer, or not as expected.', orNull(text)),
    held: described('Decisions that the node says.', whole),
    refused: described('That the policy does not let a node say, or too many.', whole),
    leftOut: described('Of kinds that are no denials of addresses.', whole),
  }),
  IndicatorSet: object('Addresses that others call bad, as the node loaded them.', {
    name: text,
    path: text,
    format: choice('list', 'stix', 'misp', 'taxii', 'inbox'),
    size: described('Indicators that it holds.', whole),
    bytes: described('Of its tables.', whole),
    loadedMs: described('Unix milliseconds.', orNull(number)),
    problem: described('Why it was not loaded, or not again.', orNull(text)),
    files: whole,
    expired: described('Over when it was loaded.', whole),
    repeated: described('About the same prefix as another.', whole),
    full: described('Beyond the most that it may hold.', whole),
    leftOut: list(ref('LeftOut')),
  }),
  Feeds: object('As the node’s configuration lists them.', {
    feeds: list(ref('Feed')),
    indicators: list(ref('IndicatorSet')),
  }),
  BouncerPull: object('Who asked with the key of a bouncer, on a node, last.', {
    node: text,
    source: described('Its address.', text),
    agent: described('What it says it is (User-Agent).', text),
    kind: described('Whether it pulls changes, or looks addresses up.', choice('stream', 'lookup')),
    lastMs: ms,
    behind: described('Changes that it has not been told of; null for one that looks up.', orNull(number)),
  }),
  Bouncer: object('A program that enforces denials elsewhere.', { name: text, pulls: list(ref('BouncerPull')) }),
  Bouncers: object('As the policy lists them.', {
    bouncers: list(ref('Bouncer')),
    silent: described('Nodes that did not answer.', list(text)),
  }),
}
