/** The part of a service's policy that says where its requests go, and how: the shape; `policy-upstream-faults.ts` has the rest. */
import { z } from 'zod'
import { Duration, HeaderName, Name, Share } from './policy-values.ts'

const UpstreamUrl = z
  .string()
  .max(512)
  .regex(/^https?:\/\/[^/?#]+\/?$/, 'expected http://HOST:PORT or https://HOST:PORT without a path')

/** As it goes out: visible ASCII, nothing that a server reads in two ways. */
const LiteralPath = z
  .string()
  .max(1_024)
  .regex(/^\/[!-~]*$/, 'expected a path of visible ASCII that begins with /')

const Status = z.int().min(100).max(599)

export const Upstream = z.strictObject({
  url: UpstreamUrl,
  region: Name.optional().meta({ description: 'Nodes prefer upstreams of their own region.' }),
  weight: z.int().min(1).max(1_000).default(1).meta({ description: 'Its share of requests, against the weights of the others.' }),
  subset: Name.optional().meta({ description: 'The part of the service that it is of, for split.' }),
  http2: z.boolean().default(false).meta({
    description: 'It speaks HTTP/2, as gRPC needs: over https by ALPN, over http by prior knowledge.',
  }),
})

const Health = z.strictObject({
  path: LiteralPath.meta({ description: 'Asked for by GET.' }),
  host: z
    .string()
    .max(253)
    .regex(/^[A-Za-z0-9._:[\]-]+$/, 'expected a host, with a port if need be')
    .optional()
    .meta({ description: 'The Host header; the upstream’s own host and port unless given.' }),
  interval: Duration.default(10_000).meta({
    description: 'Between two checks of one upstream, give or take a tenth: 100ms to 1h.',
  }),
  timeout: Duration.default(2_000).meta({ description: 'How long an answer may take: 10ms to 1m.' }),
  healthyAfter: z.int().min(1).max(100).default(2).meta({ description: 'Good answers in a row until it is used again.' }),
  unhealthyAfter: z.int().min(1).max(100).default(3).meta({ description: 'Bad answers in a row until it is out.' }),
  status: z.array(Status).min(1).max(32).default([200]).meta({ description: 'Statuses that are good answers.' }),
})

const Outliers = z.strictObject({
  consecutive: z
    .int()
    .min(0)
    .max(10_000)
    .default(5)
    .meta({ description: 'Failures in a row that eject an upstream; 0: none do.' }),
  statuses: z
    .array(z.int().min(500).max(599))
    .max(16)
    .default([502, 503, 504])
    .meta({ description: 'Responses that are failures; broken connections and timeouts always are.' }),
  successGap: Share.default(0.5).meta({
    description: 'An upstream whose share of successes is so far below that of the others is ejected; 100%: none is.',
  }),
  ejectFor: Duration.default(30_000).meta({
    description: 'How long the first time; each time after so much longer: 100ms to 1h.',
  }),
  ejectForMax: Duration.default(300_000).meta({ description: 'At most so long: up to 24h.' }),
  maxEjected: Share.default(0.5).meta({ description: 'The largest share of the service’s upstreams that is ejected at a time.' }),
})

const Circuit = z.strictObject({
  connections: z
    .int()
    .min(1)
    .max(65_536)
    .default(256)
    .meta({ description: 'Connections from one node to one upstream; each carries one request at a time.' }),
  pending: z
    .int()
    .min(0)
    .max(65_536)
    .default(1_024)
    .meta({ description: 'Requests that wait for one of them; more are refused with 503.' }),
})

const Retries = z.strictObject({
  attempts: z
    .int()
    .min(0)
    .max(5)
    .default(2)
    .meta({ description: 'How often a request is tried again, each time on another upstream.' }),
  statuses: z
    .array(z.union([z.literal(502), z.literal(503), z.literal(504)]))
    .max(3)
    .default([])
    .meta({ description: 'Responses after which idempotent requests are tried again.' }),
  budget: Share.default(0.2).meta({ description: 'Requests sent again, as a share of the requests of the last 10 s.' }),
  minPerSecond: z
    .int()
    .min(0)
    .max(10_000)
    .default(10)
    .meta({ description: 'So many a second are sent again whatever the share.' }),
  perTryTimeout: Duration.optional().meta({
    description: 'How long one upstream may take to begin its response while another could be tried: 10ms up to upstreamTimeout.',
  }),
})

const Hedge = z.strictObject({
  percentile: z
    .int()
    .min(50)
    .max(99)
    .default(95)
    .meta({ description: 'Asked a second time is what takes longer than so many of 100 requests did lately.' }),
  delayMin: Duration.default(10).meta({ description: 'And never earlier: 1ms to 1m.' }),
})

const Sticky = z.strictObject({
  cookie: z
    .string()
    .regex(/^[A-Za-z0-9_-]{1,64}$/, 'expected letters, digits, _ and -, at most 64')
    .default('ringwall-upstream'),
  maxAge: Duration.optional().meta({ description: 'How long the client keeps it, up to 400d; until it is closed unless given.' }),
})

const Mirror = z.strictObject({
  url: UpstreamUrl,
  share: Share.default(1).meta({ description: 'How many of the requests are copied.' }),
  concurrency: z.int().min(1).max(1_024).default(32).meta({ description: 'Copies under way at a time; more are not made.' }),
})

const HeaderValue = z
  .string()
  .max(4_096)
  .regex(/^([!-~]([ -~]*[!-~])?)?$/, 'expected visible ASCII on one line')

const HeaderChanges = z.strictObject({
  set: z
    .record(HeaderName, HeaderValue)
    .default({})
    .meta({ description: 'Names and values; what there is of the name is replaced.' }),
  remove: z.array(HeaderName).max(32).default([]),
})

export const Rewrite = z.strictObject({
  host: z
    .string()
    .max(253)
    .regex(/^[A-Za-z0-9._-]+(:[0-9]{1,5})?$/, 'expected a host, with a port if need be')
    .optional()
    .meta({ description: 'The Host header for the upstream.' }),
  path: z
    .strictObject({ from: LiteralPath, to: LiteralPath })
    .optional()
    .meta({ description: 'The prefix from, at a boundary of segments, becomes to.' }),
  request: HeaderChanges.prefault({}),
  response: HeaderChanges.prefault({}),
})

/** What a service says beside its list of upstreams. */
export const upstreamKeys = {
  balance: z
    .enum(['least-request', 'ewma', 'round-robin'])
    .default('least-request')
    .meta({ description: 'Least-request and ewma (time to the response’s head) take the better of two at random.' }),
  slowStart: Duration.default(0).meta({
    description: 'How long an upstream that is new or back takes to get its whole share: up to 1h.',
  }),
  health: Health.optional().meta({ description: 'Ask each upstream how it is.' }),
  outliers: Outliers.prefault({}).meta({ description: 'When an upstream is left out for the answers it gives.' }),
  circuit: Circuit.prefault({}).meta({ description: 'What one upstream gets at most.' }),
  retries: Retries.prefault({}).meta({ description: 'When a request is tried on another upstream.' }),
  hedge: Hedge.optional().meta({
    description:
      'Ask a second upstream when the first takes long to answer a GET, HEAD or OPTIONS; the retries’ budget bounds it.',
  }),
  sticky: Sticky.optional().meta({ description: 'Keep a client on its upstream, by a cookie.' }),
  split: z
    .record(Name, z.int().min(0).max(10_000))
    .optional()
    .meta({ description: 'How requests are divided over the subsets of upstreams: weights by subset.' }),
  mirror: Mirror.optional().meta({ description: 'Copy requests to one more upstream, whose responses are thrown away.' }),
  rewrite: Rewrite.optional().meta({ description: 'What is changed on the way to the upstream and back.' }),
} as const
