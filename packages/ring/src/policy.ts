/**
 * The policy: one document, `ringwall.yaml`, that says what the ring protects and how. This file gives its shape and
 * defaults; `policy-document.ts` reads YAML into it and reports problems with line and column.
 */
import { z } from 'zod'
import { LABEL_KEY, LABEL_VALUE, LABELS_MAX, OWN_LABELS } from './fleet-label.ts'
import { ApiContract } from './policy-api.ts'
import { Callers, Segmentation } from './policy-callers.ts'
import { Cache, Compression } from './policy-delivery.ts'
import { detectionKeys } from './policy-detection.ts'
import { Devices } from './policy-devices.ts'
import { FleetPolicyShape, NodeSelector } from './policy-fleet.ts'
import { OpenId } from './policy-openid.ts'
import { People, PeopleWhen } from './policy-people.ts'
import { Playbooks } from './policy-playbooks.ts'
import { Providers } from './policy-providers.ts'
import { Saml } from './policy-saml.ts'
import { Rewrite, Upstream, upstreamKeys } from './policy-upstreams.ts'
import { Duration, HeaderName, Name, Path, Rate } from './policy-values.ts'
import { Vault } from './policy-vault.ts'
import { Workloads } from './policy-workloads.ts'

const WafMode = z
  .enum(['enforce', 'shadow', 'learn', 'off'])
  .meta({ description: 'Refuse; only record what would be refused; only record what matches; do nothing.' })
const AddressOrPrefix = z.string().max(50).meta({ description: 'An IP address or CIDR prefix.' })

/** What an address counts as that no file of the node knows: of no country, of no autonomous system. */
export const NO_COUNTRY = 'ZZ'
export const NO_ASN = 0

const Country = z
  .string()
  .regex(/^[A-Z]{2}$/, 'expected two capitals such as SE (ISO 3166-1), ZZ for unknown')
  .meta({ description: 'ISO 3166-1 alpha-2; ZZ: not known.' })
const Asn = z.int().min(0).max(4_294_967_295).meta({ description: 'Number of an autonomous system; 0: not known.' })

const SourceSet = z
  .strictObject({
    countries: z.array(Country).max(300).default([]),
    asns: z.array(Asn).max(1_000).default([]),
    prefixes: z.array(AddressOrPrefix).max(1_000).default([]),
  })
  .refine(({ countries, asns, prefixes }) => countries.length + asns.length + prefixes.length > 0, {
    error: 'expected countries, asns or prefixes',
  })
  .meta({ description: 'Sources in any of these. Countries and autonomous systems are as the files of each node say.' })

const Sources = z
  .strictObject({
    allow: SourceSet.optional().meta({ description: 'No others, unless absent.' }),
    deny: SourceSet.optional(),
    action: z
      .enum(['deny', 'challenge'])
      .default('deny')
      .meta({ description: 'What becomes of the others: 403, or a proof of work.' }),
  })
  .refine(({ allow, deny }) => allow !== undefined || deny !== undefined, { error: 'expected allow or deny' })

const Limit = z
  .strictObject({
    name: Name,
    key: z
      .array(
        z.union([
          z.enum(['ip', 'network', 'asn', 'country', 'ja4', 'http2', 'subject', 'account', 'host', 'method', 'path', 'route']),
          z
            .string()
            .regex(
              /^(?:header:[A-Za-z0-9-]{1,64}|cookie:[!#$%&'*+.^_`|~A-Za-z0-9-]{1,64})$/,
              'expected ip, network, asn, country, ja4, http2, subject, account, host, method, path, route, header:NAME or cookie:NAME',
            ),
        ]),
      )
      .min(1)
      .max(4)
      .default(['ip'])
      .meta({
        description:
          'What shares one budget: ip, network (/24 of IPv4, /48 of IPv6), asn (autonomous system), country, ja4 (fingerprint of TLS), http2 (of HTTP/2), subject (of the token), account (that a login or sign-up names), host, method, path, route, header:NAME, cookie:NAME, or a mix.',
      }),
    rate: Rate.optional().meta({ description: 'Such as 100/s, 20/m, 1000/h or 5000/d; either this or concurrency.' }),
    concurrency: z
      .int()
      .min(1)
      .max(1_000_000)
      .optional()
      .meta({ description: 'In place of rate: how many requests may be under way at once, counted by each node for itself.' }),
    burst: z
      .int()
      .min(1)
      .max(1_000_000)
      .optional()
      .meta({ description: 'How many may come at once; the rate’s count unless given.' }),
    algorithm: z.enum(['gcra', 'fixed-window', 'sliding-window']).default('gcra').meta({
      description:
        'gcra gives the rate back evenly, burst at once. fixed-window: the count in each second, minute, hour or day (UTC); sliding-window: in the last one.',
    }),
    cost: z
      .union([
        z.enum(['requests', 'kilobytes', 'milliseconds']),
        z.string().regex(/^header:[A-Za-z0-9-]{1,64}$/, 'expected requests, kilobytes, milliseconds or header:NAME'),
      ])
      .default('requests')
      .meta({
        description:
          'What is counted: requests, or when they are over the kilobytes or the milliseconds of their answers, or the number that the application says in this field of its answer.',
      }),
    scope: z
      .enum(['node', 'ring'])
      .default('node')
      .meta({ description: 'Whether each node counts for itself, or all nodes share one budget.' }),
    mode: z
      .enum(['enforce', 'shadow'])
      .default('enforce')
      .meta({ description: 'shadow records what would have been refused, and lets it pass.' }),
    status: z
      .array(z.int().min(100).max(599))
      .min(1)
      .max(16)
      .optional()
      .meta({ description: 'Only requests that are answered with one of these count, such as failed logins.' }),
    from: SourceSet.optional().meta({ description: 'Only requests from these are limited.' }),
    except: SourceSet.optional().meta({ description: 'Requests from these are not.' }),
    count: z.enum(['requests', 'accounts']).default('requests').meta({
      description:
        'accounts: of all requests that name one account, one counts within the window; on routes with login or signup.',
    }),
    forgive: z.int().min(1).max(100).optional().meta({
      description:
        'How many counts each answer with another status takes back: with 1, what counts is how many more fail than succeed.',
    }),
    action: z.enum(['throttle', 'challenge', 'deny']).default('throttle').meta({
      description:
        'What becomes of requests beyond it: 429, a proof of work that gives whoever does it a budget of their own, or 403.',
    }),
  })
  .refine(({ scope, status }) => scope === 'node' || status === undefined, {
    path: ['status'],
    error: 'counting by status is done by each node for itself: leave out scope: ring',
  })
  .refine(({ algorithm, scope, burst }) => algorithm === 'gcra' || (scope === 'node' && burst === undefined), {
    path: ['algorithm'],
    error: 'a window gives its whole count, and each node counts its own: leave out burst and scope: ring',
  })
  .refine(
    ({ cost, scope, count, forgive, concurrency }) =>
      cost === 'requests' || (scope === 'node' && count === 'requests' && forgive === undefined && concurrency === undefined),
    {
      path: ['cost'],
      error:
        'what answers cost is counted by each node for itself, by rate: leave out scope: ring, count, forgive and concurrency',
    },
  )
  .refine(({ forgive, status }) => forgive === undefined || status !== undefined, {
    path: ['forgive'],
    error: 'answers take back what answers counted: name the status that counts',
  })
  .refine(({ concurrency, count, key }) => concurrency === undefined || (count === 'requests' && !key.includes('account')), {
    path: ['concurrency'],
    error: 'accounts are known once the body is there: limit them by rate',
  })
  .refine(({ rate, concurrency }) => (rate === undefined) !== (concurrency === undefined), {
    error: 'expected either rate or concurrency',
  })
  .refine(
    ({ concurrency, scope, status, burst }) =>
      concurrency === undefined || (scope === 'node' && status === undefined && burst === undefined),
    {
      path: ['concurrency'],
      error: 'what is under way is counted by each node, as it is: leave out burst, status and scope: ring',
    },
  )

const Waf = z.strictObject({
  mode: WafMode.default('enforce'),
  paranoia: z.union([z.literal(1), z.literal(2), z.literal(3), z.literal(4)]).default(1),
  rules: z
    .array(z.string().min(1).max(64))
    .max(16)
    .default(['base'])
    .meta({ description: 'Names of rule sets that the nodes have.' }),
  exclude: z.array(z.int().positive()).max(1_000).default([]).meta({ description: 'Ids of rules left out.' }),
  bodyBytesMax: z.int().min(0).max(1_048_576).default(131_072).meta({ description: 'How much of a body is inspected.' }),
  oversize: z
    .enum(['deny', 'pass'])
    .default('pass')
    .meta({ description: 'What happens to a body longer than that: pass sends the rest on uninspected.' }),
  overrun: z.enum(['deny', 'pass']).default('deny').meta({
    description:
      'What happens to a request that takes more work than rules may do: pass sends it on, judged by the rules that ran until then.',
  }),
  responses: z
    .enum(['inspect', 'off'])
    .default('inspect')
    .meta({ description: 'Whether rules about responses run; which bodies they see is theirs to say.' }),
})

const Identity = z.strictObject({
  required: z.boolean().default(true),
  issuers: z
    .array(z.string().max(512))
    .max(16)
    .default([])
    .meta({ description: 'Which of the trusted issuers, `ring` for the ring itself; all when empty.' }),
  claims: z
    .record(z.string().max(64), z.union([z.string(), z.number(), z.boolean()]))
    .default({})
    .meta({ description: 'Claims that must be equal, or arrays that must contain the value.' }),
})

const accountKeys = {
  account: z.string().min(1).max(64).meta({ description: 'Name of the form or JSON field that holds the account’s name.' }),
  password: z.string().min(1).max(64).optional().meta({
    description: 'Name of the field that holds the password: looked for in the list of breached ones that the nodes have.',
  }),
  breached: z.enum(['pass', 'challenge', 'deny']).default('pass').meta({
    description: 'What becomes of a breached password. The upstream is told in any case: ringwall-password: breached.',
  }),
}

const Signup = z.strictObject(accountKeys)

const Login = z.strictObject({
  ...accountKeys,
  failure: z
    .array(z.int().min(100).max(599))
    .min(1)
    .max(16)
    .default([401, 403])
    .meta({ description: 'Response statuses that mean a failed login.' }),
})

const Staleness = z.strictObject({
  max: Duration,
  beyond: z
    .enum(['open', 'closed'])
    .meta({ description: 'What to do when the view is older: open serves on, closed refuses with 503.' }),
})

const ApiMode = z.enum(['enforce', 'shadow', 'off'])

const ChallengeWhen = z
  .enum(['always', 'overload', 'never'])
  .meta({ description: 'Who shows no pass is challenged: always, while there is too little time for all, or only by a limit.' })

/** Zero bits that the hash of a proof of work begins with: what browsers do in a blink, and what takes them minutes. */
export const DIFFICULTY_MIN = 1
export const DIFFICULTY_MAX = 22
export const PASS_MS_MIN = 5_000
export const PASS_MS_MAX = 86_400_000

const Challenge = z
  .strictObject({
    when: ChallengeWhen.default('never'),
    difficulty: z.int().min(DIFFICULTY_MIN).max(DIFFICULTY_MAX).default(16).meta({
      description: 'Zero bits that the hash is to begin with: each more doubles the work.',
    }),
    passFor: Duration.default(3_600_000).meta({
      description: 'How long a pass lasts from when its challenge was made: 5s to 24h.',
    }),
  })
  .meta({ description: 'A proof of work for browsers.' })

const Route = z.strictObject({
  name: Name,
  path: Path.meta({ description: 'Matches this path and everything below it; the longest match wins.' }),
  methods: z
    .array(z.string().regex(/^[A-Z]{1,16}$/))
    .max(16)
    .default([])
    .meta({ description: 'All when empty.' }),
  waf: z.strictObject({ mode: WafMode.optional(), exclude: z.array(z.int().positive()).max(1_000).default([]) }).optional(),
  api: z
    .strictObject({ mode: ApiMode })
    .optional()
    .meta({ description: 'Whether requests to this route are held against the service’s api.' }),
  limits: z.array(Limit).max(16).default([]),
  identity: Identity.optional(),
  login: Login.optional(),
  signup: Signup.optional().meta({ description: 'Requests to this route make accounts.' }),
  staleness: Staleness.optional(),
  rewrite: Rewrite.optional().meta({ description: 'In place of the service’s.' }),
  cache: Cache.optional().meta({ description: 'In place of the service’s.' }),
  compress: Compression.optional().meta({ description: 'In place of the service’s.' }),
  deny: z.boolean().default(false).meta({ description: 'Refuse this route altogether.' }),
  challenge: ChallengeWhen.optional(),
  people: PeopleWhen.optional().meta({ description: 'Whether somebody must be logged in, in place of the service’s.' }),
  sources: Sources.optional().meta({ description: 'In place of the service’s.' }),
  action: z
    .string()
    .regex(/^[a-z][A-Za-z0-9_-]{0,63}$/, 'expected a name such as refund')
    .optional()
    .meta({ description: 'What requests to this route do, for authorization; the method unless given.' }),
  callers: Callers.optional(),
})

/** Longest text of a service's Cedar policies, UTF-16 code units. */
export const CEDAR_CHARS_MAX = 65_536

const ClaimName = z
  .string()
  .max(64)
  .regex(/^(?!__)[^\p{Cc}\p{Cs}]+$/u, 'expected the name of a claim, without __ before it')

export const Authorization = z.strictObject({
  language: z
    .enum(['cedar', 'xacml'])
    .default('cedar')
    .meta({ description: 'What the policies are written in: Cedar, or XACML 3.0.' }),
  policies: z.string().max(CEDAR_CHARS_MAX).meta({ description: 'The policies. What none of them permits is refused.' }),
  claims: z
    .record(ClaimName, z.enum(['String', 'Long', 'Boolean', 'Set<String>']))
    .default({})
    .meta({
      description: 'Claims of the token that policies may read, and their types. A claim of another type counts as absent.',
    }),
  groups: ClaimName.default('groups').meta({ description: 'The claim whose texts are the Groups that a User is in.' }),
  roles: ClaimName.default('roles').meta({ description: 'The claim whose texts are the Roles that a User is in.' }),
})

const Api = ApiContract.extend({
  mode: ApiMode.default('enforce').meta({
    description: 'What happens to requests outside: refused, only recorded, or not checked.',
  }),
}).meta({ description: 'What requests of this service look like, in OpenAPI’s terms: others are refused.' })

/** How long an exception may last from when it is agreed on. */
export const EXCEPTION_TTL_MS_MAX = 90 * 86_400_000
const EXCEPTIONS_MAX = 200

const OneLine = z.string().regex(/^[^\p{Cc}\p{Cs}\p{Zl}\p{Zp}]+$/u, 'expected one printable line')

const Until = z
  .string()
  .regex(/^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$/, 'expected a time such as 2027-01-31T12:00:00Z')
  .meta({ description: 'When it lapses, UTC; at most 90 days from when it is agreed on.' })

const Exception = z.strictObject({
  name: Name,
  rule: z.int().positive().meta({ description: 'Id of the rule that does not look.' }),
  service: Name,
  route: Name.optional().meta({ description: 'Of the service; all of its routes without it.' }),
  path: Path.regex(/^[^*]*(?:\/\*)?$/, 'expected a path, or one that ends in /* for all below it')
    .optional()
    .meta({ description: 'The decoded path of the request, or one that ends in /* for all below it; any without it.' }),
  variable: z
    .string()
    .max(300)
    .regex(/^&?[A-Z][A-Z_]{1,63}(?::[^\p{Cc}\p{Cs}]{1,256})?$/u, 'expected a variable such as ARGS:q or REQUEST_HEADERS:referer')
    .meta({ description: 'What it does not look at, as reports name it.' }),
  owner: OneLine.max(64).meta({ description: 'Who answers for it.' }),
  reason: OneLine.max(300),
  until: Until,
})

const DomainName = z
  .string()
  .max(253)
  .regex(/^[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})+$/, 'expected a domain in lower case, such as googlebot.com')

const Bot = z
  .strictObject({
    userAgent: z
      .string()
      .min(3)
      .max(64)
      .regex(/^[ -~]+$/)
      .meta({ description: 'What its User-Agent holds, in any case.' }),
    domains: z.array(DomainName).max(16).default([]).meta({
      description: 'Its addresses have names in these, and the names these addresses: forward-confirmed reverse DNS.',
    }),
    prefixes: z.array(AddressOrPrefix).max(2_000).default([]).meta({ description: 'Its addresses, as it publishes them.' }),
  })
  .refine(({ domains, prefixes }) => domains.length + prefixes.length > 0, { error: 'expected domains or prefixes' })

const Service = z.strictObject({
  hosts: z
    .array(z.string().min(1).max(253))
    .min(1)
    .max(64)
    .default(['*'])
    .meta({ description: 'Host names; *.example.com for all below; * for any.' }),
  nodes: NodeSelector.refine((text) => text.trim() !== '', { error: 'expected a selector such as role=edge' })
    .optional()
    .meta({
      description:
        'Which nodes serve it, by their labels: role=edge,region in (eu-1). On all others it is as if it did not exist; of services with the same host, the first that selects the node has it.',
    }),
  upstreams: z.array(Upstream).min(1).max(64),
  waf: Waf.prefault({}),
  api: Api.optional(),
  limits: z.array(Limit).max(16).default([]),
  challenge: Challenge.prefault({}),
  sources: Sources.optional().meta({ description: 'Whose requests are taken.' }),
  pretenders: z.enum(['pass', 'challenge', 'deny']).default('pass').meta({
    description: 'What becomes of those who say that they are one of bots, from an address that is not its own.',
  }),
  identity: Identity.optional(),
  authorization: Authorization.optional(),
  callers: Callers.optional(),
  people: People.optional(),
  staleness: Staleness.default({ max: 3_600_000, beyond: 'open' }),
  upstreamTimeout: Duration.default(30_000),
  ...upstreamKeys,
  cache: Cache.optional().meta({ description: 'Keep answers that may be kept, and answer from them.' }),
  compress: Compression.optional().meta({ description: 'Compress answers that upstreams send as they are.' }),
  routes: z.array(Route).max(1_000).default([]),
})

const Jwk = z.looseObject({
  kty: z.enum(['OKP', 'EC', 'RSA']),
  kid: z.string().max(256).optional(),
  alg: z.string().max(16).optional(),
})

const Issuer = z.strictObject({
  issuer: z.string().min(1).max(512),
  audience: z.string().min(1).max(512),
  algorithms: z
    .array(z.enum(['EdDSA', 'ES256', 'ES384', 'PS256', 'RS256']))
    .min(1)
    .default(['EdDSA', 'ES256']),
  jwks: z.strictObject({ keys: z.array(Jwk).min(1).max(16) }).meta({ description: 'Public keys of the issuer (RFC 7517).' }),
})

const HeaderText = z
  .string()
  .max(4_096)
  .regex(/^[^\r\n\0]*$/, 'expected one line')
const TestOutcome = z.enum(['allow', 'deny', 'challenge', 'throttle'])

const TestRequest = z.strictObject({
  method: z
    .string()
    .regex(/^[A-Z]{1,16}$/, 'expected a method in capitals')
    .default('GET'),
  host: z.string().min(1).max(253).default('localhost').meta({ description: 'Without a port.' }),
  path: z
    .string()
    .max(8_192)
    .regex(/^\/[^\s]*$/, 'expected a path that begins with / and has no spaces')
    .default('/')
    .meta({
      description: 'As on the wire, with the query.',
    }),
  headers: z
    .record(HeaderName, z.union([HeaderText, z.array(HeaderText).min(1).max(16)]))
    .default({})
    .meta({ description: 'Host, User-Agent and Accept are added unless given.' }),
  body: z.string().max(65_536).default(''),
  source: z.string().max(50).default('198.51.100.1').meta({ description: 'The client’s address.' }),
  country: Country.default(NO_COUNTRY).meta({ description: 'Where that is.' }),
  asn: Asn.default(NO_ASN).meta({ description: 'And in which autonomous system.' }),
  token: z
    .strictObject({
      issuer: z.string().max(512),
      subject: z.string().max(256).optional(),
      claims: z.record(z.string().max(64), z.unknown()).default({}),
    })
    .optional()
    .meta({ description: 'What a bearer token says that verified.' }),
  caller: z
    .string()
    .regex(/^(?:service|node)\/[a-z0-9][a-z0-9-]{0,62}$/, 'expected service/NAME or node/NAME')
    .optional()
    .meta({ description: 'Whose certificate of the ring comes with it.' }),
})

const PolicyTest = z.strictObject({
  name: z
    .string()
    .min(1)
    .max(120)
    .regex(/^[^\p{Cc}\p{Cs}\p{Zl}\p{Zp}]+$/u, 'expected one printable line'),
  request: TestRequest,
  labels: z
    .record(z.string().regex(LABEL_KEY, 'expected a label such as role'), z.string().regex(LABEL_VALUE, 'expected its value'))
    .refine((labels) => Object.keys(labels).length <= LABELS_MAX + OWN_LABELS.length, {
      error: `expected at most ${LABELS_MAX} labels`,
    })
    .optional()
    .meta({ description: 'Of the node that is asked. Unless given, one that serves every service.' }),
  repeat: z.int().min(1).max(1_000).default(1).meta({ description: 'Asked so often at once; the last answer counts.' }),
  expect: z.union([
    TestOutcome,
    z.strictObject({
      outcome: TestOutcome,
      status: z.int().min(200).max(599).optional(),
      rule: z
        .union([
          z.int().positive(),
          z
            .string()
            .max(256)
            .regex(
              /^(limit:[a-z0-9-]{1,63}|rule:[1-9][0-9]{0,8}|api:[ -~]{1,240}|authorization:[ -~]{1,128}|callers:[a-z0-9-]{1,63})$/,
              'expected a rule’s id, limit:NAME, authorization:POLICY, callers:SERVICE or what api names, such as api:query page',
            ),
        ])
        .optional()
        .meta({
          description:
            'A rule of the WAF that matched, by its id; the limit that is used up, as limit:NAME; what is outside of the api, as api:path; or the policy that forbids it, as authorization:ID, authorization:default where none permits; or callers:SERVICE, callers:default where it names none.',
        }),
    }),
  ]),
})

const PATCHES_MAX = 50

const Patch = z.strictObject({
  name: Name,
  service: Name,
  route: Name.optional().meta({ description: 'Of the service; all of it without.' }),
  mode: z.enum(['shadow', 'enforce']).default('shadow').meta({ description: 'Record what it matches; refuse it.' }),
  rules: z.string().min(1).max(8_192).meta({ description: 'SecRule directives that deny. Ids are the patch’s own.' }),
  tests: z
    .array(
      z.strictObject({
        name: z.string().min(1).max(120),
        request: TestRequest,
        expect: z.enum(['match', 'pass']).meta({ description: 'Whether the patch matches it.' }),
      }),
    )
    .min(2)
    .max(50),
  owner: OneLine.max(64).meta({ description: 'Who answers for it.' }),
  reason: OneLine.max(300),
  until: Until,
})

/** Types of statements that the policy may make wait for several operators. */
export const APPROVABLE_TYPES = [
  'policy.set',
  'deny.remove',
  'node.add',
  'node.remove',
  'node.wipe',
  'vault.delete',
  'release.add',
] as const
export type ApprovableType = (typeof APPROVABLE_TYPES)[number]

const Approvals = z
  .int()
  .min(1)
  .max(100)
  .default(1)
  .meta({ description: 'How many operators must sign it, the one who proposes it among them.' })

const Work = z.int().min(1).max(32_000_000)

/** The document's schema; `z.toJSONSchema` of it is what editors read. */
export const PolicySchema = z.strictObject({
  version: z.literal(1).meta({ description: 'Version of this format.' }),
  services: z.record(Name, Service).meta({ description: 'What is protected, by name.' }),
  trustedProxies: z.array(AddressOrPrefix).max(256).default([]).meta({ description: 'Whose X-Forwarded-For is believed.' }),
  bots: z
    .record(Name, Bot)
    .default({})
    .meta({ description: 'Programs that are welcome: where theirs is, they are not challenged.' }),
  issuers: z.array(Issuer).max(16).default([]).meta({ description: 'Whose tokens are believed.' }),
  detectors: z
    .strictObject({
      failedLogins: z
        .strictObject({
          perAccount: z.int().min(1).max(1_000_000).default(10),
          perSource: z.int().min(1).max(1_000_000).default(20),
          window: Duration.default(300_000),
          denyFor: Duration.default(900_000),
        })
        .optional(),
      slowLogins: z
        .strictObject({
          sources: z
            .int()
            .min(3)
            .max(1_000)
            .default(12)
            .meta({ description: 'Addresses from which logins to one account failed, and none succeeded, over all nodes.' }),
          window: Duration.default(3 * 86_400_000).meta({ description: 'Of what time: 1h to 90d.' }),
          denyFor: Duration.default(3_600_000).meta({ description: 'Each of the addresses that this node saw itself.' }),
        })
        .optional()
        .meta({ description: 'Accounts that many addresses try, each seldom, over days.' }),
      floods: z
        .strictObject({
          mode: z
            .enum(['enforce', 'shadow', 'off'])
            .default('enforce')
            .meta({ description: 'shadow: says whom it would deny, and denies nobody.' }),
          perSource: z
            .int()
            .min(1)
            .max(1_000_000)
            .default(100)
            .meta({ description: 'Requests a second of one source that are never a flood, however much the node has to do.' }),
          denyFor: Duration.default(60_000).meta({
            description: 'The first time; each further time within the hour four times as long.',
          }),
          denyForMax: Duration.default(600_000),
        })
        .prefault({})
        .meta({ description: 'Sources that ask far more than others of a node that has too little time for all.' }),
      ...detectionKeys,
    })
    .prefault({}),
  denials: z
    .strictObject({
      safe: z.array(AddressOrPrefix).max(1_000).default([]).meta({ description: 'Sources that nobody can deny.' }),
      ttlMax: Duration.default(90 * 86_400_000),
      nodeTtlMax: Duration.default(3_600_000).meta({ description: 'Longest denial that a node may propose by itself.' }),
      nodePerHour: z
        .int()
        .min(1)
        .max(1_000_000)
        .default(1_000)
        .meta({ description: 'How many denials one node may propose in an hour.' }),
      corroboration: z
        .strictObject({
          nodes: z.int().min(1).max(1_000).optional().meta({
            description:
              'How many nodes must say the same; 1: one node’s word denies ring-wide. Unless given 2, or one more than may lie if that is more; in a ring of one node 1.',
          }),
          regions: z.int().min(1).max(1_000).default(1).meta({ description: 'In how many regions these nodes must be.' }),
          within: Duration.default(600_000).meta({ description: 'How long a node’s statement waits for others: 10s to 1h.' }),
          alone: Duration.default(10_000).meta({
            description: 'How long other nodes enforce what a single one says of one source, waiting for others: 1s to 1m.',
          }),
        })
        .prefault({})
        .meta({ description: 'What it takes before what nodes deny by themselves holds on all nodes.' }),
      nodePrefixMinV4: z
        .int()
        .min(1)
        .max(32)
        .default(24)
        .meta({ description: 'Widest IPv4 prefix that nodes may deny; 32: addresses only.' }),
      nodePrefixMinV6: z
        .int()
        .min(1)
        .max(128)
        .default(48)
        .meta({ description: 'Widest IPv6 prefix that nodes may deny. One source is a /64.' }),
      prefixMinV4: z.int().min(1).max(32).default(16).meta({ description: 'Widest IPv4 prefix that may be denied.' }),
      prefixMinV6: z.int().min(1).max(128).default(32).meta({ description: 'Widest IPv6 prefix that may be denied.' }),
    })
    .prefault({}),
  operators: z
    .strictObject({
      approvals: z
        .strictObject(
          Object.fromEntries(APPROVABLE_TYPES.map((type) => [type, Approvals])) as Record<ApprovableType, typeof Approvals>,
        )
        .prefault({}),
      within: Duration.default(86_400_000).meta({ description: 'How long a statement waits for approvals: 1m to 7d.' }),
    })
    .prefault({})
    .meta({ description: 'What no operator can do alone.' }),
  budget: z
    .strictObject({
      page: Work.default(2_000_000),
      form: Work.default(6_000_000),
      json: Work.default(12_000_000),
      upload: Work.default(24_000_000),
    })
    .prefault({})
    .meta({ description: 'The most work, in units, that the rules may do on a fixed sample request of each class.' }),
  workloads: Workloads,
  segmentation: Segmentation.prefault({}).meta({ description: 'Whether services have to say who may call them.' }),
  exceptions: z
    .array(Exception)
    .max(EXCEPTIONS_MAX)
    .default([])
    .meta({ description: 'Variables that single rules do not look at, for a time. ringwall rule except writes them.' }),
  patches: z
    .array(Patch)
    .max(PATCHES_MAX)
    .default([])
    .meta({ description: 'Rules for single holes, for a time, each with its own tests. ringwall rule patch writes them.' }),
  devices: Devices.prefault({}).meta({ description: 'Whose devices may join.' }),
  fleet: FleetPolicyShape.prefault({}).meta({ description: 'Which nodes are to run which release, and when they may change.' }),
  openid: OpenId.optional(),
  providers: Providers,
  saml: Saml.optional(),
  vault: Vault.prefault({}).meta({ description: 'Who may read and write which secrets.' }),
  playbooks: Playbooks,
  indicators: z
    .array(
      z.strictObject({
        set: Name.meta({ description: 'As node.yaml names it.' }),
        mode: z
          .enum(['shadow', 'deny', 'limit'])
          .default('shadow')
          .meta({ description: 'Record what would be refused; refuse; hold each source to a rate.' }),
        confidenceMin: z.int().min(0).max(100).default(0),
        rate: Rate.optional().meta({ description: 'Of limit: such as 10/m, for each address, or IPv6 /64.' }),
      }),
    )
    .max(16)
    .default([])
    .meta({ description: 'What is done with sources that sets of indicators name; the first that refuses ends it.' }),
  bouncers: z
    .array(
      z.strictObject({
        name: Name,
        keyHash: z
          .string()
          .regex(/^sha256:[0-9a-f]{64}$/, 'expected sha256: and 64 hex digits, as ringwall bouncer add writes it')
          .meta({ description: 'SHA-256 of its key.' }),
      }),
    )
    .max(100)
    .default([])
    .meta({ description: 'Programs that enforce denials elsewhere (CrowdSec bouncers). ringwall bouncer add writes them.' }),
  taxii: z
    .array(
      z.strictObject({
        name: Name,
        keyHash: z
          .string()
          .regex(/^sha256:[0-9a-f]{64}$/, 'expected sha256: and 64 hex digits, as ringwall taxii add writes it')
          .meta({ description: 'SHA-256 of its key.' }),
        read: z.array(Name).max(50).optional().meta({ description: 'Collections that it may read; all unless given.' }),
        write: z.array(Name).max(50).default([]).meta({ description: 'Inboxes that it may post to.' }),
      }),
    )
    .max(100)
    .default([])
    .meta({ description: 'Clients of the TAXII server. ringwall taxii add writes them.' }),
  tests: z
    .array(PolicyTest)
    .max(200)
    .default([])
    .meta({ description: 'What the policy must do with some requests: one that fails its own tests is refused.' }),
})

export type Policy = z.output<typeof PolicySchema>
export type ServicePolicy = z.output<typeof Service>
export type RoutePolicy = z.output<typeof Route>
export type ChallengePolicy = z.output<typeof Challenge>
export type BotPolicy = z.output<typeof Bot>
export type SourceSetPolicy = z.output<typeof SourceSet>
export type LimitPolicy = z.output<typeof Limit>
export type IssuerPolicy = z.output<typeof Issuer>
export type PatchPolicy = z.output<typeof Patch>
export type ExceptionPolicy = z.output<typeof Exception>
export type PolicyTest = z.output<typeof PolicyTest>
export type UpstreamPolicy = z.output<typeof Upstream>
export type RewritePolicy = z.output<typeof Rewrite>
